"""Checks of lesson 11: Fleiss' kappa, verdicts by majority. Paper: Sec. 4.3.2."""

import itertools

import numpy as np

from ctsm_workbench.course.checks.frame import Answer, Expect, check


def _agreement(counts: np.ndarray) -> tuple[float, float]:
    """Share of pairs of judgements that agree: within items, and among all (with replacement)."""
    rows = [[k for k, judges in enumerate(row) for _ in range(judges)] for row in counts.tolist()]
    within = [one == other for row in rows for one, other in itertools.combinations(row, 2)]
    everything = [choice for row in rows for choice in row]
    anywhere = [one == other for one, other in itertools.product(everything, repeat=2)]
    return sum(within) / len(within), sum(anywhere) / len(anywhere)


@check("11.1")
def fleiss_kappa(mine: Answer, expect: Expect) -> None:
    """`mine(counts [N, K]) -> kappa`; a row has the number of judges for each category."""
    result = expect.shape(
        mine(np.array([[3, 0, 0], [0, 3, 0], [3, 0, 0], [0, 0, 3]])), (), "scalar"
    )
    expect.close(result, 1.0, "perfect")
    uneven = np.array([[3, 0, 0], [0, 3, 0], [2, 1, 0], [1, 1, 1]])
    observed, chance = _agreement(uneven)
    result = mine(uneven)
    expect.differs(result, observed, "chance_part")
    expect.close(mine(np.array([[1, 1], [1, 1], [1, 1]])), -1.0, "pairs")
    expect.close(result, (observed - chance) / (1 - chance), "shares")
    counts = np.random.default_rng(4).multinomial(5, [0.5, 0.3, 0.15, 0.05], size=12)
    observed, chance = _agreement(counts)
    expect.close(mine(counts), (observed - chance) / (1 - chance), "read")


@check("11.2")
def majority(mine: Answer, expect: Expect) -> None:
    """`mine(codes [N, J]) -> verdicts [N]`, 0 win, 1 tie, 2 lose, 3 none."""
    result = expect.shape(mine(np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 0, 0]])), (4,))
    expect.close(result, [0, 1, 2, 0], "unanimous")
    codes = [[0, 2, 0], [2, 0, 2], [1, 2, 1], [0, 1, 1]]
    expect.close(mine(np.array(codes)), [0, 2, 1, 1], "two_of_three")
    expect.close(mine(np.array([[0, 1, 2], [2, 0, 1]])), [3, 3], "none")
    codes = [[0, 0, 2, 2], [1, 1, 0, 2], [2, 2, 2, 0]]
    expect.close(mine(np.array(codes)), [3, 3, 2], "half")
    expect.close(mine(np.array([[0, 0, 1, 1, 2], [2, 2, 2, 0, 1]])), [3, 2], "two_of_five")
