"""Checks of lesson 03: position signal, masked softmax, gated fusion. Paper: Sec. 3.3."""

import math
from collections.abc import Callable

import torch

from ctsm_workbench.course.checks.frame import Expect, check, dot, softmax


@check("3.1")
def position_signal(mine: Callable, expect: Expect) -> None:
    """`mine(length, dim) -> [length, dim]`, the sinusoidal signal of the places 0 to length - 1."""
    length = 7
    dim = 6
    result = mine(length, dim)
    expect.shape(result, (length, dim), "shape")
    expect.close(result[0, 0], 0.0, "zero")
    expect.close(result[0], [0.0, 1.0] * 3, "turns")
    expect.close(result[:, 0], [math.sin(p) for p in range(length)], "angle")
    for column in (1, 3, 5):
        squares = result[:, column - 1] ** 2 + result[:, column] ** 2
        expect.close(squares, [1.0] * length, "shared")
    rates = [10_000 ** (-(column - column % 2) / dim) for column in range(dim)]
    wave = (math.sin, math.cos)
    expected = [[wave[c % 2](place * rates[c]) for c in range(dim)] for place in range(length)]
    expect.close(result, expected, "rate")


@check("3.2")
@torch.enable_grad()  # lessons may have switched it off
def masked_softmax(mine: Callable, expect: Expect) -> None:
    """`mine(scores [..., M], mask [..., M]) -> [..., M]`.

    A row without a True gives zeros and a finite gradient.
    """
    scores = torch.tensor([[1.0, 2.0, -1.0, 0.5], [0.3, 0.3, 9.0, 0.1], [2.0, 1.0, 0.0, 5.0]])

    def expected(mask: torch.Tensor) -> list[list[float]]:
        return list(map(softmax, scores.tolist(), mask.tolist()))

    mask = torch.ones(3, 4, dtype=torch.bool)
    result = mine(scores, mask)
    expect.shape(result, (3, 4), "shape")
    expect.close(result.sum(dim=-1), [1.0] * 3, "last_axis")
    expect.close(result, expected(mask), "unmasked")
    mask[0, 3] = mask[1, 2] = False
    mask[2, 1:] = False
    result = mine(scores, mask)
    expect(float(result[~mask].abs().max()) == 0, "masked")
    expect.close(result.sum(dim=-1), [1.0] * 3, "renormalise")
    expect.close(result, expected(mask), "formula")
    mask[1] = False
    result = mine(scores, mask)
    expect(torch.isfinite(result).all(), "empty_nan")
    expect(float(result[1].abs().max()) == 0, "empty_zero")
    expect.close(result[0], expected(mask)[0], "empty_alone")
    twice = mine(scores.unsqueeze(0).expand(2, 3, 4), mask.unsqueeze(0).expand(2, 3, 4))
    expect.close(twice[1], expected(mask), "axes")
    leaf = scores.clone().requires_grad_()
    result = mine(leaf, mask)
    expect(result.requires_grad, "gradient")
    (result * torch.tensor([1.0, -2.0, 3.0, 0.5])).sum().backward()
    expect(leaf.grad is not None and torch.isfinite(leaf.grad).all(), "gradient_nan")
    huge = mine(torch.tensor([[1000.0, 999.0]]), torch.tensor([[True, True]]))
    expect.close(huge, [softmax([1.0, 0.0])], "large")


@check("3.3")
def gated_fusion(mine: Callable, expect: Expect) -> None:
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
    expect.shape(result, (B, L, D), "shape")
    changed = mine(context, knowledge + 1, of_context, first, second)
    expect.close(changed, result, "join_order")
    gate = context.sigmoid()
    expect.differs(result, context, "no_gate", tolerance=1e-4)
    expect.differs(result, gate, "only_gate", tolerance=1e-4)
    expect.close(result, gate * context, "formula")
    for r in range(5):
        chosen = torch.zeros(3 * D, 5 * D)
        chosen[:D, r * D : (r + 1) * D] = one
        result = mine(context, knowledge.abs(), of_knowledge, chosen, second)
        expected = knowledge.abs()[:, r] * knowledge.abs()[:, r].sigmoid()
        expect.close(result[:, 0], result[:, 2], "each_token")
        expect.close(result[:, 1], expected, "block", r=r)
    result = mine(context, knowledge, of_context, -first, second)
    expect.close(result, torch.zeros(B, L, D), "relu")
    shapes = ((D, 2 * D), (3 * D, 5 * D), (D, 3 * D))
    weights = [torch.randn(*shape, generator=random) for shape in shapes]
    join, inner, outer = (weight.tolist() for weight in weights)

    def fuse(token: list[float], relations: list[list[float]]) -> list[float]:
        z = [dot(row, token + relation) for relation in relations for row in join]
        hidden = [dot(row, [value / (1 + math.exp(-value)) for value in z]) for row in inner]
        return [dot(row, [max(value, 0.0) for value in hidden]) for row in outer]

    fused = [
        [fuse(token, relations) for token in tokens]
        for tokens, relations in zip(context.tolist(), knowledge.tolist(), strict=True)
    ]
    expect.close(mine(context, knowledge, *weights), fused, "random")
