"""Section 5.4's rule: which side a word is on by its rating, and which by its vector.

Paper: Sec. 5.4. Everything runs block by block, so that 400,000 words x 300 are never copied whole.
Legend of shapes: n words, d dimensions, G groups of words, K draws.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ctsm_lib.errors import DataError

TIE = (
    1e-6  # cosines this close are equal: rounding, which differs between machines, must not decide
)
NO_STATE = -1
ROWS = 8192  # words at a time


def trait_polarity(valence: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """[n] int8: 1 where the valence, [n] in [0, 1], is above the threshold, else 0. Paper: Sec. 5.4."""
    # Rounded, since a float32 0.6 is above 0.6; lexicons have three decimals.
    return (np.round(np.asarray(valence, dtype=np.float64), 6) > round(threshold, 6)).astype(
        np.int8
    )


def centroids(
    vectors: np.ndarray, polarity: np.ndarray, unit: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Mean vector [d] of the positive and of the negative words. Paper: Sec. 5.4.

    Args:
        vectors, polarity: [n, d]; zero vectors belong to neither group. [n] 0 or 1.
        unit: average unit vectors.

    Raises:
        DataError: a group has no word with a vector.
    """
    weights = both_groups(group_weights(polarity, lengths_of(vectors), unit))
    positive, negative = group_sums(vectors, weights) / (weights > 0).sum(axis=0)[:, None]
    return positive, negative


def state_polarity(
    vectors: np.ndarray, trait: np.ndarray, unit: bool = False, leave_one_out: bool = False
) -> np.ndarray:
    """1 where a word is more similar to the positive words' centroid than to the negative ones', else 0.

    A tie is negative: the paper leaves it open, but gives the middle of its valence to the negative side, too.

    Args:
        vectors, trait: [n, d], and [n] 0 or 1.

    Returns:
        [n] int8; -1 (`NO_STATE`) for a zero vector and for a word that leave-one-out leaves without a centroid.

    Raises:
        DataError: a group has no word with a vector.

    Paper: Sec. 5.4.
    """
    weights = both_groups(group_weights(trait, lengths := lengths_of(vectors), unit))
    return sides(group_cosines(vectors, lengths, weights, np.full(2, leave_one_out)))


def group_cosines(
    vectors: np.ndarray, lengths: np.ndarray, weights: np.ndarray, leave_out: np.ndarray
) -> np.ndarray:
    """[n, G] cosine of every word to every group's centroid; nan where one of them has no direction.

    `weights` [n, G] are 0 outside a group. Where `leave_out` [G], a word x of weight w is left out of its group's sum
    S without a second pass: `x (S - w x) = x S - w |x|^2` and `|S - w x|^2 = |S|^2 - 2 w x S + w^2 |x|^2`.
    """
    sums = group_sums(vectors, weights)  # [G, d]
    square = (sums**2).sum(axis=1)
    cosines = np.empty(weights.shape)
    for rows, block in blocks(vectors):
        dots, length, own = block @ sums.T, lengths[rows, None], weights[rows] * leave_out
        rest = square - 2 * own * dots + (own * length) ** 2
        rest[rest <= 1e-12 * (square + (own * length) ** 2)] = (
            np.nan
        )  # what rounding leaves of nothing
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines[rows] = (dots - own * length**2) / (np.sqrt(rest) * length)
    cosines[lengths == 0] = np.nan
    return cosines


def shuffled_shares(
    vectors: np.ndarray, trait: np.ndarray, free: np.ndarray, draws: int, seed: int
) -> np.ndarray:
    """[K] per cent that differ when traits are dealt out anew: what chance gives.

    All draws share two products: indicators [K, n] times vectors are the groups' sums, and the difference of their
    directions times the vectors is the difference of the cosines.

    Args:
        vectors, trait: [n, d], none of them zero, and [n] 0 or 1.
        free: [n] bool, the words among which traits are shuffled; the others keep theirs.
    """
    random = np.random.default_rng(seed)
    dealt = np.repeat(np.asarray(trait, dtype=bool)[None], draws, axis=0)
    for labels in dealt:
        labels[free] = random.permutation(labels[free])
    positive = group_sums(vectors, dealt.T)
    negative = group_sums(vectors, np.ones((len(trait), 1))) - positive
    axis = (
        positive / np.fmax(lengths_of(positive), 1e-30)[:, None]
        - negative / np.fmax(lengths_of(negative), 1e-30)[:, None]
    )
    differ = np.zeros(draws)
    for rows, block in blocks(vectors):
        differ += ((axis @ block.T > TIE * lengths_of(block)) != dealt[:, rows]).sum(axis=1)
    return 100 * differ / len(trait)


def lengths_of(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))


def blocks(vectors: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for begin in range(0, len(vectors), ROWS):
        yield slice(begin, begin + ROWS), vectors[begin : begin + ROWS].astype(np.float64)


def group_sums(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    sums = np.zeros((weights.shape[1], vectors.shape[1]))
    for rows, block in blocks(vectors):
        sums += weights[rows].T.astype(np.float64) @ block
    return sums


def group_weights(trait: np.ndarray, lengths: np.ndarray, unit: bool) -> np.ndarray:
    """[n, 2]: what a word's vector is multiplied with in the positive and in the negative group's sum."""
    weights = (np.asarray(trait)[:, None] == [1, 0]) * np.where(lengths > 0, 1.0, 0.0)[:, None]
    return weights / np.where(lengths > 0, lengths, 1)[:, None] if unit else weights


def both_groups(weights: np.ndarray) -> np.ndarray:
    for column, name in enumerate(("positive", "negative")):
        if not weights[:, column].any():
            raise DataError(f"The {name} group is empty: no word with a vector has a {name} trait.")
    return weights


def sides(cosines: np.ndarray) -> np.ndarray:
    margin = cosines[:, 0] - cosines[:, 1]
    return np.where(np.isnan(margin), NO_STATE, margin > TIE).astype(np.int8)
