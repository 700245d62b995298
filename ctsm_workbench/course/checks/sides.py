"""Checks of lesson 10: state polarity, leave-one-out, chance. Paper: Sec. 5.4."""

import math
from collections.abc import Callable

import numpy as np

from ctsm_workbench.course.checks.frame import Expect, check, cosine, dot


def _mean(vectors: list[list[float]]) -> list[float]:
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


@check("10.1")
def state_polarity(mine: Callable, expect: Expect) -> None:
    """`mine(vectors [n, d], trait [n]) -> [n]`.

    1 where a word is closer (by cosine) to the centroid of the positive words.
    """
    rows = [[4.0, 1.0], [1.0, 0.2], [-0.4, 1.0], [0.3, 2.0], [-1.0, 3.0], [-2.0, -1.0], [8.0, 7.0]]
    trait = np.array([1, 1, 0, 0, 0, 0, 1])
    result = mine(np.array(rows), trait)
    expect.shape(result, (7,), "shape")
    found = np.asarray(result).astype(int).tolist()
    expect(set(found) <= {0, 1}, "binary")
    positive = _mean([row for row, side in zip(rows, trait, strict=True) if side])
    negative = _mean([row for row, side in zip(rows, trait, strict=True) if not side])
    expect(found[0] == 1 and found[4] == 0, "nearer")
    nearer = [int(math.dist(row, positive) < math.dist(row, negative)) for row in rows]
    expect(found != nearer, "angle")
    larger = [int(dot(row, positive) > dot(row, negative)) for row in rows]
    expect(found != larger, "cosine")
    expected = [int(cosine(row, positive) > cosine(row, negative)) for row in rows]
    expect.close(found, expected, "formula")


@check("10.2")
def leave_one_out_cosine(mine: Callable, expect: Expect) -> None:
    """`mine(vectors [n, d], member [n] bool) -> [n]`.

    Cosine with the group's centroid, from which a member's own vector is left out.
    """
    vectors = np.random.default_rng(3).normal(size=(6, 4))
    member = np.array([True, True, True, False, False, True])
    result = mine(vectors, member)
    expect.shape(result, (6,), "shape")
    result = np.asarray(result)
    rows = vectors.tolist()

    def centroid(without: int | None = None) -> list[float]:
        return _mean([row for j, row in enumerate(rows) if member[j] and j != without])

    expected = [cosine(row, centroid(without=i)) for i, row in enumerate(rows)]
    with_itself = np.array([cosine(row, centroid()) for row in rows])
    expect.close(result[3:5], expected[3:5], "outside")
    expect.differs(result[member], with_itself[member], "themselves")
    expect.close(result, expected, "formula")


@check("10.3")
def shuffled_shares(mine: Callable, expect: Expect) -> None:
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
    expect.shape(result, (20,), "shape")
    expect(len(seen) == 20, "each_draw", calls=len(seen))
    expect(all(int(labels.sum()) == 10 for labels in seen), "shuffle")
    expect(len({tuple(labels.tolist()) for labels in seen}) > 10, "once")
    shares = [100 * float(np.mean(labels.astype(bool) != sides)) for labels in seen]
    expect.close(result, shares, "compare")
    again = mine(vectors, trait, side_of, 20, 1)
    expect.close(again, result, "seed")
