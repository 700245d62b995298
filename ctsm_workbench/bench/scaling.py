"""Growth of time: three sizes of one thing with all else equal, and the slope on log scales."""

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
from ctsm_lib.corpus import CLS, EOS, SPECIALS, SPLITS, USR, Corpus
from ctsm_lib.interface import Tables
from ctsm_lib.prepare import Prepared
from ctsm_lib.registry import model_class
from ctsm_workbench.bench.limits import shortest
from ctsm_workbench.bench.task import Task

BATCHES = (4, 16, 64)
TARGET = 16  # tokens of a made-up response
KNOWLEDGE = 12  # tokens of a made-up relation

Work = Callable[[], object]
Step = Callable[[Batch], object]


def thirds(most: int) -> list[int]:
    """Three sizes up to `most`, each four times the one before."""
    return sorted({max(most // 16, 1), max(most // 4, 1), most})


def growth(make: Callable[[int], Work], sizes: Sequence[int], seconds: float = 0.5) -> dict:
    """Measure `make(size)()` for each size as `grown` returns it; making the work is not timed.

    Each size is tried for so many seconds and at least twice; once where `seconds` is 0.
    """
    make(sizes[0])()  # to warm up
    return grown(sizes, [shortest(make(size), seconds, 1 + bool(seconds)) for size in sizes])


def grown(sizes: Sequence[int], seconds: Sequence[float]) -> dict:
    """Sizes and seconds with the slope of log time over log size, which is None for one size."""
    several = len(set(sizes)) > 1
    slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0] if several else None
    return {"sizes": list(sizes), "seconds": list(seconds), "slope": slope}


def corpus_growth(task: Task, make: Callable[[int], Work], most: int) -> tuple[float, dict]:
    """Seconds for the largest size, tried once, and the growth of a row if it was asked for."""
    found = growth(make, thirds(most) if task.grow else [most], 0)
    return found["seconds"][-1], {"growth": {"corpus": found}} if task.grow else {}


def model_growth(task: Task, prepared: Prepared, make_step: Callable[[Any], Step]) -> dict:
    """Growth of a model's step with batch, context length and vocabulary, if it was asked for.

    Sizes of the vocabulary go up to that of the data. `make_step` makes the step of a new model.
    """
    if not task.grow:
        return {}
    words = len(prepared.corpus.vocabulary)
    lengths = [max(task.config.max_context // parts, 2) for parts in (8, 4, 2)]
    step = cache(lambda vocabulary: make_step(made_up_model(task.config, vocabulary)))

    def work(vocabulary: int = words, batch: int = BATCHES[1], length: int = lengths[1]) -> Work:
        return partial(step(vocabulary), made_up_batch(vocabulary, batch, length))

    axes = {
        "batch": (lambda size: work(batch=size), BATCHES),
        "context": (lambda size: work(length=size), lengths),
        "vocabulary": (work, [words // 4, words // 2, words]),
    }
    return {"growth": {axis: growth(*tried, task.seconds / 40) for axis, tried in axes.items()}}


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
    speaker = torch.full_like(context, USR)
    for sequence in (context, knowledge, speaker):
        sequence[..., 0] = CLS
    target[:, -1] = EOS
    pair = torch.arange(batch)
    return Batch(
        context=context, speaker=speaker, knowledge=knowledge, target=target, label=pair % 32,
        pair=pair, total_tokens=target.numel(), total_pairs=batch,
    )  # fmt: skip


def dialogues_in(corpus: Corpus) -> int:
    """Number of dialogues in all splits."""
    return sum(len(split.labels) for split in corpus.splits.values())


def part_of(corpus: Corpus, dialogues: int) -> Corpus:
    """A corpus of about so many dialogues, the first of each split, with the whole vocabulary."""
    total = dialogues_in(corpus)
    parts = {}
    for name, split in corpus.splits.items():
        kept = -(-len(split.labels) * dialogues // total)
        turns = split.dialogue_offsets[kept]
        parts[name] = replace(  # the offsets still find the turns in `text`
            split,
            tokens=split.tokens[: split.turn_offsets[turns]],
            turn_offsets=split.turn_offsets[: turns + 1],
            dialogue_offsets=split.dialogue_offsets[: kept + 1],
            labels=split.labels[:kept],
        )
    return replace(corpus, splits=parts)


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
