"""Checks of lesson 03: position signal, masked softmax, gated fusion. Paper: Sec. 3.3."""

import math
from collections.abc import Callable

import torch

from ctsm_workbench.course.checks.frame import (
    check,
    dot,
    expect,
    expect_close,
    expect_not,
    expect_shape,
    softmax,
)


@check("3.1")
def position_signal(mine: Callable) -> None:
    """`mine(length, dim) -> [length, dim]`, the sinusoidal signal of the places 0 to length - 1."""
    length = 7
    dim = 6
    result = mine(length, dim)
    expect_shape(result, (length, dim), "Return a row for each place.")
    expect_close(result[0, 0], 0.0, "Place 0 comes first, and sin(0) = 0.")
    hint = "Sines and cosines come in turn. At place 0, column 0 is sin(0) and column 1 is cos(0)."
    expect_close(result[0], [0.0, 1.0] * 3, hint)
    hint = "In the first pair of columns 2i is 0, so the angle is p."
    expect_close(result[:, 0], [math.sin(p) for p in range(length)], hint)
    hint = "A sine and the cosine beside it share one angle: both have 2i in the exponent."
    for column in (1, 3, 5):
        squares = result[:, column - 1] ** 2 + result[:, column] ** 2
        expect_close(squares, [1.0] * length, hint)
    rates = [10_000 ** (-(column - column % 2) / dim) for column in range(dim)]
    wave = (math.sin, math.cos)
    expected = [[wave[c % 2](place * rates[c]) for c in range(dim)] for place in range(length)]
    hint = "Later pairs of columns turn more slowly: the rate is 10000 to the power of -2i / dim."
    expect_close(result, expected, hint)


@check("3.2")
@torch.enable_grad()  # lessons may have switched it off
def masked_softmax(mine: Callable) -> None:
    """`mine(scores [..., M], mask [..., M]) -> [..., M]`.

    A row without a True gives zeros and a finite gradient.
    """
    scores = torch.tensor([[1.0, 2.0, -1.0, 0.5], [0.3, 0.3, 9.0, 0.1], [2.0, 1.0, 0.0, 5.0]])

    def expected(mask: torch.Tensor) -> list[list[float]]:
        return list(map(softmax, scores.tolist(), mask.tolist()))

    mask = torch.ones(3, 4, dtype=torch.bool)
    result = mine(scores, mask)
    expect_shape(result, (3, 4), "Return a weight for each score.")
    hint = "Each row should sum to 1: the softmax goes over the last axis."
    expect_close(result.sum(dim=-1), [1.0] * 3, hint)
    expect_close(result, expected(mask), "With nothing masked this is the usual softmax.")
    mask[0, 3] = mask[1, 2] = False
    mask[2, 1:] = False
    result = mine(scores, mask)
    hint = "Where the mask is False, the weight should be exactly 0."
    expect(float(result[~mask].abs().max()) == 0, hint)
    hint = "The weights that are left should sum to 1 again: mask the scores before the softmax."
    expect_close(result.sum(dim=-1), [1.0] * 3, hint)
    hint = "Compute exp(score) / sum of exp(score) over the places where the mask is True."
    expect_close(result, expected(mask), hint)
    mask[1] = False
    result = mine(scores, mask)
    hint = "A row without any True gives NaN: it is a softmax of nothing but -inf."
    expect(torch.isfinite(result).all(), hint)
    hint = "A row without any True must be zeros."
    hint += " With a large negative number in place of -inf, softmax spreads weight over PAD."
    expect(float(result[1].abs().max()) == 0, hint)
    expect_close(result[0], expected(mask)[0], "A row without any True must not change other rows.")
    hint = "It must work with any number of axes before the last: use dim=-1."
    twice = mine(scores.unsqueeze(0).expand(2, 3, 4), mask.unsqueeze(0).expand(2, 3, 4))
    expect_close(twice[1], expected(mask), hint)
    leaf = scores.clone().requires_grad_()
    result = mine(leaf, mask)
    hint = "Gradients must flow: use tensor operations only, no .item(), .tolist() or .detach()."
    expect(result.requires_grad, hint)
    (result * torch.tensor([1.0, -2.0, 3.0, 0.5])).sum().backward()
    hint = "The weights are right, but their gradient is NaN. Replacing NaN afterwards is too late."
    expect(leaf.grad is not None and torch.isfinite(leaf.grad).all(), hint)
    hint = "Large scores overflow exp(): use torch's softmax, or subtract the maximum of the row."
    huge = mine(torch.tensor([[1000.0, 999.0]]), torch.tensor([[True, True]]))
    expect_close(huge, [softmax([1.0, 0.0])], hint)


