"""The share of words that differs by chance, when valences are shuffled among words."""

import numpy as np

from ctsm_lib.polarity import TIE, blocks, group_sums, lengths_of


def shuffled_shares(
    vectors: np.ndarray, trait: np.ndarray, free: np.ndarray, draws: int, seed: int
) -> np.ndarray:
    """[K] per cent of words whose state differs from a shuffled trait: the share by chance.

    Traits are shuffled among the words of `free` [n]; the others keep theirs. No vector may be
    zero. All draws share two products: the groups' sums, and the differences of the cosines.
    """
    random = np.random.default_rng(seed)
    dealt = np.repeat(np.asarray(trait, dtype=bool)[None], draws, axis=0)
    for labels in dealt:
        labels[free] = random.permutation(labels[free])
    positive = group_sums(vectors, dealt.T)
    negative = group_sums(vectors, np.ones((len(trait), 1))) - positive
    axis = positive / np.fmax(lengths_of(positive), 1e-30)[:, None]
    axis -= negative / np.fmax(lengths_of(negative), 1e-30)[:, None]
    differ = np.zeros(draws)
    for rows, block in blocks(vectors):
        differ += ((axis @ block.T > TIE * lengths_of(block)) != dealt[:, rows]).sum(axis=1)
    return 100 * differ / len(trait)
