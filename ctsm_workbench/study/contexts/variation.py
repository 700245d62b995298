"""Variation of a word's state emotion between contexts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def context_variation(states_ND: Tensor, words_N: Tensor, size: int) -> Tensor:
    """Mean cosine distance between two occurrences of each word, [size], from 0 to 2.

    A large distance means that the context changes the word's state much. Words that occur less
    than twice have 0.

    Args:
        states_ND: a state of each occurrence, e.g. `V_cos` or `H_s`.
        words_N: the id of its word, below `size`.
    """
    unit = F.normalize(states_ND.float(), dim=-1)
    sums = unit.new_zeros(size, unit.shape[1]).index_add(0, words_N, unit)
    count = torch.bincount(words_N, minlength=size)
    # The squared length of a sum of unit vectors is the sum of all their cosines. Those of an
    # occurrence with itself are 1 each, and there are `count` of them.
    between = (sums.square().sum(dim=-1) - count) / (count * (count - 1)).clamp(min=1)
    return torch.where(count > 1, 1 - between, 0.0)
