"""Checks of lesson 05: intensity weights, attention pooling, soft labels. Paper: Sec. 3.5."""

import numpy as np
import torch

from ctsm_workbench.course.checks.frame import Answer, Expect, array, check, normal, softmax


@check("5.1")
def intensity_weights(mine: Answer, expect: Expect) -> None:
    """`mine(intensity, mask) -> [B, L]`: `n softmax(I)` over the n real tokens of a dialogue."""
    intensity = torch.tensor([[0.0, 0.9, 0.3, 0.5], [0.8, 0.2, 0.0, 0.0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = expect.shape(mine(intensity, mask), (2, 4))
    shares = softmax(intensity, mask)
    expect.close(result[0] / result[0].sum(), shares[0], "shares")
    expect.close(result[0], 4 * shares[0], "factor")
    expect(float(result[1, 2:].abs().max()) == 0, "pad")
    expect.close(result[1, :2], 2 * shares[1, :2], "real_tokens")


@check("5.2")
def attention_pooling(mine: Answer, expect: Expect) -> None:
    """`mine(values, weight, bias, score, mask) -> (pooled [B, W], S [B, L])`.

    Shapes: values [B, L, W], weight [W, W], bias [W], score [W], mask [B, L].
    """
    values, *parameters = normal((2, 4, 3), (3, 3), (3,), (3,))
    weight, bias, score = (2 * parameter for parameter in parameters)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = mine(values, weight, bias, score, mask)
    expect(isinstance(result, tuple) and len(result) == 2, "two")
    pooled, shares = result
    expect.shape(shares, (2, 4), "shares_shape")
    expect.shape(pooled, (2, 3), "pooled_shape")
    expect.close(shares[0].sum(), 1.0, "sum")
    hidden = np.tanh(np.einsum("blw,vw->blv", array(values), array(weight)) + array(bias))
    expected = softmax(hidden @ array(score), mask)
    expect.close(shares[0], expected[0], "score")
    expect(float(shares[1, 2:].abs().max()) == 0, "pad")
    expect.close(shares[1], expected[1], "second")
    expect.close(pooled, np.einsum("bl,blw->bw", expected, array(values)), "values")


@check("5.3")
def soft_label_loss(mine: Answer, expect: Expect) -> None:
    """`mine(student [B, K], teacher [B, K]) -> [B]`.

    Cross-entropy of the student's logits with the teacher's distribution, which is a constant.
    """
    student, teacher = (logits.requires_grad_() for logits in normal((3, 5), (3, 5)))
    result = expect.shape(mine(student, teacher), (3,))
    p = softmax(teacher)
    q = softmax(student)

    def cross(of: np.ndarray, by: np.ndarray) -> np.ndarray:
        return -(of * np.log(by)).sum(axis=1)

    expect.differs(result, cross(q, p), "swapped", tolerance=1e-5)
    favourite = -np.log(q[range(3), p.argmax(axis=1)])
    expect.differs(result, favourite, "favourite", tolerance=1e-5)
    expect.differs(result, cross(p, q) - cross(p, p), "divergence", tolerance=1e-5)
    expect.close(result, cross(p, q), "formula")
    expect(result.requires_grad, "student")
    inputs = (student, teacher)
    to_student, to_teacher = torch.autograd.grad(result.sum(), inputs, allow_unused=True)
    expect(to_student is not None, "student")
    expect(to_teacher is None or float(to_teacher.abs().max()) == 0, "teacher")
    expect.close(to_student, q - p, "gradient")
    extreme = mine(torch.tensor([[200.0, -200.0]]), torch.tensor([[0.0, 0.0]]))
    expect.close(extreme, [200.0], "log_softmax")
