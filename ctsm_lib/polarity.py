"""The paper's rule for polarity: a word's trait by its rating, its state by its vector.

Paper: Sec. 5.4. Vectors are read block by block: 400,000 x 300 are never copied.
Shapes: n words, d dimensions, G groups of words, K draws.
"""

from collections.abc import Iterator

import numpy as np

from ctsm_lib.errors import DataError

# Cosines this close are equal: rounding, which differs between machines, must not decide.
TIE = 1e-6
NO_STATE = -1
ROWS = 8192  # words of a block


def trait_polarity(valence: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """[n] int8: 1 where the valence, [n] in [0, 1], is above the threshold, else 0."""
    # Rounded, since a float32 0.6 is above 0.6; lexicons have three decimals.
    rounded = np.round(np.asarray(valence, dtype=np.float64), 6)
    return (rounded > round(threshold, 6)).astype(np.int8)


def centroids(vectors: np.ndarray, polarity: np.ndarray, unit: bool = False) -> np.ndarray:
    """[2, d] mean vectors of the positive and of the negative words; `unit`: of their directions.

    `vectors` are [n, d], `polarity` is [n] 0 or 1. Zero vectors belong to neither group; a group
    without a vector raises a `DataError`.
    """
    weights = both_groups(group_weights(polarity, lengths_of(vectors), unit))
    return group_sums(vectors, weights) / (weights > 0).sum(axis=0)[:, None]


def state_polarity(
    vectors: np.ndarray, trait: np.ndarray, unit: bool = False, leave_one_out: bool = False
) -> np.ndarray:
    """[n] int8: 1 where a word is more similar to the positive words' centroid, else 0.

    A tie is negative: the paper leaves it open, but counts the middle of its valence as negative.
    A zero vector has -1 (`NO_STATE`). With `leave_one_out`, a word is left out of the centroid of
    its own group (-1 where nothing is left). The other arguments are those of `centroids`.
    """
    lengths = lengths_of(vectors)
    weights = both_groups(group_weights(trait, lengths, unit))
    return sides(group_cosines(vectors, lengths, weights, np.full(2, leave_one_out)))


def group_cosines(
    vectors: np.ndarray, lengths: np.ndarray, weights: np.ndarray, leave_out: np.ndarray
) -> np.ndarray:
    """[n, G] cosine of every word to every group's centroid; nan where one of them is zero.

    `weights` [n, G] are 0 outside a group. Where `leave_out` [G], a word x of weight w is left out
    of its group's sum S without a second pass: `x (S - w x) = x S - w |x|^2` and
    `|S - w x|^2 = |S|^2 - 2 w x S + w^2 |x|^2`.
    """
    sums = group_sums(vectors, weights)  # [G, d]
    square = (sums**2).sum(axis=1)
    cosines = np.empty(weights.shape)
    for rows, block in blocks(vectors):
        dots = block @ sums.T
        length = lengths[rows, None]
        own = weights[rows] * leave_out
        rest = square - 2 * own * dots + (own * length) ** 2
        # Where nothing is left of the sum, only rounding errors are.
        rest[rest <= 1e-12 * (square + (own * length) ** 2)] = np.nan
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines[rows] = (dots - own * length**2) / (np.sqrt(rest) * length)
    cosines[lengths == 0] = np.nan
    return cosines


def lengths_of(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))


def blocks(vectors: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for begin in range(0, len(vectors), ROWS):
        yield slice(begin, begin + ROWS), vectors[begin : begin + ROWS].astype(np.float64)


def group_sums(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[G, d] weighted sums, for weights [n, G]."""
    sums = np.zeros((weights.shape[1], vectors.shape[1]))
    for rows, block in blocks(vectors):
        sums += weights[rows].T.astype(np.float64) @ block
    return sums


def group_weights(trait: np.ndarray, lengths: np.ndarray, unit: bool) -> np.ndarray:
    """[n, 2] weights of words in the sums of the positive and of the negative group."""
    weights = (np.asarray(trait)[:, None] == [1, 0]) * np.where(lengths > 0, 1.0, 0.0)[:, None]
    return weights / np.where(lengths > 0, lengths, 1)[:, None] if unit else weights


def both_groups(weights: np.ndarray) -> np.ndarray:
    for column, name in enumerate(("positive", "negative")):
        if not weights[:, column].any():
            raise DataError(f"The {name} group is empty: no word with a vector has a {name} trait.")
    return weights


def sides(cosines: np.ndarray) -> np.ndarray:
    """[n] int8 state polarity from the cosines [n, 2] to both centroids."""
    margin = cosines[:, 0] - cosines[:, 1]
    return np.where(np.isnan(margin), NO_STATE, margin > TIE).astype(np.int8)
