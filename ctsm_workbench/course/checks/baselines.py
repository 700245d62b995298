"""Checks of lesson 09: the scale of losses, widths of ablations, the paired bootstrap. Paper: Sec. 5.1 and 5.3."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ctsm_workbench.course.checks.frame import check, expect, expect_close, expect_shape


@check("9.1")
def joint_loss(mine: Callable) -> None:
    """`mine(nll [B, T], mask [B, T], emotion [B], reduction) -> scalar`."""
    nll = torch.tensor([[2.0, 4.0, 6.0, 8.0], [1.0, 9.0, 9.0, 9.0]])
    mask = torch.tensor([[True] * 4, [True, False, False, False]])
    emotion, none = torch.tensor([3.0, 1.0]), torch.zeros(2)
    full = torch.ones_like(mask)
    result = mine(nll, full, none, "sum")
    expect_shape(result, (), "One number.")
    expect_close(result, 48.0, "Sum without padding and without emotion: simply all word losses.")
    expect_close(
        mine(nll, full, none, "mean"),
        6.0,
        "Mean without padding: the sum over all tokens divided by their number.",
    )
    expect_close(
        mine(nll, mask, none, "sum"),
        21.0,
        "What stands at padding must not be summed: use the mask.",
    )
    words = mine(nll, mask, none, "mean")
    expect(
        abs(float(words) - 21 / 8) > 1e-6, "Divide by the number of real tokens, not by B times T."
    )
    expect(
        abs(float(words) - 3.0) > 1e-6,
        "One mean over all tokens of the batch, not the mean of the answers' means.",
    )
    expect_close(words, 21 / 5, "Mean over the five real tokens.")
    expect_close(
        mine(nll, mask, emotion, "mean"),
        21 / 5 + 2,
        "The emotion is added as a mean over dialogues.",
    )
    expect_close(
        mine(nll, mask, emotion, "sum"),
        21 + 2.0,
        "The emotion stays a mean when the words are summed.",
    )


@check("9.2")
def widths(mine: Callable) -> None:
    """`mine(dim, labels, compressed, trait, state) -> (width of the predictors' input, width of [H_t ; H_s])`."""
    result = mine(300, 32, 10, True, True)
    expect(result is not None, "Your function returns None: is a `return` missing?")
    expect(len(result) == 2, "Two numbers: what teacher and student read, and [H_t ; H_s].")
    vad, idf = 3, 1
    cases = (
        (300, 32, 10, True, True, "The paper's model: 300 + 14 + 43."),
        (
            300,
            32,
            10,
            False,
            True,
            "w/o TEE drops V_t, all 14 of it; IDF and compressed context stay in V_s.",
        ),
        (300, 32, 10, True, False, "w/o SEE drops V_s, all 43 of it."),
        (300, 32, 10, False, False, "Without both only the context is left."),
        (128, 8, 4, True, True, "Use the arguments: another width, 8 labels, 4 compressed."),
    )
    for dim, labels, compressed, trait, state, hint in cases:
        columns = ([vad, idf, compressed] if trait else []) + (
            [labels, idf, compressed] if state else []
        )
        expected = (dim + sum(columns), sum(columns))
        got = tuple(int(width) for width in mine(dim, labels, compressed, trait, state))
        expect(got == expected, f"{hint} (Yours: {got}, expected: {expected}.)")


@check("9.3")
def paired_bootstrap(mine: Callable) -> None:
    """`mine(right_a [n], right_b [n], samples, seed) -> (low, high)` in points, a minus b."""
    random = np.random.default_rng(5)
    first = (random.random(400) < 0.6).astype(float)
    result = mine(first, first.copy(), 400, 0)
    expect(result is not None, "Your function returns None: is a `return` missing?")
    low, high = (float(value) for value in result)
    expect(
        low == high == 0,
        "A system against itself differs by 0 in every draw: draw the items once, and use the same for both.",
    )
    # 100 items fewer right for the second system, and 20 more elsewhere.
    second = first.copy()
    second[np.flatnonzero(first == 1)[:100]] = 0
    second[np.flatnonzero(first == 0)[:20]] = 1
    low, high = (float(value) for value in mine(first, second, 4_000, 1))
    expect(max(abs(low), abs(high)) > 1, "In points: times 100.")
    expect(
        low > 0,
        "It is a minus b: the first system is the better one here, so the interval is above 0.",
    )
    difference = first - second
    middle, half = 100 * difference.mean(), 1.96 * 100 * difference.std() / np.sqrt(len(difference))
    expect(
        abs((low + high) / 2 - middle) < 0.15 * half,
        "The interval lies around the observed difference.",
    )
    expect(
        high - low > 1.5 * half,
        "Too narrow: each draw takes as many items as there are, with replacement; then the 2.5 % and 97.5 % quantiles.",
    )
    expect_close(
        (high - low) / 2,
        half,
        "Half its width is 1.96 standard errors: quantiles 2.5 % and 97.5 %, n items a draw.",
        0.05,
    )
    expect(
        tuple(map(float, mine(first, second, 300, 7)))
        == tuple(map(float, mine(first, second, 300, 7))),
        "The same seed gives the same interval.",
    )
