"""Parts in which a model computes: training, scoring, answering."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar, cast

import numpy as np
import torch

from ctsm_lib.batches import Batch, Pairs, Shuffled
from ctsm_lib.config import Config
from ctsm_lib.corpus import SOS
from ctsm_lib.decoding import Answer, Decoding, answer_batch
from ctsm_lib.model import CTSM
from ctsm_lib.prepare import Prepared
from ctsm_lib.training import build_model, make_optimizer
from ctsm_workbench.baselines import AnyModel, Baseline
from ctsm_workbench.bench.limits import Work, count, matrix_rate, memory_rate, training_bytes
from ctsm_workbench.bench.memory import peak_memory
from ctsm_workbench.bench.scaling import Step, model_growth
from ctsm_workbench.bench.task import Measured, Task, beside_limit, row

AT_ONCE = 64  # pairs, as in `ctsm evaluate`
WORDS = 10  # of an answer whose growth is measured

T = TypeVar("T")
Talker = CTSM | Baseline  # TF-IDF says nothing


def training(task: Task) -> Measured:
    """Steps of training on the data's own batches."""
    config, prepared = task.config, task.prepared("train")
    pairs = prepared.pairs["train"]
    order = Shuffled(pairs, config.batch_size, config.seed)
    began = peak_memory()
    model = build_model(config, prepared)
    step = training_step(config, model)
    for iteration in range(10):
        step(pairs.collate(order[iteration]))
    done, iteration, begun = 0, 10, time.perf_counter()
    while time.perf_counter() - begun < task.seconds:
        done += step(pairs.collate(order[iteration]))
        iteration += 1
    per_s = done / (time.perf_counter() - begun)
    measured = row(per_s, "examples/s", began)
    sample = [order[number] for number in range(10, min(iteration, 30))]
    works = [count(partial(step, pairs.collate(index)), model) for index in sample]
    examples, flops, moved = (
        sum(map(len, sample)),
        sum(work.flops for work in works),
        training_bytes(model),
    )
    matrix = matrix_rate(torch.bfloat16 if config.precision == "bf16" else torch.float32)
    whole = Work(flops, moved * len(sample))
    measured |= beside_limit(whole, examples, per_s, matrix, memory_rate(moved))
    if task.grow:
        words = len(prepared.corpus.vocabulary)
        measured["growth"] = model_growth(
            config, words, lambda new: training_step(config, new), task.seconds / 40
        )
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
    return Measured({"training": measured}, facts)


def training_step(config: Config, model: AnyModel) -> Step:
    """A step of training: from a batch to changed weights. It returns how many examples it saw."""
    model.train()
    optimizer = make_optimizer(config, model)

    def step(batch: Batch) -> int:
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
            total = model(batch).losses["total"]
        total.backward()
        if config.clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()
        return len(batch)

    return step


def scoring(task: Task) -> Measured:
    """Teacher forcing over a part of the test split."""
    prepared, pairs, model = _tested(task)
    began, step = peak_memory(), scoring_step(model)
    some = _spread(list(pairs.in_order(AT_ONCE)))
    per_s = _rate(lambda index: step(pairs.collate(index)), some, task.seconds / 2)
    measured = row(per_s, "pairs/s", began)
    works = [count(partial(step, pairs.collate(index)), model) for index in some]
    measured |= _limit(works, sum(map(len, some)), per_s, works[0].bytes)
    if task.grow:
        words = len(prepared.corpus.vocabulary)
        measured["growth"] = model_growth(task.config, words, scoring_step, task.seconds / 40)
    return Measured({"scoring": measured})


def scoring_step(model: AnyModel) -> Step:
    """A step of scoring. It returns how many pairs it saw."""
    model.eval()

    @torch.no_grad()
    def step(batch: Batch) -> int:
        model(batch)
        return len(batch)

    return step


