"""The parts, each a function of its task. `starts.toml` has the code whose start is timed."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ctsm_lib.batches import Batch, Shuffled
from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD, SOS, SPECIALS
from ctsm_lib.decoding import Answer, Decoding, answer_batch
from ctsm_lib.errors import CtsmError
from ctsm_lib.prepare import Prepared, make_provider
from ctsm_lib.training import build_model, make_optimizer
from ctsm_workbench.bench import limits, peak_memory
from ctsm_workbench.bench.limits import Job, Measured, Step, Task, Work, corpus_row, count, row

CODE = tomllib.loads(Path(__file__).with_name("starts.toml").read_text(encoding="utf-8"))
READ = 1_600  # dialogues of the contextual pass
ASKED = 4_096  # utterances of retrieval
AT_ONCE = 64  # pairs, as in `ctsm evaluate`
WARM_UP = 10  # training steps before the clock starts
WORDS = 10  # of an answer whose growth is measured


def start(task: Task) -> Measured:
    """New processes: imports, `ctsm --help`, and a run's start from the cache; the best of two."""
    task.prepared("train", "valid", "test")
    rows = {}
    for name, about in CODE["starts"].items():
        seconds, peak = min(_new_process(task, name) for _ in range(2))
        rows[name] = row(seconds, "s", target=about.get("target"), peak_mb=round(peak))
    limit = rows["import torch"]["value"]
    cached = rows["cached start"]["value"]
    bound = {"limit": limit, "share_of_limit": limit / cached, "bound": "importing torch"}
    rows["cached start"] |= bound
    return rows, {"cached_start_s": cached}


def preparation(task: Task) -> Measured:
    """A first preparation of all data, in an empty cache; it has no bound by arithmetic."""
    sizes = []
    seconds = []
    with tempfile.TemporaryDirectory() as place:
        for share in (16, 4, 1) if task.grow else (1,):
            part = Path(place) / f"part-{share}"
            part.mkdir()
            sizes.append(limits.cut_files(task.sources.dialogues, part, share))
            some = replace(task, sources=replace(task.sources, dialogues=part))
            taken, peak = _new_process(some, "cached start", CTSM_CACHE=str(part / "cache"))
            seconds.append(taken)
    measured = row(sizes[-1] / taken, "dialogues/s", peak_mb=round(peak))
    if task.grow:
        measured["growth"] = {"corpus": limits.grown(sizes, seconds)}
    return {"preparation": measured}, {"prepare_s": taken}


def _new_process(task: Task, name: str, **environment: str) -> tuple[float, float]:
    """Seconds of one of the starts in a new process, and its peak memory in MB."""
    code = CODE["timed"].format_map({"before": ""} | CODE["starts"][name])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, stdout=subprocess.PIPE,
        input=task.as_json().encode(), check=True,
    )  # fmt: skip
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def retrieval(task: Task) -> Measured:
    """Commonsense for utterances, if there is any. Text has no bound by arithmetic."""
    provider = make_provider(task.config, task.sources)
    if provider.name == "none":
        return {}, {}
    split = task.prepared().corpus.splits["train"]
    texts = list(dict.fromkeys(split.turn_text(turn) for turn in split.pairs[:ASKED, 4]))
    began = peak_memory()
    begun = time.perf_counter()
    provider.infer(texts[:1], progress=False)
    note = f"{provider.name}; making it ready took {time.perf_counter() - begun:.1f} s more"

    def asked(size: int) -> Job:
        return partial(provider.infer, texts[:size], progress=False)

    measured = corpus_row(task, asked, len(texts), done=len(texts), unit="texts/s")
    return {"retrieval": measured | {"note": note, "before_mb": round(began)}}, {}


