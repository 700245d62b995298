"""Checks of lesson 05: intensity weights, attention pooling, soft labels. Paper: Sec. 3.5."""

import math
from collections.abc import Callable

import torch

from ctsm_workbench.course.checks.frame import Expect, check, dot, softmax


@check("5.1")
def intensity_weights(mine: Callable, expect: Expect) -> None:
    """`mine(intensity [B, L], mask [B, L]) -> [B, L]`.

    `n softmax(I)` over the n real tokens of each dialogue.
    """
    intensity = torch.tensor([[0.0, 0.9, 0.3, 0.5], [0.8, 0.2, 0.0, 0.0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = mine(intensity, mask)
    expect.shape(result, (2, 4), "shape")
    first = softmax(intensity[0].tolist())
    expect.close(result[0] / result[0].sum(), first, "shares")
    expect.close(result[0], [4 * share for share in first], "factor")
    expect(float(result[1, 2:].abs().max()) == 0, "pad")
    second = [2 * share for share in softmax(intensity[1, :2].tolist())]
    expect.close(result[1, :2], second, "real_tokens")


@check("5.2")
def attention_pooling(mine: Callable, expect: Expect) -> None:
    """`mine(values, weight, bias, score, mask) -> (pooled [B, W], S [B, L])`.

    Shapes: values [B, L, W], weight [W, W], bias [W], score [W], mask [B, L].
    """
    random = torch.Generator().manual_seed(0)
    values = torch.randn(2, 4, 3, generator=random)
    shapes = ((3, 3), (3,), (3,))
    weight, bias, score = (torch.randn(*shape, generator=random) * 2 for shape in shapes)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = mine(values, weight, bias, score, mask)
    expect(isinstance(result, tuple) and len(result) == 2, "two")
    pooled, shares = result
    expect.shape(shares, (2, 4), "shares_shape")
    expect.shape(pooled, (2, 3), "pooled_shape")
    expect.close(shares[0].sum(), 1.0, "sum")

    def slow(row: int) -> list[float]:
        raw = []
        for token in values[row].tolist():
            rows = zip(weight.tolist(), bias.tolist(), strict=True)
            hidden = [math.tanh(dot(weights, token) + shift) for weights, shift in rows]
            raw.append(dot(score.tolist(), hidden))
        return softmax(raw, mask[row].tolist())

    expect.close(shares[0], slow(0), "score")
    expect(float(shares[1, 2:].abs().max()) == 0, "pad")
    expect.close(shares[1], slow(1), "second")
    mixed = [[dot(slow(row), column) for column in values[row].T.tolist()] for row in range(2)]
    expect.close(pooled, mixed, "values")


@check("5.3")
def soft_label_loss(mine: Callable, expect: Expect) -> None:
    """`mine(student [B, K], teacher [B, K]) -> [B]`.

    Cross-entropy of the student's logits with the teacher's distribution, which is a constant.
    """
    random = torch.Generator().manual_seed(0)
    student = torch.randn(3, 5, generator=random, requires_grad=True)
    teacher = torch.randn(3, 5, generator=random, requires_grad=True)
    result = mine(student, teacher)
    expect.shape(result, (3,), "shape")
    p = [softmax(row) for row in teacher.tolist()]
    q = [softmax(row) for row in student.tolist()]

    def cross(ps: list[list[float]], qs: list[list[float]]) -> list[float]:
        return [-dot(x, list(map(math.log, y))) for x, y in zip(ps, qs, strict=True)]

    expect.differs(result, cross(q, p), "swapped", tolerance=1e-5)
    favourite = [-math.log(y[x.index(max(x))]) for x, y in zip(p, q, strict=True)]
    expect.differs(result, favourite, "favourite", tolerance=1e-5)
    divergence = [c - h for c, h in zip(cross(p, q), cross(p, p), strict=True)]
    expect.differs(result, divergence, "divergence", tolerance=1e-5)
    expect.close(result, cross(p, q), "formula")
    expect(result.requires_grad, "student")
    inputs = (student, teacher)
    to_student, to_teacher = torch.autograd.grad(result.sum(), inputs, allow_unused=True)
    expect(to_student is not None, "student")
    expect(to_teacher is None or float(to_teacher.abs().max()) == 0, "teacher")
    expect.close(to_student, torch.tensor(q) - torch.tensor(p), "gradient")
    extreme = mine(torch.tensor([[200.0, -200.0]]), torch.tensor([[0.0, 0.0]]))
    expect.close(extreme, [200.0], "log_softmax")
