"""The variation of a word's states between contexts, against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import DIM, array, normal, slow_cosine

from ctsm_workbench.study.contexts.variation import context_variation


def test_context_variation_is_the_mean_distance_over_pairs_of_occurrences() -> None:
    """Word 3 occurs once and word 5 never: no pair, no variation."""
    states, words = normal(9, DIM), torch.tensor([0, 1, 0, 2, 1, 3, 0, 4, 4])
    states[8] = 3 * states[7]
    variation = context_variation(states, words, 6)
    for word in range(6):
        rows = array(states[words == word])
        cosine = slow_cosine(rows, rows) if len(rows) else np.zeros((0, 0))
        pairs = [1 - cosine[i, j] for i in range(len(rows)) for j in range(i)]
        assert variation[word].item() == pytest.approx(np.mean(pairs) if pairs else 0.0, abs=1e-6)
    assert variation[0] > 0.1
    assert variation[[3, 4, 5]].abs().max() < 1e-6
