"""Variation of a word's state emotion between contexts."""

import torch
import torch.nn.functional as F
from torch import Tensor


def context_variation(states_ND: Tensor, words_N: Tensor, size: int) -> Tensor:
    """Mean cosine distance between two occurrences of each word, [size], from 0 to 2.

    States, e.g. `V_cos` or `H_s`, are of N occurrences of words with ids below `size`. A large
    distance means that the context changes the word's state much. Words that occur once have 0.
    """
    unit = F.normalize(states_ND.float(), dim=-1)
    sums = unit.new_zeros(size, unit.shape[1]).index_add(0, words_N, unit)
    count = torch.bincount(words_N, minlength=size)
    # The squared length of a sum of unit vectors is the sum of all their cosines. Those of an
    # occurrence with itself are 1 each, and there are `count` of them.
    between = (sums.square().sum(dim=-1) - count) / (count * (count - 1)).clamp(min=1)
    return torch.where(count > 1, 1 - between, 0.0)
