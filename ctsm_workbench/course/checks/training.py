"""Checks of lesson 07: the Noam schedule, early stopping. Paper: Sec. 4.2."""

from __future__ import annotations

import math
from collections.abc import Callable

from ctsm_workbench.course.checks.frame import check, expect, expect_close


@check("7.1")
def noam(mine: Callable) -> None:
    """`mine(iteration, dim, warmup, factor=1.0) -> rate`; iterations count from 1."""
    first, tenth = (mine(iteration, 64, 100) for iteration in (1, 10))
    expect(first is not None, "Your function returns None: is a `return` missing?")
    expect(first > 0, "The first iteration has a small rate above 0.")
    expect_close(
        tenth / first,
        10,
        "During warm-up the rate is a straight line: ten times as far, ten times the rate.",
    )
    expect_close(
        mine(100, 64, 100),
        1 / (8 * 10),
        "At i = w both terms are w^-0.5; with d = 64 and w = 100 that is 1/80.",
    )
    expect_close(
        mine(400, 64, 100), 1 / (8 * 20), "After warm-up it falls like one over the root of i."
    )
    expect_close(mine(400, 256, 100), 1 / (16 * 20), "Four times the width, half the rate: d^-0.5.")
    expect_close(mine(400, 64, 100, 3.0), 3 / (8 * 20), "The factor multiplies everything.")
    expect_close(mine(7, 300, 8_000), 7 / math.sqrt(300 * 8_000**3), "Warm-up: i w^-1.5 d^-0.5.")


@check("7.2")
def early_stopping(mine: Callable) -> None:
    """`mine(perplexities, patience) -> (checks made, index of the best)`."""

    def expect_stop(
        perplexities: list[float], patience: int, expected: tuple[int, int], hint: str
    ) -> None:
        result = mine(list(perplexities), patience)
        expect(result is not None, "Your function returns None: is a `return` missing?")
        made, best = result
        expect(
            (int(made), int(best)) == expected,
            f"{hint} (Yours for {perplexities} and patience {patience}: {int(made)} checks, best {int(best)}; "
            f"expected: {expected[0]}, {expected[1]}.)",
        )

    expect_stop(
        [5, 4, 3], 2, (3, 2), "Always better: all checks are made, and the last one is the best."
    )
    expect_stop(
        [5, 4, 6, 3],
        1,
        (3, 1),
        "With patience 1 the first bad check ends training: nobody ever sees the 3.",
    )
    expect_stop(
        [5, 6, 4, 5, 3, 4, 4, 1],
        2,
        (7, 4),
        "A better check sets the counter of bad checks back to 0.",
    )
    expect_stop(
        [5, 3, 6, 5, 4, 2],
        3,
        (5, 1),
        "Bad is what is no better than the best so far, not than the check before.",
    )
    expect_stop([3, 3, 3, 1], 2, (3, 0), "An equal perplexity is no better: it counts as bad.")
    expect_stop([1, 2, 3, 4], 0, (4, 0), "Patience 0 never stops.")