def decoding(task: Task) -> Measured:
    """Greedy answers, many at once and one by one: of a trained run over the whole test split, else over a part of it,
    always with as many words as there may be."""
    prepared, pairs, model = _tested(task)
    how = Decoding(max_length=task.config.max_response)
    batches = list(pairs.in_order(AT_ONCE))
    began, some = peak_memory(), _spread(batches)

    def answer(index: np.ndarray) -> int:
        return len(answer_batch(model, _question(pairs, index), how)[0])

    rate = (
        _rate(answer, batches, 0, len(batches)) if task.run else _rate(answer, some, task.seconds)
    )
    rows = {"decoding": row(rate, "answers/s", began)}
    singles = [index[:1] for index in some]
    one = _rate(answer, singles, task.seconds / 4)
    rows["one answer"] = row(one, "answers/s", began)
    for name, per_s, counted in (
        ("decoding", rate, some[1::4] or some),
        ("one answer", one, singles[1::4] or singles),
    ):
        works, step_bytes = zip(
            *(_answering(model, _question(pairs, index), how) for index in counted), strict=True
        )
        rows[name] |= _limit(works, sum(map(len, counted)), per_s, step_bytes[0])
    if task.grow:
        words = len(prepared.corpus.vocabulary)
        rows["decoding"]["growth"] = model_growth(
            task.config, words, decoding_step, task.seconds / 40
        )
    told = (
        f"{task.run.name}, whole test split"
        if task.run
        else f"untrained, {how.max_length} words an answer"
    )
    facts = {
        "decode_answers_per_s": rate,
        "decode_one_s": 1 / one,
        "decode_model": told,
        "data": prepared.description,
    }
    return Measured(rows, facts)


def decoding_step(model: AnyModel) -> Step:
    """Ten words of every answer, whatever the model would like to end; it returns how many answers."""
    talker = cast(Talker, model.eval())

    @torch.no_grad()
    def step(batch: Batch) -> int:
        cache = talker.start(talker.encode(batch))
        token = torch.full((len(batch),), SOS)
        for _ in range(WORDS):
            token = talker.step(cache, token)[0].argmax(dim=1)
        return len(batch)

    return step


@torch.no_grad()
def _answering(model: Talker, batch: Batch, how: Decoding) -> tuple[Work, float]:
    """What answering a batch cannot do without, and the bytes of one word: weights are read again for each."""
    answers: list[Answer] = []
    products = count(lambda: answers.extend(answer_batch(model, batch, how)[0]), model)
    steps = min(max(len(answer.ids) for answer in answers) + 1, how.max_length)
    reading = count(lambda: model.encode(batch), model)
    cache = model.start(model.encode(batch))
    word = count(lambda: model.step(cache, torch.full((len(batch),), SOS)), model)
    return Work(products.flops, reading.bytes + steps * word.bytes), word.bytes


def _tested(task: Task) -> tuple[Prepared, Pairs, Talker]:
    prepared = task.prepared("test")
    model = task.loaded.model if task.loaded else build_model(task.config, prepared)
    return prepared, prepared.pairs["test"], cast(Talker, model.eval())


def _question(pairs: Pairs, index: np.ndarray) -> Batch:
    return replace(pairs.collate(index), target=None, label=None)  # an answer never sees the truth


def _limit(works: Sequence[Work], done: int, per_s: float, again: float) -> dict:
    """Limit of float32; `again`: the bytes that are read again and again."""
    return beside_limit(sum(works, Work()), done, per_s, matrix_rate(), memory_rate(again))


def _spread(items: list[T], most: int = 12) -> list[T]:
    """Up to twelve items, evenly spread: short, middle and long contexts."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(len(items), most)).astype(int)]


def _rate(
    work: Callable[[np.ndarray], int], items: list[np.ndarray], seconds: float, least: int = 1
) -> float:
    """What is done in a second, over the items again and again: for some seconds, and at least so many items."""
    work(items[0])
    done, begun = 0, time.perf_counter()
    for number, item in enumerate(items * 1_000, start=1):
        done += work(item)
        if number >= least and time.perf_counter() - begun > seconds:
            break
    return done / (time.perf_counter() - begun)
