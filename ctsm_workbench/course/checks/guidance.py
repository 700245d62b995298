"""Checks of lesson 05: intensity weights, attention pooling, soft labels. Paper: Sec. 3.5."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ctsm_workbench.course.checks.frame import check, expect, expect_close, expect_shape


@check("5.1")
def intensity_weights(mine: Callable) -> None:
    """`mine(intensity [B, L], mask [B, L]) -> [B, L]`, `n softmax(I)` over the n real tokens of each dialogue."""
    intensity = torch.tensor([[0.0, 0.9, 0.3, 0.5], [0.8, 0.2, 0.0, 0.0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = mine(intensity, mask)
    expect_shape(result, (2, 4), "One weight a token.")

    def expected(row: int) -> list[float]:
        real = [float(i) for i, keep in zip(intensity[row], mask[row], strict=True) if keep]
        total = sum(math.exp(i) for i in real)
        return [len(real) * math.exp(i) / total for i in real]

    expect_close(
        result[0] / result[0].sum(),
        torch.tensor(expected(0)) / 4,
        "Shares e^I / sum of e^I, over the tokens of one dialogue: mind the axis of the softmax.",
    )
    expect_close(
        result[0],
        expected(0),
        "The weights of a dialogue add up to its number of tokens: what is the factor n?",
    )
    expect(
        float(result[1, 2:].abs().max()) == 0,
        "PAD has weight 0. Its intensity is 0, but e^0 is 1: mask before the softmax.",
    )
    expect_close(
        result[1, :2],
        expected(1),
        "n counts the real tokens of each dialogue, here 2: neither the padded length nor the whole batch's tokens.",
    )


@check("5.2")
def attention_pooling(mine: Callable) -> None:
    """`mine(values [B, L, W], weight [W, W], bias [W], score [W], mask [B, L]) -> (pooled [B, W], S [B, L])`."""
    random = torch.Generator().manual_seed(0)
    size, length, width = 2, 4, 3
    values = torch.randn(size, length, width, generator=random)
    weight, bias, score = (
        torch.randn(*shape, generator=random) * 2 for shape in ((width, width), (width,), (width,))
    )
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = mine(values, weight, bias, score, mask)
    expect(
        isinstance(result, tuple) and len(result) == 2,
        "Return two things: the pooled dialogues and S, in this order.",
    )
    pooled, shares = result
    expect_shape(shares, (size, length), "S: one share a token.")
    expect_shape(pooled, (size, width), "Pooled: one vector a dialogue.")
    expect_close(
        shares[0].sum(),
        1.0,
        "The shares of a dialogue add up to 1: the softmax goes over its tokens.",
    )

    def slow(row: int) -> list[float]:
        raw = []
        for token in range(length):
            hidden = [
                math.tanh(
                    sum(float(weight[i, j] * values[row, token, j]) for j in range(width))
                    + float(bias[i])
                )
                for i in range(width)
            ]
            raw.append(sum(float(score[i]) * hidden[i] for i in range(width)))
        kept = [math.exp(x) if mask[row, token] else 0.0 for token, x in enumerate(raw)]
        return [x / sum(kept) for x in kept]

    expect_close(
        shares[0],
        slow(0),
        "score . tanh(weight c + bias), then the softmax: is the tanh there, and the weight transposed as PyTorch stores it?",
    )
    expect(
        float(shares[1, 2:].abs().max()) == 0,
        "PAD gets no share: mask the scores before the softmax.",
    )
    expect_close(shares[1], slow(1), "The second dialogue's real tokens share 1 among themselves.")
    mixed = [
        [
            sum(slow(row)[token] * float(values[row, token, j]) for token in range(length))
            for j in range(width)
        ]
        for row in range(size)
    ]
    expect_close(
        pooled,
        mixed,
        "Pooled is the sum of the tokens' values weighed by S: the values themselves, not their tanh.",
    )


@check("5.3")
def soft_label_loss(mine: Callable) -> None:
    """`mine(student [B, K], teacher [B, K]) -> [B]`, cross-entropy of logits with the teacher's distribution, a constant."""
    random = torch.Generator().manual_seed(0)
    student = torch.randn(3, 5, generator=random, requires_grad=True)
    teacher = torch.randn(3, 5, generator=random, requires_grad=True)
    result = mine(student, teacher)
    expect_shape(result, (3,), "One loss a dialogue: sum over emotions, not over the batch.")

    def distribution(logits: list[float]) -> list[float]:
        return [math.exp(z) / sum(math.exp(other) for other in logits) for z in logits]

    p, q = ([distribution(row) for row in logits.tolist()] for logits in (teacher, student))
    cross = [
        -sum(a * math.log(b) for a, b in zip(x, y, strict=True)) for x, y in zip(p, q, strict=True)
    ]
    entropy = [-sum(a * math.log(a) for a in x) for x in p]
    swapped = [
        -sum(b * math.log(a) for a, b in zip(x, y, strict=True)) for x, y in zip(p, q, strict=True)
    ]
    favourite = [-math.log(y[max(range(5), key=lambda e: x[e])]) for x, y in zip(p, q, strict=True)]

    def looks_like(other: list[float]) -> bool:
        return torch.allclose(
            result.detach().double(), torch.tensor(other, dtype=torch.double), atol=1e-5
        )

    expect(
        not looks_like(swapped),
        "The roles are swapped: the teacher weighs, the student's log-probabilities count.",
    )
    expect(
        not looks_like(favourite),
        "You use the teacher's favourite emotion only; all 32 probabilities count.",
    )
    expect(
        not looks_like([c - h for c, h in zip(cross, entropy, strict=True)]),
        "That is the KL divergence. Its gradient is the same, but Eq. (18) does not subtract the teacher's entropy.",
    )
    expect_close(
        result,
        cross,
        "-(sum over e of p_e log q_e), with p = softmax(teacher), q = softmax(student).",
    )
    expect(
        result.requires_grad,
        "The student must learn, but no gradient reaches it: which of the two is to be detached?",
    )
    to_student, to_teacher = torch.autograd.grad(
        result.sum(), (student, teacher), allow_unused=True
    )
    expect(
        to_student is not None,
        "The student must learn, but no gradient reaches it: which of the two is to be detached?",
    )
    expect(
        to_teacher is None or float(to_teacher.abs().max()) == 0,
        "A gradient reaches the teacher: it would move towards what the student finds easy. Detach it.",
    )
    expect_close(to_student, torch.tensor(q) - torch.tensor(p), "The student's gradient is q - p.")
    extreme = mine(torch.tensor([[200.0, -200.0]]), torch.tensor([[0.0, 0.0]]))
    expect_close(
        extreme,
        [200.0],
        "A very sure student gives log(0): use log_softmax instead of the log of a softmax.",
    )
