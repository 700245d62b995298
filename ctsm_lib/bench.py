"""Speed, measured beside what this machine could do at best."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ctsm_lib.batches import Pairs, Shuffled
from ctsm_lib.config import Config
from ctsm_lib.decoding import Decoding, answer_batch
from ctsm_lib.prepare import Prepared, prepare
from ctsm_lib.runs import Run
from ctsm_lib.sources import Sources
from ctsm_lib.training import build_model, make_optimizer
from ctsm_lib.versions import versions


def measure(config: Config, sources: Sources, seconds: float = 20.0, run: Run | None = None) -> dict:
    """Measure preparation, training and answering.

    Args:
        config: whose model and batch size count.
        run: a trained run to answer with, over the whole test split; without one, an untrained model answers a part of
            it, always with as many words as there may be.
        seconds: how long training is measured; answering takes about as long.

    Returns:
        train_examples_per_s, train_limit_examples_per_s (FLOPs of a step at the matrix-product rate of this machine),
        train_fraction_of_limit, decode_answers_per_s, decode_one_s, prepare_s, cached_start_s, peak_rss_mb and what they
        were measured on.
    """
    prepare_s, cached_start_s = _preparation(config, sources)
    prepared = prepare(config, sources, splits=["train", "test"], progress=False)
    rate = matrix_rate()
    result = {
        "prepare_s": prepare_s,
        "cached_start_s": cached_start_s,
        **_training(config, prepared, seconds, rate),
        **_answering(config, prepared, seconds, run),
        "matrix_gflop_per_s": rate / 1e9,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": torch.get_num_threads(),
        "preset": config.preset,
        "precision": config.precision,
        "batch_size": config.batch_size,
        "data": prepared.description,
        "versions": versions(),
    }
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in result.items()}


def matrix_rate(size: int = 1024, seconds: float = 1.0) -> float:
    """FLOP/s of large float32 matrix products, the best of several measurements."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best


def _preparation(config: Config, sources: Sources) -> tuple[float, float]:
    """Seconds of a first preparation (in an empty cache) and of a start from the cache, each in a new process."""
    code = (
        "import sys, json, time; begun = time.perf_counter();"
        "from pathlib import Path; from ctsm_lib.config import Config; from ctsm_lib.prepare import prepare;"
        "from ctsm_lib.sources import find_sources;"
        "config, root, vectors = json.loads(sys.argv[1]);"
        "found = find_sources(Path(root), Path(vectors) if vectors else None);"
        "prepare(Config.from_dict(config), found, progress=False); print(time.perf_counter() - begun)"
    )
    vectors = str(sources.vectors) if sources.vectors else None
    argument = json.dumps([config.asdict(), str(sources.root), vectors])
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            environment = os.environ | {"CTSM_CACHE": folder}
            command = [sys.executable, "-c", code, argument]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            taken.append(float(done.stdout.split()[-1]))
    return taken[0], taken[1]


def _training(config: Config, prepared: Prepared, seconds: float, rate: float) -> dict:
    model = build_model(config, prepared).train()
    optimizer = make_optimizer(config, model)
    pairs = prepared.pairs["train"]
    order = Shuffled(pairs, config.batch_size, config.seed)

    def step(iteration: int) -> int:
        batch = pairs.collate(order[iteration])
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
            total = model(batch).losses["total"]
        total.backward()
        if config.clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()
        return len(batch)

    for iteration in range(10):
        step(iteration)
    done, iteration, begun = 0, 10, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        done += step(iteration)
        iteration += 1
    per_s = done / (time.perf_counter() - begun)
    sample = range(10, min(iteration, 60))
    with FlopCounterMode(display=False) as counter:
        examples = sum(step(number) for number in sample)
    flops = counter.get_total_flops() / examples
    padding = [(pairs.context_length[order[n]] + 1) for n in sample]
    padded = sum(lengths.max() * len(lengths) for lengths in padding)
    return {
        "train_examples_per_s": per_s,
        "train_gflop_per_example": flops / 1e9,
        "train_limit_examples_per_s": rate / flops,
        "train_fraction_of_limit": per_s * flops / rate,
        "context_padding_share": float(1 - sum(lengths.sum() for lengths in padding) / padded),
    }


def _answering(config: Config, prepared: Prepared, seconds: float, run: Run | None) -> dict:
    model = run.model if run else build_model(config, prepared).eval()
    pairs = prepared.pairs["test"]
    how = Decoding(max_length=config.max_response)
    batches = list(pairs.in_order(64))
    picks = np.linspace(0, len(batches) - 1, min(len(batches), 12)).astype(int)
    some = [batches[i] for i in picks]
    if run:
        begun = time.perf_counter()
        rate = sum(_answer(model, pairs, index, how) for index in batches) / (time.perf_counter() - begun)
    else:
        rate = _rate(lambda index: _answer(model, pairs, index, how), some, seconds)
    one = _rate(lambda index: _answer(model, pairs, index[:1], how), some, seconds / 4)
    answering = f"{run.folder.name}, whole test split" if run else f"untrained, {config.max_response} words an answer"
    return {"decode_answers_per_s": rate, "decode_one_s": 1 / one, "decode_model": answering}


def _answer(model: torch.nn.Module, pairs: Pairs, index: np.ndarray, how: Decoding) -> int:
    batch = replace(pairs.collate(index), target=None, label=None)
    answers, _ = answer_batch(model, batch, how)  # type: ignore[arg-type]
    return len(answers)


def _rate(work: Callable[[np.ndarray], int], items: list[np.ndarray], seconds: float) -> float:
    work(items[0])
    done, begun = 0, time.perf_counter()
    for item in items * 1_000:
        done += work(item)
        if time.perf_counter() - begun > seconds:
            break
    return done / (time.perf_counter() - begun)
