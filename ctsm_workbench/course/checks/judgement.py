"""Checks of lesson 11: Fleiss' kappa, verdicts by majority. Paper: Sec. 4.3.2."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from ctsm_workbench.course.checks.frame import check, expect, expect_close, expect_shape


def _pairs_that_agree(counts: np.ndarray) -> tuple[float, float]:
    """Share of pairs of judges who agree on an item, and of pairs of all judgements (drawn with replacement) that do."""
    rows = [[k for k, judges in enumerate(row) for _ in range(judges)] for row in counts.tolist()]
    within = [one == other for row in rows for one, other in itertools.combinations(row, 2)]
    everything = [said for row in rows for said in row]
    anywhere = [one == other for one, other in itertools.product(everything, repeat=2)]
    return sum(within) / len(within), sum(anywhere) / len(anywhere)


@check("11.1")
def fleiss_kappa(mine: Callable) -> None:
    """`mine(counts [N, K]) -> kappa`; a row says how many judges put the item into each category."""
    result = mine(np.array([[3, 0, 0], [0, 3, 0], [3, 0, 0], [0, 0, 3]]))
    expect_shape(result, (), "Kappa is one number for the whole table.")
    expect_close(
        result,
        1.0,
        "All judges agree on every item: kappa is 1. Divide by 1 - P_e, and count the shares over all items together.",
    )
    uneven = np.array([[3, 0, 0], [0, 3, 0], [2, 1, 0], [1, 1, 1]])
    observed, chance = _pairs_that_agree(uneven)
    result = mine(uneven)
    expect(
        abs(float(result) - observed) > 1e-6,
        "This is the bare agreement: chance brings some of it. Subtract P_e above and below.",
    )
    expect_close(
        mine(np.array([[1, 1], [1, 1], [1, 1]])),
        -1.0,
        "Two judges who never agree: kappa is -1 here. Nobody makes a pair alone: n (n - 1) pairs, not n^2.",
    )
    expect_close(
        result,
        (observed - chance) / (1 - chance),
        "Categories that are chosen more often agree more often by chance: squares of the shares p_k, not 1 / K.",
    )
    random = np.random.default_rng(4)
    counts = random.multinomial(5, [0.5, 0.3, 0.15, 0.05], size=12)
    observed, chance = _pairs_that_agree(counts)
    expect_close(
        mine(counts),
        (observed - chance) / (1 - chance),
        "Five judges and four categories: neither number is fixed, read both from the table.",
    )


@check("11.2")
def majority(mine: Callable) -> None:
    """`mine(codes [N, J]) -> verdicts [N]`, 0 win, 1 tie, 2 lose, 3 none."""
    result = mine(np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 0, 0]]))
    expect_shape(result, (4,), "One verdict for each item.")
    expect_close(result, [0, 1, 2, 0], "All judges say the same: that is the verdict.")
    expect_close(
        mine(np.array([[0, 2, 0], [2, 0, 2], [1, 2, 1], [0, 1, 1]])),
        [0, 2, 1, 1],
        "Two of three judges are a majority, wherever they sit.",
    )
    expect_close(
        mine(np.array([[0, 1, 2], [2, 0, 1]])),
        [3, 3],
        "Win, tie and lose, one judge each: nobody has a majority. A tie is what a judge says, not the middle of the others.",
    )
    expect_close(
        mine(np.array([[0, 0, 2, 2], [1, 1, 0, 2], [2, 2, 2, 0]])),
        [3, 3, 2],
        "Two of four are half of the judges: a majority is more than half.",
    )
    expect_close(
        mine(np.array([[0, 0, 1, 1, 2], [2, 2, 2, 0, 1]])),
        [3, 2],
        "Of five judges three are needed: two are not enough, even if no category has more.",
    )