def polarity(task: Task) -> Measured:
    """The whole analysis of Section 5.4. Draws and sorting have no bound by arithmetic."""
    from ctsm_workbench.study.polarity import analyse_prepared

    prepared = task.prepared()
    corpus = prepared.corpus
    words = np.arange(len(SPECIALS), len(corpus.vocabulary))
    dialogues = limits.dialogues_in(corpus)

    def analysis(size: int) -> Job:
        tokens = [split.tokens for split in limits.part_of(corpus, size).splits.values()]
        ids = words if size == dialogues else np.intersect1d(words, np.concatenate(tokens))
        return partial(analyse_prepared, prepared, task.config.neutral_vad, ids=ids)

    return {"polarity": corpus_row(task, analysis, dialogues, done=len(words), unit="words/s")}, {}


def contextual(task: Task) -> Measured:
    """Every word of up to 1,600 dialogues, read in its context by CTSM; other runs are refused."""
    from ctsm_workbench.study.contexts import collect_states, plan

    prepared = task.prepared()
    mask = np.ones(len(prepared.corpus.vocabulary), dtype=bool)  # every word
    most = min(limits.dialogues_in(prepared.corpus), READ)
    model: Any = task.loaded.ctsm() if task.loaded else build_model(task.config, prepared)

    def read(size: int) -> Job:
        laid = plan(limits.part_of(prepared.corpus, size), task.config.max_context)
        return partial(collect_states, model, laid, len(mask), mask=mask, progress=False)

    tokens = len(plan(limits.part_of(prepared.corpus, most), task.config.max_context).tokens)
    measured = corpus_row(task, read, most, done=tokens, unit="words/s")
    work = limits.count(read(most), model)
    bound = limits.limit([work], tokens, measured["value"], work.bytes)
    return {"contextual": measured | bound}, {}


def training(task: Task) -> Measured:
    """Training steps on the data's own batches."""
    config = task.config
    prepared = task.prepared("train")
    pairs = prepared.pairs["train"]
    order = Shuffled(pairs, config.batch_size, config.seed)
    began = peak_memory()
    model = build_model(config, prepared)
    step = training_step(config, model)
    per_s = _rate(step, map(pairs.collate, iter(order)), task.seconds, warm_up=WARM_UP)
    measured = row(per_s, "examples/s", began)
    sample = [pairs.collate(order[iteration]) for iteration in range(WARM_UP, 3 * WARM_UP)]
    examples = sum(map(len, sample))
    flops = sum(count(partial(step, batch), model).flops for batch in sample)
    moved = limits.training_bytes(model)
    matrix = limits.matrix_rate(config.precision)
    memory = limits.memory_rate(moved)
    work = Work(flops, moved * len(sample))
    measured |= limits.beside_limit(work, examples, per_s, matrix=matrix, memory=memory)
    measured |= limits.model_growth(task, prepared, partial(training_step, config))
    places = torch.cat([batch.context.flatten() for batch in sample])
    by_products = matrix * examples / flops
    facts = {
        "train_examples_per_s": per_s,
        "train_gflop_per_example": flops / examples / 1e9,
        "train_limit_examples_per_s": by_products,
        "train_fraction_of_limit": per_s / by_products,
        "context_padding_share": (places == PAD).double().mean().item(),
        "matrix_gflop_per_s": matrix / 1e9,
        "data": prepared.description,
    }
    return {"training": measured}, facts


def training_step(config: Config, model: Any) -> Step:
    """A training step: from a batch to changed weights."""
    model.train()
    optimizer = make_optimizer(config, model)

    def step(batch: Batch) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
            total = model(batch).losses["total"]
        total.backward()
        if config.clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()

    return step


def scoring(task: Task) -> Measured:
    """Teacher forcing over a part of the test split."""
    prepared, model, _, some = _tested(task)
    collate = prepared.pairs["test"].collate
    began = peak_memory()
    step = scoring_step(model)
    per_s = _rate(step, map(collate, itertools.cycle(some)), task.seconds / 2)
    measured = row(per_s, "pairs/s", began)
    works = [count(partial(step, collate(index)), model) for index in some]
    measured |= limits.limit(works, sum(map(len, some)), per_s, works[0].bytes)
    return {"scoring": measured | limits.model_growth(task, prepared, scoring_step)}, {}


def scoring_step(model: Any) -> Step:
    """A scoring step: one forward pass."""
    return torch.no_grad()(model.eval().forward)


