"""Checks of lesson 04: state inclination, state embedding, how far words are bent. Paper: Sec. 3.4.2."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from ctsm_workbench.course.checks.frame import check, expect, expect_close, expect_shape


@check("4.1")
def state_inclination(mine: Callable) -> None:
    """`mine(tokens [B, L, D], emotions [K, D], mask [B, L]) -> V_cos [B, L, K]`; PAD rows are zero."""
    random = torch.Generator().manual_seed(0)
    tokens, emotions = torch.randn(2, 4, 5, generator=random), torch.randn(3, 5, generator=random)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = mine(tokens, emotions, mask)
    expect_shape(result, (2, 4, 3), "For each token a number for each emotion.")
    turned = mine(tokens * 10, emotions, mask)
    expect_close(
        turned[0],
        result[0],
        "Ten times longer tokens must lean the same way: divide by the length of the token.",
    )
    turned = mine(tokens, emotions * 10, mask)
    expect_close(
        turned[0],
        result[0],
        "Ten times longer emotion words must change nothing: divide by their length, too.",
    )
    changed = tokens.clone()
    changed[0, 1:] += 1.0
    expect_close(
        mine(changed, emotions, mask)[0, 0],
        result[0, 0],
        "A token's inclination depends on that token alone: its length is taken over the last axis.",
    )
    expect_close(
        mine(emotions.unsqueeze(0), emotions, mask[:1, :3])[0].diagonal(),
        [1.0] * 3,
        "A vector with itself: 1.",
    )
    expect_close(
        mine(-emotions.unsqueeze(0), emotions, mask[:1, :3])[0].diagonal(),
        [-1.0] * 3,
        "The opposite has -1.",
    )
    expected = [
        [_cosine(token, emotion) for emotion in emotions.tolist()] for token in tokens[0].tolist()
    ]
    expect_close(result[0], expected, "a . b / (|a| |b|).")
    expect(
        float(result[1, 2:].abs().max()) == 0, "PAD rows are zero: what stands there leans nowhere."
    )
    tokens[0, 2] = 0
    result = mine(tokens, emotions, mask)
    expect(
        bool(torch.isfinite(result).all()) and float(result[0, 2].abs().max()) == 0,
        "A token of nothing but zeros has no direction: 0, not NaN. Keep the divisor from becoming 0.",
    )


def _cosine(first: Sequence[float], second: Sequence[float]) -> float:
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return product / math.sqrt(sum(a * a for a in first) * sum(b * b for b in second))


@check("4.2")
def state_embedding(mine: Callable) -> None:
    """`mine(embedded [B, L, D], labels [32, D], w1, b1, w2, b2, idf [B, L], meaning [B, L, 10], mask) -> [B, L, 43]`."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    embedded, labels, meaning, idf = (
        normal(2, 3, 4),
        normal(32, 4),
        normal(2, 3, 10),
        torch.rand(2, 3),
    )
    w1, b1, w2, b2 = normal(4, 4), normal(4), normal(4, 4), normal(4)
    mask = torch.tensor([[True] * 3, [True, True, False]])
    result = mine(embedded, labels, w1, b1, w2, b2, idf, meaning, mask)
    expect_shape(result, (2, 3, 43), "32 inclinations, 1 IDF, 10 of the compressed context.")
    expect_close(result[0, :, 33:], meaning[0], "The last ten columns are the compressed context.")
    expect_close(result[0, :, 32], idf[0], "Column 32 is the IDF, after the inclinations.")
    expect(float(result[1, 2].abs().max()) == 0, "PAD rows are zero, in all 43 columns.")
    # Both maps the identity, no bias: plain cosines of tokens and labels.
    one, none = torch.eye(4), torch.zeros(4)
    plain = mine(embedded, labels, one, none, one, none, idf, meaning, mask)
    expected = [
        [_cosine(token, label) for label in labels.tolist()] for token in embedded[0].tolist()
    ]
    expect_close(
        plain[0, :, :32],
        expected,
        "With maps that change nothing: the cosine of token and label (Eq. 7).",
    )
    # One map turns the first two coordinates, the other does nothing.
    turn = torch.tensor([[0.0, -1.0, 0, 0], [1.0, 0.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])
    turned = mine(embedded, labels, turn, none, one, none, idf, meaning, mask)
    moved = [[-label[1], label[0], label[2], label[3]] for label in labels.tolist()]
    expected = [[_cosine(token, label) for label in moved] for token in embedded[0].tolist()]
    expect_close(
        turned[0, :, :32],
        expected,
        "W_1 maps the labels (Eq. 5), W_2 the tokens (Eq. 6), and PyTorch keeps weights as [out, in]: x @ W.T.",
    )
    shifted = mine(embedded, labels, one, none, one, b2, idf, meaning, mask)
    expected = [
        [
            _cosine([t + b for t, b in zip(token, b2.tolist(), strict=True)], label)
            for label in labels.tolist()
        ]
        for token in embedded[0].tolist()
    ]
    expect_close(
        shifted[0, :, :32], expected, "The bias b_2 is added to the tokens, before the cosine."
    )
    shifted = mine(embedded, labels, one, b1, one, none, idf, meaning, mask)
    expected = [
        [
            _cosine(token, [x + b for x, b in zip(label, b1.tolist(), strict=True)])
            for label in labels.tolist()
        ]
        for token in embedded[0].tolist()
    ]
    expect_close(
        shifted[0, :, :32], expected, "The bias b_1 is added to the labels, before the cosine."
    )


@check("4.3")
def bend(mine: Callable) -> None:
    """`mine(states [N, W], words [N], size) -> [size]`, mean cosine distance between two occurrences of each word."""
    states = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 2.0], [3.0, 0.0], [2.0, 1.0]])
    words = torch.tensor([0, 0, 2, 3, 3, 3])
    result = mine(states, words, 5)
    expect_shape(result, (5,), "One number for each word of the vocabulary, seen or not.")
    expect(
        bool(torch.isfinite(result).all()),
        "Words that occur less than twice have no pair: 0, not NaN.",
    )
    expect_close(
        result[0],
        1.0,
        "Two occurrences at right angles: the one pair has the distance 1. Is a pair of an occurrence with itself counted?",
    )
    expect(float(result[1]) == 0 and float(result[4]) == 0, "A word that does not occur has 0.")
    expect(abs(float(result[2])) < 1e-6, "A word that occurs once has no pair: 0.")
    expect_close(
        mine(states * torch.tensor([[1.0], [5.0], [1.0], [7.0], [1.0], [2.0]]), words, 5),
        result,
        "Distances are between directions: bring every state to length 1 first.",
    )
    expect_close(
        result[3],
        _slow_bend(states[3:].tolist()),
        "Three occurrences: the mean over their three pairs.",
    )
    random = torch.Generator().manual_seed(1)
    states, words = (
        torch.randn(40, 6, generator=random),
        torch.randint(0, 7, (40,), generator=random),
    )
    expected = [_slow_bend(states[words == word].tolist()) for word in range(7)]
    expect_close(mine(states, words, 7), expected, "Words in any order, many at once.")


def _slow_bend(rows: Sequence[Sequence[float]]) -> float:
    pairs = [1 - _cosine(rows[i], rows[j]) for i in range(len(rows)) for j in range(i)]
    return sum(pairs) / len(pairs) if pairs else 0.0
