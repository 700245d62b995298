"""Checks of lesson 10: state polarity, leave-one-out, chance. Paper: Sec. 5.4."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ctsm_workbench.course.checks.frame import check, expect, expect_close, expect_shape


def _cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def _mean(vectors: list[list[float]]) -> list[float]:
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


@check("10.1")
def state_polarity(mine: Callable) -> None:
    """`mine(vectors [n, d], trait [n]) -> [n]`, 1 where a word is closer (cosine) to the positive words' centroid."""
    vectors = np.array(
        [[4.0, 1.0], [1.0, 0.2], [-0.4, 1.0], [0.3, 2.0], [-1.0, 3.0], [-2.0, -1.0], [8.0, 7.0]]
    )
    trait = np.array([1, 1, 0, 0, 0, 0, 1])
    result = mine(vectors, trait)
    expect_shape(result, (7,), "One side a word.")
    result = np.asarray(result).astype(int)
    expect(set(result.tolist()) <= {0, 1}, "Each word gets 0 or 1.")
    rows = vectors.tolist()
    centres = [
        _mean([row for row, side in zip(rows, trait, strict=True) if side == group])
        for group in (1, 0)
    ]
    cosines = [[_cosine(row, centre) for centre in centres] for row in rows]
    expected = [int(positive > negative) for positive, negative in cosines]
    expect(
        result[0] == 1 and result[4] == 0,
        "Positive words' centroid on one side, negative words' on the other: 1 is positive.",
    )
    by_distance = [math.dist(row, centres[0]) < math.dist(row, centres[1]) for row in rows]
    expect(
        result.tolist() != [int(x) for x in by_distance]
        or expected == [int(x) for x in by_distance],
        "The side is decided by the angle, not by the distance: a long vector is far from every centroid.",
    )
    dots = [
        sum(x * y for x, y in zip(row, centres[0], strict=True))
        > sum(x * y for x, y in zip(row, centres[1], strict=True))
        for row in rows
    ]
    expect(
        result.tolist() != [int(x) for x in dots] or expected == [int(x) for x in dots],
        "A cosine divides by the centroid's length, too: the two centroids are not equally long.",
    )
    expect_close(
        result,
        expected,
        "Mean vector of each group, cosine of every word with both, 1 where the positive one is larger.",
    )


@check("10.2")
def leave_one_out_cosine(mine: Callable) -> None:
    """`mine(vectors [n, d], member [n] bool) -> [n]`, cosine with the group's centroid, a member's own vector left out."""
    random = np.random.default_rng(3)
    vectors, member = random.normal(size=(6, 4)), np.array([True, True, True, False, False, True])
    result = mine(vectors, member)
    expect_shape(result, (6,), "One cosine a word.")
    rows = vectors.tolist()
    expected = [
        _cosine(row, _mean([other for j, other in enumerate(rows) if member[j] and j != i]))
        for i, row in enumerate(rows)
    ]
    with_itself = [
        _cosine(row, _mean([other for j, other in enumerate(rows) if member[j]])) for row in rows
    ]
    expect_close(
        np.asarray(result)[3:5],
        expected[3:5],
        "A word outside the group meets the whole group: take nothing away for it.",
    )
    expect(
        not np.allclose(np.asarray(result)[member], np.array(with_itself)[member], atol=1e-6),
        "The members still vote for themselves: subtract a member's own vector from the sum.",
    )
    expect_close(result, expected, "The sum of the group without the word itself, then the cosine.")


@check("10.3")
def shuffled_shares(mine: Callable) -> None:
    """`mine(vectors, trait, side_of, draws, seed) -> [draws]`, per cent that differ when traits are dealt out anew."""
    random = np.random.default_rng(0)
    vectors, trait = random.normal(size=(40, 3)), np.array([1] * 10 + [0] * 30)
    seen: list[np.ndarray] = []

    def side_of(vectors: np.ndarray, trait: np.ndarray) -> np.ndarray:
        seen.append(np.array(trait))
        return (np.arange(len(trait)) % 4 == 0).astype(int)

    result = mine(vectors, trait, side_of, 20, 1)
    expect_shape(result, (20,), "One share a draw.")
    expect(
        len(seen) == 20,
        f"The centroids move with the labels: call side_of in each of the 20 draws (called {len(seen)} times).",
    )
    expect(
        all(int(dealt.sum()) == 10 for dealt in seen),
        "Deal the same labels out anew (a permutation): the number of positive words stays.",
    )
    expect(
        len({tuple(dealt) for dealt in seen}) > 10,
        "Each draw is another permutation: make the generator once, before the loop.",
    )
    sides = np.arange(40) % 4 == 0
    shares = [
        100 * sum(bool(a) != bool(b) for a, b in zip(dealt, sides, strict=True)) / 40
        for dealt in seen
    ]
    expect_close(
        result,
        shares,
        "Compare the sides with the labels that were dealt in this draw, and give per cent.",
    )
    again = mine(vectors, trait, side_of, 20, 1)
    expect_close(again, result, "The same seed gives the same draws.")