def decoding(task: Task) -> Measured:
    """Greedy answers, many at once and one by one.

    A trained run answers the whole test split; an untrained model answers a part of it, always with
    as many words as there may be.
    """
    prepared, model, batches, some = _tested(task)
    pairs = prepared.pairs["test"]
    how = Decoding(max_length=task.config.max_response)
    singles = [index[:1] for index in some]
    began = peak_memory()

    def question(index: np.ndarray) -> Batch:
        return replace(pairs.collate(index), target=None, label=None)  # without the truth

    def answers(ahead: Iterable[np.ndarray], items: list[np.ndarray], seconds: float) -> dict:
        """The row of answering what is ahead; the least work is counted for some of the items."""
        per_s = _rate(lambda batch: answer_batch(model, batch, how), map(question, ahead), seconds)
        measured = row(per_s, "answers/s", began)
        counted = items[1::4] or items
        found = [_answering(model, question(index), how) for index in counted]
        works = [work for work, _ in found]
        return measured | limits.limit(works, sum(map(len, counted)), per_s, found[0][1])

    if task.run:
        about = f"{task.run.name}, whole test split"
        many = answers([batches[0], *batches], some, inf)
    else:
        about = f"untrained, {how.max_length} words an answer"
        many = answers(itertools.cycle(some), some, task.seconds)
    one = answers(itertools.cycle(singles), singles, task.seconds / 4)
    many |= limits.model_growth(task, prepared, decoding_step)
    facts = {"decode_answers_per_s": many["value"], "decode_one_s": 1 / one["value"]}
    facts |= {"decode_model": about, "data": prepared.description}
    return {"decoding": many, "one answer": one}, facts


def decoding_step(model: Any) -> Step:
    """Ten words of every answer, also where the model would end sooner."""
    model.eval()

    @torch.no_grad()
    def step(batch: Batch) -> None:
        cache = model.start(model.encode(batch))
        token = torch.full((len(batch),), SOS)
        for _ in range(WORDS):
            token = model.step(cache, token)[0].argmax(dim=1)

    return step


@torch.no_grad()
def _answering(model: Any, batch: Batch, how: Decoding) -> tuple[Work, float]:
    """The least work of answering a batch, and the bytes of the weights, read for each word."""
    answers: list[Answer] = []
    products = count(lambda: answers.extend(answer_batch(model, batch, how)[0]), model)
    steps = min(max(len(answer.ids) for answer in answers) + 1, how.max_length)
    reading = count(lambda: model.encode(batch), model)
    cache = model.start(model.encode(batch))
    word = count(lambda: model.step(cache, torch.full((len(batch),), SOS)), model)
    return Work(products.flops, reading.bytes + steps * word.bytes), word.bytes


def _tested(task: Task) -> tuple[Prepared, Any, list[np.ndarray], list[np.ndarray]]:
    """The data, the model, the batches of the test split, and up to twelve, of all lengths."""
    prepared = task.prepared("test")
    model = task.loaded.model if task.loaded else build_model(task.config, prepared)
    batches = list(prepared.pairs["test"].in_order(AT_ONCE))
    places = np.linspace(0, len(batches) - 1, min(len(batches), 12)).astype(int)
    return prepared, model.eval(), batches, [batches[place] for place in places]


def _rate(step: Step, batches: Iterable[Batch], seconds: float, warm_up: int = 1) -> float:
    """Examples per second over batches, for some seconds or until there are no more of them."""
    ahead = iter(batches)
    for batch in itertools.islice(ahead, warm_up):
        step(batch)
    done = 0
    begun = time.perf_counter()
    for batch in ahead:
        step(batch)
        done += len(batch)
        if time.perf_counter() - begun > seconds:
            break
    return done / (time.perf_counter() - begun)


if __name__ == "__main__":  # one part: `measure` is at the other end of the pipes
    try:
        found, facts = globals()[sys.argv[1]](Task.from_json(sys.stdin.read()))
    except CtsmError as error:
        sys.exit(str(error))
    print(json.dumps({"rows": found, "facts": facts}))