@check("3.3")
def gated_fusion(mine: Callable) -> None:
    """`mine(context, knowledge, join, first, second) -> [B, L, D]`.

    Shapes: context [B, L, D], knowledge [B, 5, D], join [D, 2D], first [3D, 5D], second [D, 3D].
    """
    random = torch.Generator().manual_seed(0)
    B = 2
    L = 3
    D = 2
    context = torch.rand(B, L, D, generator=random) + 0.5
    knowledge = torch.randn(B, 5, D, generator=random)
    one = torch.eye(D)
    none = torch.zeros(D, D)
    of_context = torch.cat([one, none], dim=1)
    of_knowledge = torch.cat([none, one], dim=1)
    # The first block of Z, and nothing else, goes straight to the result.
    first = torch.zeros(3 * D, 5 * D)
    first[:D, :D] = one
    second = torch.zeros(D, 3 * D)
    second[:, :D] = one
    result = mine(context, knowledge, of_context, first, second)
    expect_shape(result, (B, L, D), "The result is as wide as the context.")
    changed = mine(context, knowledge + 1, of_context, first, second)
    hint = "This `join` reads only the context, but your result depends on the knowledge."
    hint += " In [H_C ; K] the context comes first."
    expect_close(changed, result, hint)
    gate = context.sigmoid()
    hint = "There is no gate: multiply Z by its own sigmoid before W_1."
    expect_not(result, context, hint, 1e-4)
    expect_not(result, gate, "The gate alone is not the answer: sigmoid(Z) *times* Z.", 1e-4)
    expect_close(result, gate * context, "Compute sigmoid(Z) * Z, then W_1, relu, W_2.")
    for r in range(5):
        chosen = torch.zeros(3 * D, 5 * D)
        chosen[:D, r * D : (r + 1) * D] = one
        result = mine(context, knowledge.abs(), of_knowledge, chosen, second)
        expected = knowledge.abs()[:, r] * knowledge.abs()[:, r].sigmoid()
        hint = "K is the same at every token of its dialogue."
        expect_close(result[:, 0], result[:, 2], hint)
        hint = f"Block {r} of Z belongs to relation {r}, and each dialogue has a K of its own."
        expect_close(result[:, 1], expected, hint)
    result = mine(context, knowledge, of_context, -first, second)
    hint = "relu stands between W_1 and W_2: negative values after W_1 become 0."
    expect_close(result, torch.zeros(B, L, D), hint)
    shapes = ((D, 2 * D), (3 * D, 5 * D), (D, 3 * D))
    weights = [torch.randn(*shape, generator=random) for shape in shapes]
    fused = [
        [
            _slow_fusion(token, relations, *(weight.tolist() for weight in weights))
            for token in tokens
        ]
        for tokens, relations in zip(context.tolist(), knowledge.tolist(), strict=True)
    ]
    hint = "With random weights: W_2 relu(W_1 (sigmoid(Z) * Z)), without biases or other terms."
    expect_close(mine(context, knowledge, *weights), fused, hint)


def _slow_fusion(
    token: list[float],
    relations: list[list[float]],
    join: list[list[float]],
    first: list[list[float]],
    second: list[list[float]],
) -> list[float]:
    z = [dot(row, token + relation) for relation in relations for row in join]
    hidden = [dot(row, [value / (1 + math.exp(-value)) for value in z]) for row in first]
    return [dot(row, [max(value, 0.0) for value in hidden]) for row in second]
