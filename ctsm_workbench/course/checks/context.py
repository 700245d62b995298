"""Checks of lesson 03: position signal, masked softmax, gated fusion. Paper: Sec. 3.3."""

import numpy as np
import torch

from ctsm_workbench.course.checks.frame import Answer, Expect, check, normal, softmax


@check("3.1")
def position_signal(mine: Answer, expect: Expect) -> None:
    """`mine(length, dim) -> [length, dim]`, the sinusoidal signal of the places 0 to length - 1."""
    places = np.arange(7.0)
    columns = np.arange(6)
    result = expect.shape(mine(7, 6), (7, 6))
    expect.close(result[0, 0], 0.0, "zero")
    expect.close(result[0], [0.0, 1.0] * 3, "turns")
    expect.close(result[:, 0], np.sin(places), "angle")
    for column in (1, 3, 5):
        squares = result[:, column - 1] ** 2 + result[:, column] ** 2
        expect.close(squares, np.ones(7), "shared")
    angles = np.outer(places, 10_000.0 ** (-2 * (columns // 2) / 6))
    expect.close(result, np.where(columns % 2, np.cos(angles), np.sin(angles)), "rate")


@check("3.2")
@torch.enable_grad()  # lessons may have switched it off
def masked_softmax(mine: Answer, expect: Expect) -> None:
    """`mine(scores [..., M], mask [..., M]) -> [..., M]`.

    A row without a True gives zeros and a finite gradient.
    """
    scores = torch.tensor([[1.0, 2.0, -1.0, 0.5], [0.3, 0.3, 9.0, 0.1], [2.0, 1.0, 0.0, 5.0]])
    mask = torch.ones(3, 4, dtype=torch.bool)
    result = expect.shape(mine(scores, mask), (3, 4))
    expect.close(result.sum(dim=-1), [1.0] * 3, "last_axis")
    expect.close(result, softmax(scores), "unmasked")
    mask[0, 3] = mask[1, 2] = False
    mask[2, 1:] = False
    result = mine(scores, mask)
    expect(float(result[~mask].abs().max()) == 0, "masked")
    expect.close(result.sum(dim=-1), [1.0] * 3, "renormalise")
    expect.close(result, softmax(scores, mask), "formula")
    mask[1] = False
    expected = softmax(scores, mask)
    result = mine(scores, mask)
    expect(torch.isfinite(result).all(), "empty_nan")
    expect(float(result[1].abs().max()) == 0, "empty_zero")
    expect.close(result[0], expected[0], "empty_alone")
    twice = mine(scores.expand(2, 3, 4), mask.expand(2, 3, 4))
    expect.close(twice[1], expected, "axes")
    leaf = scores.clone().requires_grad_()
    result = mine(leaf, mask)
    expect(result.requires_grad, "gradient")
    (result * torch.tensor([1.0, -2.0, 3.0, 0.5])).sum().backward()
    expect(leaf.grad is not None and torch.isfinite(leaf.grad).all(), "gradient_nan")
    huge = mine(torch.tensor([[1000.0, 999.0]]), torch.tensor([[True, True]]))
    expect.close(huge, softmax([[1.0, 0.0]]), "large")


@check("3.3")
def gated_fusion(mine: Answer, expect: Expect) -> None:
    """`mine(context, knowledge, join, first, second) -> [B, L, D]`.

    Shapes: context [B, L, D], knowledge [B, 5, D], join [D, 2D], first [3D, 5D], second [D, 3D].
    """
    D = 2
    shapes = ((2, 3, D), (2, 5, D), (D, 2 * D), (3 * D, 5 * D), (D, 3 * D))
    context, knowledge, *weights = normal(*shapes)
    context = context.abs() + 0.5
    one = torch.eye(D)
    none = torch.zeros(D, D)
    of_context = torch.cat([one, none], dim=1)
    of_knowledge = torch.cat([none, one], dim=1)
    # The first block of Z, and nothing else, goes straight to the result.
    first = torch.zeros(3 * D, 5 * D)
    first[:D, :D] = one
    second = torch.zeros(D, 3 * D)
    second[:, :D] = one
    result = expect.shape(mine(context, knowledge, of_context, first, second), (2, 3, D))
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
    expect.close(result, torch.zeros(2, 3, D), "relu")
    # Each half of W_join meets its own input, and the products are added.
    join, inner, outer = weights
    joined = (context @ join[:, :D].T)[:, :, None] + (knowledge @ join[:, D:].T)[:, None]
    z = joined.flatten(start_dim=2)
    fused = (z * z.sigmoid() @ inner.T).relu() @ outer.T
    expect.close(mine(context, knowledge, *weights), fused, "random")
