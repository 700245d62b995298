"""Checks of lesson 05: intensity weights, attention pooling, soft labels. Paper: Sec. 3.5."""

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


@check("5.1")
def intensity_weights(mine: Callable) -> None:
    """`mine(intensity [B, L], mask [B, L]) -> [B, L]`.

    `n softmax(I)` over the n real tokens of each dialogue.
    """
    intensity = torch.tensor([[0.0, 0.9, 0.3, 0.5], [0.8, 0.2, 0.0, 0.0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = mine(intensity, mask)
    expect_shape(result, (2, 4), "Return one weight per token.")
    first = softmax(intensity[0].tolist())
    hint = "The shares are e^I / sum of e^I over the tokens of one dialogue."
    hint += " Check the axis of the softmax."
    expect_close(result[0] / result[0].sum(), first, hint)
    hint = "The weights of a dialogue add up to its number of tokens. What is the factor n?"
    expect_close(result[0], [4 * share for share in first], hint)
    hint = "PAD has weight 0. Its intensity is 0, but e^0 is 1: mask before the softmax."
    expect(float(result[1, 2:].abs().max()) == 0, hint)
    hint = "n counts the real tokens of each dialogue, here 2."
    hint += " It is neither the padded length nor the number of tokens in the batch."
    second = [2 * share for share in softmax(intensity[1, :2].tolist())]
    expect_close(result[1, :2], second, hint)


@check("5.2")
def attention_pooling(mine: Callable) -> None:
    """`mine(values, weight, bias, score, mask) -> (pooled [B, W], S [B, L])`.

    Shapes: values [B, L, W], weight [W, W], bias [W], score [W], mask [B, L].
    """
    random = torch.Generator().manual_seed(0)
    values = torch.randn(2, 4, 3, generator=random)
    shapes = ((3, 3), (3,), (3,))
    weight, bias, score = (torch.randn(*shape, generator=random) * 2 for shape in shapes)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = mine(values, weight, bias, score, mask)
    hint = "Return two things: the pooled dialogues and S, in this order."
    expect(isinstance(result, tuple) and len(result) == 2, hint)
    pooled, shares = result
    expect_shape(shares, (2, 4), "S has one share per token.")
    expect_shape(pooled, (2, 3), "Pooled has one vector per dialogue.")
    hint = "The shares of a dialogue add up to 1: the softmax goes over its tokens."
    expect_close(shares[0].sum(), 1.0, hint)

    def slow(row: int) -> list[float]:
        raw = []
        for token in values[row].tolist():
            rows = zip(weight.tolist(), bias.tolist(), strict=True)
            hidden = [math.tanh(dot(weights, token) + shift) for weights, shift in rows]
            raw.append(dot(score.tolist(), hidden))
        return softmax(raw, mask[row].tolist())

    hint = "Compute score . tanh(weight c + bias), then the softmax."
    hint += " Is the tanh there? Is the weight transposed as PyTorch stores it?"
    expect_close(shares[0], slow(0), hint)
    hint = "PAD gets no share: mask the scores before the softmax."
    expect(float(shares[1, 2:].abs().max()) == 0, hint)
    hint = "In the second dialogue, the shares of the real tokens add up to 1."
    expect_close(shares[1], slow(1), hint)
    hint = "Pooled is the sum of the tokens' values times S: the values themselves, not their tanh."
    mixed = [[dot(slow(row), column) for column in values[row].T.tolist()] for row in range(2)]
    expect_close(pooled, mixed, hint)


@check("5.3")
def soft_label_loss(mine: Callable) -> None:
    """`mine(student [B, K], teacher [B, K]) -> [B]`.

    Cross-entropy of the student's logits with the teacher's distribution, which is a constant.
    """
    random = torch.Generator().manual_seed(0)
    student = torch.randn(3, 5, generator=random, requires_grad=True)
    teacher = torch.randn(3, 5, generator=random, requires_grad=True)
    result = mine(student, teacher)
    hint = "Return one loss per dialogue: sum over the emotions, not over the batch."
    expect_shape(result, (3,), hint)
    p = [softmax(row) for row in teacher.tolist()]
    q = [softmax(row) for row in student.tolist()]

    def cross(ps: list[list[float]], qs: list[list[float]]) -> list[float]:
        return [-dot(x, list(map(math.log, y))) for x, y in zip(ps, qs, strict=True)]

    hint = "The roles are swapped: use the teacher's shares and the student's log-probabilities."
    expect_not(result, cross(q, p), hint, 1e-5)
    favourite = [-math.log(y[x.index(max(x))]) for x, y in zip(p, q, strict=True)]
    hint = "You use the teacher's favourite emotion only, but all 32 probabilities count."
    expect_not(result, favourite, hint, 1e-5)
    divergence = [c - h for c, h in zip(cross(p, q), cross(p, p), strict=True)]
    hint = "This is the KL divergence. It has the same gradient,"
    hint += " but Eq. (18) does not subtract the teacher's entropy."
    expect_not(result, divergence, hint, 1e-5)
    hint = "-(sum over e of p_e log q_e), with p = softmax(teacher), q = softmax(student)."
    expect_close(result, cross(p, q), hint)
    learns = (
        "No gradient reaches the student, but it must learn: which of the two must be detached?"
    )
    expect(result.requires_grad, learns)
    inputs = (student, teacher)
    to_student, to_teacher = torch.autograd.grad(result.sum(), inputs, allow_unused=True)
    expect(to_student is not None, learns)
    hint = "A gradient reaches the teacher: it would move towards what the student finds easy."
    hint += " Detach it."
    expect(to_teacher is None or float(to_teacher.abs().max()) == 0, hint)
    expect_close(to_student, torch.tensor(q) - torch.tensor(p), "The student's gradient is q - p.")
    hint = "The softmax of a very sure student gives 0: use log_softmax, not the log of a softmax."
    extreme = mine(torch.tensor([[200.0, -200.0]]), torch.tensor([[0.0, 0.0]]))
    expect_close(extreme, [200.0], hint)
