"""Growth of time: three sizes of one thing with all else equal, and the slope on log scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import CLS, EOS, SPECIALS, SPLITS, USR, Corpus, Split
from ctsm_lib.interface import Tables
from ctsm_lib.registry import model_class
from ctsm_workbench.bench.limits import shortest

BATCHES = (4, 16, 64)
TARGET = 16  # tokens of a made-up response
KNOWLEDGE = 12  # tokens of a made-up relation

Step = Callable[[Batch], object]


def thirds(most: int) -> list[int]:
    """Three sizes up to `most`, each four times the one before."""
    return sorted({max(most // 16, 1), max(most // 4, 1), most})


def growth(
    make: Callable[[int], Callable[[], object]], sizes: Sequence[int], seconds: float = 0.5
) -> dict:
    """Measure `make(size)()` for each size, and fit a line to log time over log size.

    Args:
        make: prepares the work; this is not timed.
        seconds: how long each size is tried, at least twice; 0 for one try that takes seconds.

    Returns:
        sizes, seconds and slope, which is 1 where twice the size takes twice the time.
    """
    make(sizes[0])()  # to warm up
    return grown(sizes, [shortest(make(size), seconds, 1 + bool(seconds)) for size in sizes])


def grown(sizes: Sequence[int], seconds: Sequence[float]) -> dict:
    """Sizes and seconds with their slope, which is None for one size."""
    slope = None
    if len(set(sizes)) > 1:
        slope = round(float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]), 3)
    rounded = [float(f"{value:.4g}") for value in seconds]
    return {"sizes": list(sizes), "seconds": rounded, "slope": slope}


def model_growth(
    config: Config, words: int, make_step: Callable[[Any], Step], seconds: float
) -> dict:
    """Growth of a model's step with batch, context length and vocabulary.

    Args:
        words: size of the data's vocabulary, the largest that is tried.
        make_step: makes the step of a new model.
    """
    lengths = [max(config.max_context // parts, 2) for parts in (8, 4, 2)]
    step = cache(lambda words: make_step(made_up_model(config, words)))

    def work(
        vocabulary: int = words, batch: int = BATCHES[1], length: int = lengths[1]
    ) -> Callable[[], object]:
        return partial(step(vocabulary), made_up_batch(vocabulary, batch, length))

    return {
        "batch": growth(lambda size: work(batch=size), BATCHES, seconds),
        "context": growth(lambda size: work(length=size), lengths, seconds),
        "vocabulary": growth(work, [words // 4, words // 2, words], seconds),
    }


def made_up_model(config: Config, words: int) -> Any:
    """A new model with a made-up vocabulary and random vectors."""
    torch.manual_seed(config.seed)
    tables = Tables.empty(words, config.dim)
    labels = len(SPECIALS) + torch.arange(len(tables.labels))
    vectors = 0.3 * torch.randn(words, config.dim)
    return model_class(config)(config, replace(tables, vectors=vectors, labels=labels))


def made_up_batch(words: int, batch: int, length: int) -> Batch:
    """Random words without padding: contexts [batch, length], relations and responses alike."""
    random = torch.Generator().manual_seed(0)
    shapes = ((batch, 5, KNOWLEDGE), (batch, TARGET), (batch, length))
    knowledge, target, context = (
        torch.randint(len(SPECIALS), words, shape, generator=random) for shape in shapes
    )
    context[:, 0] = CLS
    knowledge[..., 0] = CLS
    target[:, -1] = EOS
    speaker = torch.full_like(context, USR)
    speaker[:, 0] = CLS
    pair = torch.arange(batch)
    return Batch(context, speaker, knowledge, target, pair % 32, pair, target.numel(), batch)


def part_of(corpus: Corpus, dialogues: int) -> Corpus:
    """A corpus of about so many dialogues, the first of each split, with the whole vocabulary."""
    total = dialogues_in(corpus)
    shares = {
        name: -(-len(split.labels) * dialogues // total) for name, split in corpus.splits.items()
    }
    return replace(
        corpus, splits={name: _first(corpus.splits[name], shares[name]) for name in SPLITS}
    )


def dialogues_in(corpus: Corpus) -> int:
    """Number of dialogues in all splits."""
    return sum(len(split.labels) for split in corpus.splits.values())


def _first(split: Split, dialogues: int) -> Split:
    turns = int(split.dialogue_offsets[dialogues])
    turn_offsets = split.turn_offsets[: turns + 1]
    text_offsets = split.text_offsets[: turns + 1]
    return Split(
        tokens=split.tokens[: int(turn_offsets[-1])], turn_offsets=turn_offsets,
        dialogue_offsets=split.dialogue_offsets[: dialogues + 1], labels=split.labels[:dialogues],
        text=split.text[: int(text_offsets[-1])], text_offsets=text_offsets,
    )  # fmt: skip


def cut_files(folder: Path, out: Path, share: int) -> int:
    """Write the first 1 / `share` of each split's dialogues; return the number of dialogues."""
    count = 0
    for name in SPLITS:
        with (folder / f"{name}.csv").open("rb") as file:
            header, *rows = file
        groups = groupby(rows, key=lambda row: row.partition(b",")[0])
        dialogues = [b"".join(group) for _, group in groups]
        kept = dialogues[: -(-len(dialogues) // share)]
        (out / f"{name}.csv").write_bytes(b"".join([header, *kept]))
        count += len(kept)
    return count
