"""Tiny models of every system by name, for the tests that hold for all of them."""

from __future__ import annotations

from typing import Any

import torch
from beyond_cases import tiny_bag_weights
from helpers import FIRST_WORD, SIZE, randomise, tiny_config, tiny_tables
from torch import nn

from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD
from ctsm_lib.interface import Tables
from ctsm_lib.registry import model_class

# Those that give answers. TF-IDF does not.
SYSTEMS = (
    "ctsm", "transformer", "multi-transformer", "moel", "mime", "empdg", "kemp", "cem", "case",
)  # fmt: skip


def concept_tables(seed: int = 0) -> Tables:
    """Tables with an emotion concept for about half of the words; half are of strong emotion."""
    tables = tiny_tables(seed)
    random = torch.Generator().manual_seed(seed + 1)
    concepts = torch.randint(FIRST_WORD, SIZE, (SIZE,), generator=random)
    concepts[torch.rand(SIZE, generator=random) < 0.5] = PAD
    concepts[:FIRST_WORD] = PAD
    tables.more |= {"concepts": concepts, "bag": tiny_bag_weights(seed)}
    return tables


def make_model(config: Config, tables: Tables) -> Any:
    """A new model, as training makes it."""
    return model_class(config)(config, tables)


def tiny(name: str, seed: int = 0, **changes: Any) -> nn.Module:
    """A tiny model in training mode, all parameters random."""
    return randomise(make_model(tiny_config(model=name, **changes), concept_tables(seed)), seed)
