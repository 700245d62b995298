"""Parts in which a model computes: training, scoring, answering."""

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from ctsm_lib.batches import Batch, Shuffled
from ctsm_lib.config import Config
from ctsm_lib.corpus import SOS
from ctsm_lib.decoding import Answer, Decoding, answer_batch
from ctsm_lib.prepare import Prepared
from ctsm_lib.training import build_model, make_optimizer
from ctsm_workbench.bench import limits, peak_memory
from ctsm_workbench.bench.limits import Step, Work, count, model_growth
from ctsm_workbench.bench.task import Measured, Task, row

AT_ONCE = 64  # pairs, as in `ctsm evaluate`
WARM_UP = 10  # training steps before the clock starts
WORDS = 10  # of an answer whose growth is measured


def training(task: Task) -> Measured:
    """Training steps on the data's own batches."""
    config = task.config
    prepared = task.prepared("train")
    pairs = prepared.pairs["train"]
    order = Shuffled(pairs, config.batch_size, config.seed)
    began = peak_memory()
    model = build_model(config, prepared)
    step = training_step(config, model)
    batches = map(order.__getitem__, itertools.count())
    per_s = _rate(lambda index: step(pairs.collate(index)), batches, task.seconds, warm_up=WARM_UP)
    measured = row(per_s, "examples/s", began)
    sample = [order[iteration] for iteration in range(WARM_UP, 3 * WARM_UP)]
    examples = sum(map(len, sample))
    flops = sum(count(partial(step, pairs.collate(index)), model).flops for index in sample)
    moved = limits.training_bytes(model)
    matrix = limits.matrix_rate(config.precision)
    memory = limits.memory_rate(moved)
    work = Work(flops, moved * len(sample))
    measured |= limits.beside_limit(work, examples, per_s, matrix=matrix, memory=memory)
    measured |= model_growth(task, prepared, partial(training_step, config))
    lengths = [pairs.context_length[index] + 1 for index in sample]
    padded = sum(length.max() * len(length) for length in lengths)
    facts = {
        "train_examples_per_s": per_s,
        "train_gflop_per_example": flops / examples / 1e9,
        "train_limit_examples_per_s": matrix * examples / flops,
        "train_fraction_of_limit": per_s * flops / examples / matrix,
        "context_padding_share": float(1 - sum(length.sum() for length in lengths) / padded),
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
    prepared, model, batches = _tested(task)
    collate = prepared.pairs["test"].collate
    began = peak_memory()
    step = scoring_step(model)
    some = _spread(batches)
    per_s = _rate(lambda index: step(collate(index)), itertools.cycle(some), task.seconds / 2)
    measured = row(per_s, "pairs/s", began)
    works = [count(partial(step, collate(index)), model) for index in some]
    measured |= limits.limit(works, sum(map(len, some)), per_s, works[0].bytes)
    return {"scoring": measured | model_growth(task, prepared, scoring_step)}, {}


def scoring_step(model: Any) -> Step:
    """A scoring step: one forward pass."""
    return torch.no_grad()(model.eval().forward)


def decoding(task: Task) -> Measured:
    """Greedy answers, many at once and one by one.

    A trained run answers the whole test split; an untrained model answers a part of it, always with
    as many words as there may be.
    """
    prepared, model, batches = _tested(task)
    pairs = prepared.pairs["test"]
    how = Decoding(max_length=task.config.max_response)
    some = _spread(batches)
    singles = [index[:1] for index in some]
    began = peak_memory()

    def question(index: np.ndarray) -> Batch:
        return replace(pairs.collate(index), target=None, label=None)  # without the truth

    def answer(index: np.ndarray) -> None:
        answer_batch(model, question(index), how)

    if task.run:
        rate = _rate(answer, [batches[0], *batches])
        about = f"{task.run.name}, whole test split"
    else:
        rate = _rate(answer, itertools.cycle(some), task.seconds)
        about = f"untrained, {how.max_length} words an answer"
    rows = {"decoding": row(rate, "answers/s", began)}
    one = _rate(answer, itertools.cycle(singles), task.seconds / 4)
    rows["one answer"] = row(one, "answers/s", began)
    for measured, items in zip(rows.values(), (some, singles), strict=True):
        counted = items[1::4] or items
        found = [_answering(model, question(index), how) for index in counted]
        works = [work for work, _ in found]
        measured |= limits.limit(works, sum(map(len, counted)), measured["value"], found[0][1])
    rows["decoding"] |= model_growth(task, prepared, decoding_step)
    facts = {"decode_answers_per_s": rate, "decode_one_s": 1 / one, "decode_model": about}
    return rows, facts | {"data": prepared.description}


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


def _tested(task: Task) -> tuple[Prepared, Any, list[np.ndarray]]:
    """The data, the model, and the batches of the test split."""
    prepared = task.prepared("test")
    model = task.loaded.model if task.loaded else build_model(task.config, prepared)
    return prepared, model.eval(), list(prepared.pairs["test"].in_order(AT_ONCE))


def _spread(batches: list[np.ndarray], most: int = 12) -> list[np.ndarray]:
    """Up to twelve batches, evenly spread: short, middle and long contexts."""
    places = np.linspace(0, len(batches) - 1, min(len(batches), most))
    return [batches[place] for place in places.astype(int)]


def _rate(
    work: Callable[[np.ndarray], object], batches: Iterable[np.ndarray],
    seconds: float = float("inf"), warm_up: int = 1,
) -> float:  # fmt: skip
    """Examples per second over batches, for some seconds or until there are no more of them."""
    ahead = iter(batches)
    for index in itertools.islice(ahead, warm_up):
        work(index)
    done = 0
    begun = time.perf_counter()
    for index in ahead:
        work(index)
        done += len(index)
        if time.perf_counter() - begun > seconds:
            break
    return done / (time.perf_counter() - begun)
