"""Checks of lesson 10: state polarity, leave-one-out, chance. Paper: Sec. 5.4."""

import math
from collections.abc import Callable

import numpy as np

from ctsm_workbench.course.checks.frame import (
    check,
    cosine,
    dot,
    expect,
    expect_close,
    expect_not,
    expect_shape,
)


def _mean(vectors: list[list[float]]) -> list[float]:
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


@check("10.1")
def state_polarity(mine: Callable) -> None:
    """`mine(vectors [n, d], trait [n]) -> [n]`.

    1 where a word is closer (by cosine) to the centroid of the positive words.
    """
    rows = [[4.0, 1.0], [1.0, 0.2], [-0.4, 1.0], [0.3, 2.0], [-1.0, 3.0], [-2.0, -1.0], [8.0, 7.0]]
    trait = np.array([1, 1, 0, 0, 0, 0, 1])
    result = mine(np.array(rows), trait)
    expect_shape(result, (7,), "Return one polarity per word.")
    found = np.asarray(result).astype(int).tolist()
    expect(set(found) <= {0, 1}, "Each word gets 0 or 1.")
    positive = _mean([row for row, side in zip(rows, trait, strict=True) if side])
    negative = _mean([row for row, side in zip(rows, trait, strict=True) if not side])
    hint = "Compare a word with the centroids of positive and of negative words: 1 is positive."
    expect(found[0] == 1 and found[4] == 0, hint)
    nearer = [int(math.dist(row, positive) < math.dist(row, negative)) for row in rows]
    hint = "The polarity is decided by the angle, not by the distance."
    hint += " A long vector is far from every centroid."
    expect(found != nearer, hint)
    larger = [int(dot(row, positive) > dot(row, negative)) for row in rows]
    hint = "A cosine also divides by the centroid's length: the two centroids are not equally long."
    expect(found != larger, hint)
    expected = [int(cosine(row, positive) > cosine(row, negative)) for row in rows]
    hint = "Take the mean vector of each group and the cosine of every word with both means."
    hint += " Return 1 where the positive cosine is larger."
    expect_close(found, expected, hint)


@check("10.2")
def leave_one_out_cosine(mine: Callable) -> None:
    """`mine(vectors [n, d], member [n] bool) -> [n]`.

    Cosine with the group's centroid, from which a member's own vector is left out.
    """
    vectors = np.random.default_rng(3).normal(size=(6, 4))
    member = np.array([True, True, True, False, False, True])
    result = mine(vectors, member)
    expect_shape(result, (6,), "Return one cosine per word.")
    result = np.asarray(result)
    rows = vectors.tolist()

    def centroid(without: int | None = None) -> list[float]:
        return _mean([row for j, row in enumerate(rows) if member[j] and j != without])

    expected = [cosine(row, centroid(without=i)) for i, row in enumerate(rows)]
    with_itself = np.array([cosine(row, centroid()) for row in rows])
    hint = "A word outside the group is compared with the whole group: subtract nothing for it."
    expect_close(result[3:5], expected[3:5], hint)
    hint = "The members still vote for themselves: subtract a member's own vector from the sum."
    expect_not(result[member], with_itself[member], hint)
    hint = "Take the sum of the group without the word itself, then the cosine."
    expect_close(result, expected, hint)


@check("10.3")
def shuffled_shares(mine: Callable) -> None:
    """`mine(vectors, trait, side_of, draws, seed) -> [draws]`.

    Per cent of words whose polarity differs from their label, when the labels are shuffled.
    """
    vectors = np.random.default_rng(0).normal(size=(40, 3))
    trait = np.array([1] * 10 + [0] * 30)
    sides = np.arange(40) % 4 == 0
    seen: list[np.ndarray] = []

    def side_of(vectors: np.ndarray, trait: np.ndarray) -> np.ndarray:
        seen.append(np.array(trait))
        return sides.astype(int)

    result = mine(vectors, trait, side_of, 20, 1)
    expect_shape(result, (20,), "Return one share per draw.")
    hint = "The centroids depend on the labels: call side_of in each of the 20 draws"
    expect(len(seen) == 20, f"{hint} (you called it {len(seen)} times).")
    hint = "Shuffle the labels (a permutation): the number of positive words stays the same."
    expect(all(int(labels.sum()) == 10 for labels in seen), hint)
    hint = "Each draw is another permutation: make the generator once, before the loop."
    expect(len({tuple(labels.tolist()) for labels in seen}) > 10, hint)
    shares = [100 * float(np.mean(labels.astype(bool) != sides)) for labels in seen]
    hint = "Compare the polarities with the shuffled labels of this draw, and return per cent."
    expect_close(result, shares, hint)
    again = mine(vectors, trait, side_of, 20, 1)
    expect_close(again, result, "The same seed gives the same draws.")
