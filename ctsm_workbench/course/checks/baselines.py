"""Checks of lesson 09: reduction of losses, widths of ablations, the paired bootstrap.

Paper: Sec. 5.1 and 5.3.
"""

from collections.abc import Callable

import numpy as np
import torch

from ctsm_workbench.course.checks.frame import check, expect, expect_close, expect_not, expect_shape


@check("9.1")
def joint_loss(mine: Callable) -> None:
    """`mine(nll [B, T], mask [B, T], emotion [B], reduction) -> scalar`."""
    nll = torch.tensor([[2.0, 4.0, 6.0, 8.0], [1.0, 9.0, 9.0, 9.0]])
    mask = torch.tensor([[True] * 4, [True, False, False, False]])
    full = torch.ones_like(mask)
    emotion = torch.tensor([3.0, 1.0])
    none = torch.zeros(2)
    result = mine(nll, full, none, "sum")
    expect_shape(result, (), "Return one number.")
    expect_close(result, 48.0, 'Without padding and emotion, "sum" adds up all word losses.')
    hint = 'Without padding, "mean" divides the sum over all tokens by their number.'
    expect_close(mine(nll, full, none, "mean"), 6.0, hint)
    hint = "Do not sum the losses at padding: use the mask."
    expect_close(mine(nll, mask, none, "sum"), 21.0, hint)
    words = mine(nll, mask, none, "mean")
    expect_not(words, 21 / 8, "Divide by the number of real tokens, not by B times T.")
    hint = "Take one mean over all tokens of the batch, not the mean of the answers' means."
    expect_not(words, 3.0, hint)
    expect_close(words, 21 / 5, "Take the mean over the five real tokens.")
    hint = "Add the mean of the emotion losses over the dialogues."
    expect_close(mine(nll, mask, emotion, "mean"), 21 / 5 + 2, hint)
    hint = "The loss of the emotion stays a mean when the word losses are summed."
    expect_close(mine(nll, mask, emotion, "sum"), 21 + 2.0, hint)


@check("9.2")
def widths(mine: Callable) -> None:
    """`mine(dim, labels, compressed, trait, state) -> (inputs, emotions)`.

    The width that teacher and student read, and the width of [H_t ; H_s].
    """
    hint = "Return two numbers: the width that teacher and student read, and that of [H_t ; H_s]."
    expect(len(mine(300, 32, 10, True, True)) == 2, hint)
    without_trait = "w/o TEE drops V_t, all 14 columns. V_s keeps its IDF and compressed context."
    vad = 3
    idf = 1
    for dim, labels, compressed, trait, state, hint in (
        (300, 32, 10, True, True, "The paper's model has 300 + 14 + 43 columns."),
        (300, 32, 10, False, True, without_trait),
        (300, 32, 10, True, False, "w/o SEE drops V_s, all 43 columns."),
        (300, 32, 10, False, False, "Without both, only the context is left."),
        (
            128,
            8,
            4,
            True,
            True,
            "Use the arguments: here dim is 128, with 8 labels and 4 compressed.",
        ),
    ):
        columns = (vad + idf + compressed) * trait + (labels + idf + compressed) * state
        expected = (dim + columns, columns)
        got = tuple(int(width) for width in mine(dim, labels, compressed, trait, state))
        expect(got == expected, f"{hint} (Yours: {got}, expected: {expected}.)")


@check("9.3")
def paired_bootstrap(mine: Callable) -> None:
    """`mine(right_a [n], right_b [n], samples, seed) -> (low, high)` in points, a minus b."""
    random = np.random.default_rng(5)
    first = (random.random(400) < 0.6).astype(float)
    low, high = (float(value) for value in mine(first, first.copy(), 400, 0))
    hint = "A system minus itself is 0 in every draw: draw items once, and use the same for both."
    expect(low == high == 0, hint)
    # 100 items fewer right for the second system, and 20 more elsewhere.
    second = first.copy()
    second[np.flatnonzero(first == 1)[:100]] = 0
    second[np.flatnonzero(first == 0)[:20]] = 1
    low, high = (float(value) for value in mine(first, second, 4_000, 1))
    expect(max(abs(low), abs(high)) > 1, "Give the interval in percentage points: multiply by 100.")
    hint = "Compute a minus b: the first system is better here, so the interval is above 0."
    expect(low > 0, hint)
    difference = first - second
    middle = 100 * difference.mean()
    half = 1.96 * 100 * difference.std() / np.sqrt(len(difference))
    hint = "The interval should lie around the observed difference."
    expect(abs((low + high) / 2 - middle) < 0.15 * half, hint)
    rule = "draw n items with replacement each time, then take the 2.5 % and 97.5 % quantiles."
    expect(high - low > 1.5 * half, f"The interval is too narrow: {rule}")
    expect_close((high - low) / 2, half, f"Half the width is 1.96 standard errors: {rule}", 0.05)
    once, again = (tuple(map(float, mine(first, second, 300, 7))) for _ in range(2))
    expect(once == again, "The same seed should give the same interval.")
