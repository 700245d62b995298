"""How time grows: three sizes of one thing, all else alike, and the slope of log time over log size."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import CLS, EOS, SPECIALS, SPLITS, USR, Corpus, Split
from ctsm_lib.model import Tables
from ctsm_workbench.baselines import AnyModel, make_model

BATCHES = (4, 16, 64)
TARGET, KNOWLEDGE = 16, 12  # tokens of a made-up response and of a relation's phrases

Step = Callable[[Batch], int]  # how many examples it saw


def thirds(most: int) -> list[int]:
    """Three sizes, each four times the one before, up to `most`."""
    return sorted({max(most // 16, 1), max(most // 4, 1), most})


def growth(
    make: Callable[[int], Callable[[], object]], sizes: Sequence[int], seconds: float = 0.5
) -> dict:
    """Time `make(size)()` for each size.

    Args:
        make: prepares what is not timed.
        seconds: how long each size is tried, at least twice; 0: once, where a try takes seconds.

    Returns:
        sizes, seconds (the best of each size) and slope: 1 where twice the size takes twice the time.
    """
    make(sizes[0])()  # to warm up
    return grown(sizes, [_timed(make(size), seconds) for size in sizes])


def grown(sizes: Sequence[int], seconds: Sequence[float]) -> dict:
    """Sizes and seconds with their slope; None where there are not two sizes."""
    slope = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]) if len(set(sizes)) > 1 else None
    rounded = [float(f"{value:.4g}") for value in seconds]
    return {
        "sizes": list(sizes),
        "seconds": rounded,
        "slope": None if slope is None else round(slope, 3),
    }


def _timed(work: Callable[[], object], seconds: float) -> float:
    tries: list[float] = []
    while len(tries) < 1 + bool(seconds) or sum(tries) < seconds:
        begun = time.perf_counter()
        work()
        tries.append(time.perf_counter() - begun)
    return min(tries)


def model_growth(
    config: Config, words: int, make_step: Callable[[AnyModel], Step], seconds: float
) -> dict:
    """Growth with batch, context length and vocabulary of a step over made-up batches.

    Args:
        words: size of the data's vocabulary, the largest that is tried.
        make_step: from a new model to what it does with a batch.
    """
    lengths = [max(config.max_context // parts, 2) for parts in (8, 4, 2)]
    step = make_step(made_up_model(config, words))

    def vocabulary(size: int) -> Callable[[], object]:
        other, batch = (
            make_step(made_up_model(config, size)),
            made_up_batch(size, BATCHES[1], lengths[1]),
        )
        return lambda: other(batch)

    def batches(size: int) -> Callable[[], object]:
        batch = made_up_batch(words, size, lengths[1])
        return lambda: step(batch)

    def contexts(size: int) -> Callable[[], object]:
        batch = made_up_batch(words, BATCHES[1], size)
        return lambda: step(batch)

    return {
        "batch": growth(batches, BATCHES, seconds),
        "context": growth(contexts, lengths, seconds),
        "vocabulary": growth(vocabulary, [words // 4, words // 2, words], seconds),
    }


def made_up_model(config: Config, words: int) -> AnyModel:
    """A new model of a vocabulary that nobody has, with random vectors."""
    torch.manual_seed(config.seed)
    tables = Tables.empty(words, config.dim)
    labels = len(SPECIALS) + torch.arange(len(tables.labels))
    return make_model(
        config, replace(tables, vectors=0.3 * torch.randn(words, config.dim), labels=labels)
    )


def made_up_batch(words: int, batch: int, length: int) -> Batch:
    """Random words without padding: [batch, length] contexts, every relation and response of one length."""
    random = torch.Generator().manual_seed(0)
    knowledge, target, context = (
        torch.randint(len(SPECIALS), words, shape, generator=random)
        for shape in ((batch, 5, KNOWLEDGE), (batch, TARGET), (batch, length))
    )
    context[:, 0], knowledge[..., 0], target[:, -1] = CLS, CLS, EOS
    speaker = torch.full_like(context, USR)
    speaker[:, 0] = CLS
    label, pair = torch.arange(batch) % 32, torch.arange(batch)
    return Batch(context, speaker, knowledge, target, label, pair, target.numel(), batch)


def part_of(corpus: Corpus, dialogues: int) -> Corpus:
    """A corpus with about so many dialogues, the first of each split; its vocabulary stays whole."""
    total = sum(len(split.labels) for split in corpus.splits.values())
    shares = {
        name: -(-len(split.labels) * dialogues // total) for name, split in corpus.splits.items()
    }
    return replace(
        corpus, splits={name: _first(corpus.splits[name], shares[name]) for name in SPLITS}
    )


def _first(split: Split, dialogues: int) -> Split:
    turns = int(split.dialogue_offsets[dialogues])
    tokens, text = int(split.turn_offsets[turns]), int(split.text_offsets[turns])
    return Split(
        split.tokens[:tokens],
        split.turn_offsets[: turns + 1],
        split.dialogue_offsets[: dialogues + 1],
        split.labels[:dialogues],
        split.text[:text],
        split.text_offsets[: turns + 1],
    )


def cut_files(folder: Path, out: Path, share: int) -> int:
    """Write the first 1 / `share` of each split's rows, to the end of the dialogue; return how many dialogues that is."""
    dialogues = 0
    for name in SPLITS:
        header, *rows = (folder / f"{name}.csv").read_bytes().rstrip(b"\n").split(b"\n")
        owner = [row.partition(b",")[0] for row in rows]
        end = max(len(rows) // share, 1)
        while end < len(rows) and owner[end] == owner[end - 1]:
            end += 1
        (out / f"{name}.csv").write_bytes(b"\n".join([header, *rows[:end], b""]))
        dialogues += len(set(owner[:end]))
    return dialogues
