"""Checks of lesson 07: the Noam schedule, early stopping. Paper: Sec. 4.2."""

import math
from collections.abc import Callable

from ctsm_workbench.course.checks.frame import check, expect, expect_close


@check("7.1")
def noam(mine: Callable) -> None:
    """`mine(iteration, dim, warmup, factor=1.0) -> rate`; iterations count from 1."""
    first = mine(1, 64, 100)
    expect(first > 0, "The first iteration has a small rate above 0.")
    hint = "During warm-up the rate is a straight line: at iteration 10 it is ten times the first."
    expect_close(mine(10, 64, 100) / first, 10, hint)
    hint = "At i = w both terms are w^-0.5; with d = 64 and w = 100 the rate is 1/80."
    expect_close(mine(100, 64, 100), 1 / (8 * 10), hint)
    hint = "After warm-up the rate falls like one over the root of i."
    expect_close(mine(400, 64, 100), 1 / (8 * 20), hint)
    hint = "Four times the width gives half the rate: d^-0.5."
    expect_close(mine(400, 256, 100), 1 / (16 * 20), hint)
    expect_close(mine(400, 64, 100, 3.0), 3 / (8 * 20), "The factor multiplies the whole rate.")
    hint = "During warm-up the rate is i w^-1.5 d^-0.5."
    expect_close(mine(7, 300, 8_000), 7 / math.sqrt(300 * 8_000**3), hint)


@check("7.2")
def early_stopping(mine: Callable) -> None:
    """`mine(perplexities, patience) -> (checks made, index of the best)`."""
    first_bad = "With patience 1 the first bad check ends training: the 3 is never reached."
    not_best = "A check is bad if it is no better than the best so far, not than the one before."
    for perplexities, patience, expected, hint in (
        ([5, 4, 3], 2, (3, 2), "Always better: all checks are made, and the last is the best."),
        ([5, 4, 6, 3], 1, (3, 1), first_bad),
        (
            [5, 6, 4, 5, 3, 4, 4, 1],
            2,
            (7, 4),
            "A better check sets the count of bad ones back to 0.",
        ),
        ([5, 3, 6, 5, 4, 2], 3, (5, 1), not_best),
        ([3, 3, 3, 1], 2, (3, 0), "An equal perplexity is no better: it counts as bad."),
        ([1, 2, 3, 4], 0, (4, 0), "Patience 0 never stops."),
    ):
        made, best = (int(number) for number in mine(list(perplexities), patience))
        yours = f"Yours for {perplexities} and patience {patience}: {made} checks, best {best};"
        wanted = f"expected: {expected[0]}, {expected[1]}."
        expect((made, best) == expected, f"{hint} ({yours} {wanted})")
