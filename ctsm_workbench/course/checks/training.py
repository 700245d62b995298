"""Checks of lesson 07: the Noam schedule, early stopping. Paper: Sec. 4.2."""

from ctsm_workbench.course.checks.frame import Answer, Expect, check


@check("7.1")
def noam(mine: Answer, expect: Expect) -> None:
    """`mine(iteration, dim, warmup, factor=1.0) -> rate`; iterations count from 1."""
    first = mine(1, 64, 100)
    expect(first > 0, "positive")
    expect.close(mine(10, 64, 100) / first, 10, "straight")
    expect.close(mine(100, 64, 100), 1 / (8 * 10), "warm")
    expect.close(mine(400, 64, 100), 1 / (8 * 20), "after")
    expect.close(mine(400, 256, 100), 1 / (16 * 20), "width")
    expect.close(mine(400, 64, 100, 3.0), 3 / (8 * 20), "factor")
    expect.close(mine(7, 300, 8_000), 7 / (300 * 8_000**3) ** 0.5, "formula")


@check("7.2")
def early_stopping(mine: Answer, expect: Expect) -> None:
    """`mine(perplexities, patience) -> (checks made, index of the best)`."""
    for perplexities, patience, expected, hint in (
        ([5, 4, 3], 2, (3, 2), "better"),
        ([5, 4, 6, 3], 1, (3, 1), "first_bad"),
        ([5, 6, 4, 5, 3, 4, 4, 1], 2, (7, 4), "back_to_0"),
        ([5, 3, 6, 5, 4, 2], 3, (5, 1), "not_best"),
        ([3, 3, 3, 1], 2, (3, 0), "equal"),
        ([1, 2, 3, 4], 0, (4, 0), "never"),
    ):
        made, best = (int(number) for number in mine(list(perplexities), patience))
        note = f"Yours for {perplexities} and patience {patience}: {made} checks, best {best};"
        note += f" expected: {expected[0]}, {expected[1]}."
        expect((made, best) == expected, hint, note=note)
