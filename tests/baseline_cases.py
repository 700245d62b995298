"""Tiny models of every system by name, for the tests that hold for all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from helpers import FIRST_WORD, SIZE, randomise, tiny_config, tiny_tables
from torch import nn

from ctsm_lib.corpus import PAD
from ctsm_lib.interface import Tables
from ctsm_workbench.baselines import make_model


def concept_tables(seed: int = 0) -> Tables:
    """Tables in which about half of the words have an emotion concept, and half of the words are of strong emotion."""
    tables = tiny_tables(seed)
    random = torch.Generator().manual_seed(seed + 1)
    concepts = torch.randint(FIRST_WORD, SIZE, (SIZE,), generator=random)
    concepts[torch.rand(SIZE, generator=random) < 0.5] = PAD
    concepts[:FIRST_WORD] = PAD
    return replace(tables, concepts=concepts)


def tiny(name: str, seed: int = 0, **changes: Any) -> nn.Module:
    """A tiny model in training mode, all parameters random."""
    return randomise(make_model(tiny_config(model=name, **changes), concept_tables(seed)), seed)
