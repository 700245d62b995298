"""Checks of lesson 11: Fleiss' kappa, verdicts by majority. Paper: Sec. 4.3.2."""

import itertools
from collections.abc import Callable

import numpy as np

from ctsm_workbench.course.checks.frame import check, expect_close, expect_not, expect_shape


def _agreement(counts: np.ndarray) -> tuple[float, float]:
    """Share of pairs of judgements that agree: within items, and among all (with replacement)."""
    rows = [[k for k, judges in enumerate(row) for _ in range(judges)] for row in counts.tolist()]
    within = [one == other for row in rows for one, other in itertools.combinations(row, 2)]
    everything = [choice for row in rows for choice in row]
    anywhere = [one == other for one, other in itertools.product(everything, repeat=2)]
    return sum(within) / len(within), sum(anywhere) / len(anywhere)


@check("11.1")
def fleiss_kappa(mine: Callable) -> None:
    """`mine(counts [N, K]) -> kappa`; a row has the number of judges for each category."""
    result = mine(np.array([[3, 0, 0], [0, 3, 0], [3, 0, 0], [0, 0, 3]]))
    expect_shape(result, (), "Kappa is one number for the whole table.")
    hint = "All judges agree on every item, so kappa is 1."
    hint += " Divide by 1 - P_e, and count the shares over all items together."
    expect_close(result, 1.0, hint)
    uneven = np.array([[3, 0, 0], [0, 3, 0], [2, 1, 0], [1, 1, 1]])
    observed, chance = _agreement(uneven)
    result = mine(uneven)
    hint = "This is the bare agreement. Chance brings some of it: subtract P_e above and below."
    expect_not(result, observed, hint)
    hint = "Two judges never agree, so kappa is -1."
    hint += " Nobody makes a pair alone: there are n (n - 1) pairs, not n^2."
    expect_close(mine(np.array([[1, 1], [1, 1], [1, 1]])), -1.0, hint)
    hint = "By chance, frequent categories agree more often: use the squared shares p_k, not 1 / K."
    expect_close(result, (observed - chance) / (1 - chance), hint)
    counts = np.random.default_rng(4).multinomial(5, [0.5, 0.3, 0.15, 0.05], size=12)
    observed, chance = _agreement(counts)
    hint = "Five judges and four categories: neither number is fixed, read both from the table."
    expect_close(mine(counts), (observed - chance) / (1 - chance), hint)


@check("11.2")
def majority(mine: Callable) -> None:
    """`mine(codes [N, J]) -> verdicts [N]`, 0 win, 1 tie, 2 lose, 3 none."""
    result = mine(np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 0, 0]]))
    expect_shape(result, (4,), "Return one verdict for each item.")
    expect_close(result, [0, 1, 2, 0], "When all judges choose the same, that is the verdict.")
    codes = [[0, 2, 0], [2, 0, 2], [1, 2, 1], [0, 1, 1]]
    hint = "Two of three judges are a majority, whichever two they are."
    expect_close(mine(np.array(codes)), [0, 2, 1, 1], hint)
    hint = "Win, tie and lose, one judge each: nobody has a majority."
    hint += " A tie is a judge's choice, not the middle of the others."
    expect_close(mine(np.array([[0, 1, 2], [2, 0, 1]])), [3, 3], hint)
    codes = [[0, 0, 2, 2], [1, 1, 0, 2], [2, 2, 2, 0]]
    hint = "Two of four are half of the judges: a majority is more than half."
    expect_close(mine(np.array(codes)), [3, 3, 2], hint)
    hint = "Of five judges three are needed: two are not enough, even if no category has more."
    expect_close(mine(np.array([[0, 0, 1, 1, 2], [2, 2, 2, 0, 1]])), [3, 2], hint)
