"""Checks of lesson 09: losses, widths of ablations, paired bootstrap. Paper: Sec. 5.1 and 5.3."""

import numpy as np
import torch

from ctsm_workbench.course.checks.frame import Answer, Expect, check


@check("9.1")
def joint_loss(mine: Answer, expect: Expect) -> None:
    """`mine(nll [B, T], mask [B, T], emotion [B], reduction) -> scalar`."""
    nll = torch.tensor([[2.0, 4.0, 6.0, 8.0], [1.0, 9.0, 9.0, 9.0]])
    mask = torch.tensor([[True] * 4, [True, False, False, False]])
    full = torch.ones_like(mask)
    emotion = torch.tensor([3.0, 1.0])
    none = torch.zeros(2)
    result = expect.shape(mine(nll, full, none, "sum"), (), "scalar")
    expect.close(result, 48.0, "sum")
    expect.close(mine(nll, full, none, "mean"), 6.0, "mean")
    expect.close(mine(nll, mask, none, "sum"), 21.0, "padding")
    words = mine(nll, mask, none, "mean")
    expect.differs(words, 21 / 8, "real_tokens")
    expect.differs(words, 3.0, "one_mean")
    expect.close(words, 21 / 5, "five")
    expect.close(mine(nll, mask, emotion, "mean"), 21 / 5 + 2, "emotion")
    expect.close(mine(nll, mask, emotion, "sum"), 21 + 2.0, "emotion_mean")


@check("9.2")
def widths(mine: Answer, expect: Expect) -> None:
    """`mine(dim, labels, compressed, trait, state)`: widths of the MLPs' input and [H_t ; H_s]."""
    expect(len(mine(300, 32, 10, True, True)) == 2, "two")
    vad = 3
    idf = 1
    for dim, labels, compressed, trait, state, hint in (
        (300, 32, 10, True, True, "paper"),
        (300, 32, 10, False, True, "without_trait"),
        (300, 32, 10, True, False, "without_state"),
        (300, 32, 10, False, False, "without_both"),
        (128, 8, 4, True, True, "arguments"),
    ):
        columns = (vad + idf + compressed) * trait + (labels + idf + compressed) * state
        expected = (dim + columns, columns)
        got = tuple(int(width) for width in mine(dim, labels, compressed, trait, state))
        expect(got == expected, hint, note=f"Yours: {got}, expected: {expected}.")


@check("9.3")
def paired_bootstrap(mine: Answer, expect: Expect) -> None:
    """`mine(right_a [n], right_b [n], dialogue [n], samples, seed) -> (low, high)` in points."""
    random = np.random.default_rng(5)
    size = random.integers(1, 6, 300)  # pairs of each dialogue
    dialogue = np.repeat(np.arange(300), size)
    # The pairs of a dialogue are right or wrong together, in nearly all dialogues.
    first = np.repeat(random.random(300) < 0.6, size) ^ (random.random(len(dialogue)) < 0.03)
    second = np.repeat(random.random(300) < 0.3, size) ^ (random.random(len(dialogue)) < 0.03)
    first = first.astype(float)
    second = second.astype(float)
    low, high = (float(value) for value in mine(first, first.copy(), dialogue, 400, 0))
    expect(low == high == 0, "same_items")
    low, high = (float(value) for value in mine(first, second, dialogue, 4_000, 1))
    expect(max(abs(low), abs(high)) > 1, "points")
    expect(low > 0, "sign")
    # A long dialogue weighs as much as all of its pairs: 90 %, not 50 %.
    uneven = np.repeat(np.arange(200), np.tile([9, 1], 100))
    long = (uneven % 2 == 0).astype(float)
    expect(float(mine(long, 0 * long, uneven, 1_000, 3)[0]) > 70, "ratio")
    difference: np.ndarray = first - second
    middle = 100 * difference.mean()
    # The standard error of a ratio of sums over dialogues, and that of independent pairs.
    apart = np.bincount(dialogue, difference - difference.mean())
    half = 1.96 * 100 * np.sqrt(np.square(apart).sum()) / len(dialogue)
    pairs = 1.96 * 100 * difference.std() / np.sqrt(len(difference))
    expect(abs((low + high) / 2 - middle) < 0.15 * half, "middle")
    expect(abs((high - low) / 2 - pairs) > 0.1 * pairs, "dialogues")
    expect(high - low > 1.5 * half, "narrow")
    expect.close((high - low) / 2, half, "width", tolerance=0.05)
    once, again = (tuple(map(float, mine(first, second, dialogue, 300, 7))) for _ in range(2))
    expect(once == again, "seed")
    # One of 40 dialogues decides: it may be absent, or be drawn several times.
    alone = np.zeros(40)
    alone[0] = 1
    low, high = (float(value) for value in mine(alone, alone * 0, np.arange(40), 4_000, 2))
    expect(low == 0, "skewed")
    expect.close(high, 7.5, "skewed", tolerance=0.01)
