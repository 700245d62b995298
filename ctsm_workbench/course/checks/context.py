"""Checks of lesson 03: position signal, masked softmax, gated fusion. Paper: Sec. 3.3."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ctsm_workbench.course.checks.frame import check, expect, expect_close, expect_shape


@check("3.1")
def position_signal(mine: Callable) -> None:
    """`mine(length, dim) -> [length, dim]`, the sinusoidal signal of the places 0 to length - 1."""
    length, dim = 7, 6
    result = mine(length, dim)
    expect_shape(result, (length, dim), "A row for each place.")
    expect_close(result[0, 0], 0.0, "Place 0 comes first, and sin(0) = 0.")
    expect_close(
        result[0],
        [0.0, 1.0] * 3,
        "At place 0 sines are 0 and cosines 1, in turn: column 0 a sine, column 1 a cosine.",
    )
    expect_close(
        result[:, 0],
        [math.sin(p) for p in range(length)],
        "The first pair has 2i = 0, so its angle is p.",
    )
    for column in (1, 3, 5):
        squares = result[:, column - 1] ** 2 + result[:, column] ** 2
        expect_close(
            squares,
            [1.0] * length,
            "A sine and the cosine beside it share one angle: both have 2i in the exponent.",
        )
    expected = [
        [
            (math.sin if column % 2 == 0 else math.cos)(
                place * 10_000 ** (-(column - column % 2) / dim)
            )
            for column in range(dim)
        ]
        for place in range(length)
    ]
    expect_close(
        result,
        expected,
        "Later pairs turn more slowly: the rate is 10000 to the power of -2i / dim.",
    )


@check("3.2")
def masked_softmax(mine: Callable) -> None:
    """`mine(scores [..., M], mask [..., M]) -> [..., M]`; a row without a True gives zeros and a finite gradient."""
    with torch.enable_grad():  # lessons may have switched it off
        _masked_softmax(mine)


def _masked_softmax(mine: Callable) -> None:
    scores = torch.tensor([[1.0, 2.0, -1.0, 0.5], [0.3, 0.3, 9.0, 0.1], [2.0, 1.0, 0.0, 5.0]])
    everything = torch.ones(3, 4, dtype=torch.bool)
    expected = _slow_softmax(scores, everything)
    result = mine(scores, everything)
    expect_shape(result, (3, 4), "A weight for each score.")
    expect_close(
        result.sum(dim=-1), [1.0] * 3, "Each row sums to 1: softmax goes over the last axis."
    )
    expect_close(result, expected, "With nothing masked this is the usual softmax.")
    mask = torch.tensor(
        [[True, True, True, False], [True, True, False, True], [True, False, False, False]]
    )
    result = mine(scores, mask)
    expect(
        float(result[~mask].abs().max()) == 0, "Where the mask is False, the weight is exactly 0."
    )
    expect_close(
        result.sum(dim=-1),
        [1.0] * 3,
        "The weights that are left must sum to 1 again: mask the scores, before the softmax.",
    )
    expect_close(
        result,
        _slow_softmax(scores, mask),
        "exp(score) / sum of exp(score), over the places that are True.",
    )
    mask[1] = False
    result = mine(scores, mask)
    expect(
        bool(torch.isfinite(result).all()),
        "A row without any True gives NaN: softmax of nothing but -inf.",
    )
    expect(
        float(result[1].abs().max()) == 0,
        "A row without any True must be zeros; a large negative number instead of -inf spreads weight over PAD.",
    )
    expect_close(
        result[0], _slow_softmax(scores, mask)[0], "An empty row must not change its neighbours."
    )
    expect_close(
        mine(scores.unsqueeze(0).expand(2, 3, 4), mask.unsqueeze(0).expand(2, 3, 4))[1],
        _slow_softmax(scores, mask),
        "It must work with any number of axes before the last: use dim=-1.",
    )
    leaf = scores.clone().requires_grad_()
    result = mine(leaf, mask)
    expect(
        result.requires_grad,
        "Gradients must flow: stay with tensors, no .item(), .tolist() or .detach().",
    )
    (result * torch.tensor([1.0, -2.0, 3.0, 0.5])).sum().backward()
    expect(
        leaf.grad is not None and bool(torch.isfinite(leaf.grad).all()),
        "The weights are right, but their gradient is NaN: the NaN must not arise, wiping it away is too late.",
    )
    huge = mine(torch.tensor([[1000.0, 999.0]]), torch.tensor([[True, True]]))
    expect_close(
        huge,
        [[1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))]],
        "Large scores overflow exp(): use torch's softmax, or subtract the row's maximum.",
    )


def _slow_softmax(scores: torch.Tensor, mask: torch.Tensor) -> list[list[float]]:
    rows = []
    for row, allowed in zip(scores.tolist(), mask.tolist(), strict=True):
        powers = [math.exp(score) if ok else 0.0 for score, ok in zip(row, allowed, strict=True)]
        rows.append([power / (sum(powers) or 1.0) for power in powers])
    return rows


@check("3.3")
def gated_fusion(mine: Callable) -> None:
    """`mine(context [B, L, D], knowledge [B, 5, D], join [D, 2D], first [3D, 5D], second [D, 3D]) -> [B, L, D]`."""
    random = torch.Generator().manual_seed(0)
    B, L, D = 2, 3, 2
    context = torch.rand(B, L, D, generator=random) + 0.5
    knowledge = torch.randn(B, 5, D, generator=random)
    one, none = torch.eye(D), torch.zeros(D, D)
    # First block of Z, and nothing else, goes straight to the result.
    first, second = torch.zeros(3 * D, 5 * D), torch.zeros(D, 3 * D)
    first[:D, :D], second[:, :D] = one, one
    of_context, of_knowledge = torch.cat([one, none], dim=1), torch.cat([none, one], dim=1)
    result = mine(context, knowledge, of_context, first, second)
    expect_shape(result, (B, L, D), "As wide as the context.")
    expect_close(
        mine(context, knowledge + 1, of_context, first, second),
        result,
        "This `join` reads the context only, but your result changes with knowledge: [H_C ; K], the context comes first.",
    )
    gate = context.sigmoid()
    expect(
        not torch.allclose(result, context, atol=1e-4),
        "There is no gate: Z is multiplied by its own sigmoid before W_1.",
    )
    expect(
        not torch.allclose(result, gate, atol=1e-4),
        "The gate alone is not the answer: sigmoid(Z) *times* Z.",
    )
    expect_close(result, gate * context, "sigmoid(Z) * Z, then W_1, relu, W_2.")
    for r in range(5):
        chosen = torch.zeros(3 * D, 5 * D)
        chosen[:D, r * D : (r + 1) * D] = one
        result = mine(context, knowledge.abs(), of_knowledge, chosen, second)
        expected = knowledge.abs()[:, r] * knowledge.abs()[:, r].sigmoid()
        expect_close(result[:, 0], result[:, 2], "K is the same at every token of its dialogue.")
        expect_close(
            result[:, 1],
            expected,
            f"Block {r} of Z belongs to relation {r}, and each dialogue has a K of its own.",
        )
    result = mine(context, knowledge, of_context, -first, second)
    expect_close(
        result,
        torch.zeros(B, L, D),
        "relu stands between W_1 and W_2: what W_1 makes negative becomes 0.",
    )
    join, first = (
        torch.randn(D, 2 * D, generator=random),
        torch.randn(3 * D, 5 * D, generator=random),
    )
    second = torch.randn(D, 3 * D, generator=random)
    expect_close(
        mine(context, knowledge, join, first, second),
        _slow_fusion(context, knowledge, join, first, second),
        "With random weights: W_2 relu(W_1 (sigmoid(Z) * Z)), no biases, nothing added.",
    )


def _slow_fusion(
    context: torch.Tensor,
    knowledge: torch.Tensor,
    join: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
) -> list[list[list[float]]]:
    def apply(matrix: torch.Tensor, vector: list[float]) -> list[float]:
        return [sum(w * x for w, x in zip(row, vector, strict=True)) for row in matrix.tolist()]

    result = []
    for tokens, relations in zip(context.tolist(), knowledge.tolist(), strict=True):
        states = []
        for token in tokens:
            z = [value for relation in relations for value in apply(join, token + relation)]
            hidden = apply(first, [value / (1 + math.exp(-value)) for value in z])
            states.append(apply(second, [max(value, 0.0) for value in hidden]))
        result.append(states)
    return result
