"""Checks of lesson 06: pointer mixture, contrastive pair, diversity weights. Paper: Sec. 3.6."""

import numpy as np
import torch
from scipy.special import expit, logsumexp, softmax

from ctsm_workbench.course.checks.frame import Answer, Expect, array, check, cosines, normal


@check("6.1")
def pointer_mixture(mine: Answer, expect: Expect) -> None:
    """`mine(logits [B, V], gate [B, 1], copy [B, L], context [B, L]) -> log P [B, V]`."""
    [logits] = normal((2, 6))
    gate = torch.tensor([[0.4], [-1.2]])
    copy = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]])
    # Word 4 stands twice in the first row. The second row ends in PAD.
    context = torch.tensor([[4, 2, 4], [3, 5, 1]])
    result = expect.shape(torch.as_tensor(mine(logits, gate, copy, context)), (2, 6))
    alpha = expit(array(gate))
    expected = alpha * softmax(array(logits), axis=1)
    for row, place in np.ndindex(2, 3):
        expected[row, context[row, place]] += (1 - alpha[row, 0]) * float(copy[row, place])
    expect(float(result.max()) <= 1e-6, "logarithm")
    probability = result.exp()
    expect.close(probability[:, 0], expected[:, 0], "generated")
    expect.close(probability[0, 2], expected[0, 2], "copied")
    expect.close(probability[0, 4], expected[0, 4], "twice")
    expect.close(probability.sum(dim=1), [1.0, 1.0], "sum")
    expect.close(probability, expected, "formula")

    far = torch.tensor([[300.0, 0.0, 0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    open_gate = torch.tensor([[200.0]], requires_grad=True)
    weights = copy[1:].clone().requires_grad_()  # its PAD cannot be copied
    extreme = mine(far, open_gate, weights, context[1:])
    expect(torch.isfinite(extreme).all(), "log_space")
    expect.close(extreme[0, 1], -300.0, "no_floor")
    grads = torch.autograd.grad(extreme.sum(), (far, open_gate, weights), allow_unused=True)
    expect(all(grad is None or bool(torch.isfinite(grad).all()) for grad in grads), "gradient")


@check("6.2")
def contrastive_pair(mine: Answer, expect: Expect) -> None:
    """`mine(first [B, D], second [B, D], temperature)`: NT-Xent with negatives of both views."""
    alike = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    result = expect.shape(mine(alike, alike, 0.5), (), "scalar")
    for keys, hint in ((6, "not_itself"), (4, "positive"), (3, "both_views")):
        expect.differs(result, np.log(keys), hint, tolerance=1e-4)
    expect.close(result, np.log(5), "ln5")
    first, second = normal((4, 3), (4, 3))

    def losses(temperature: float) -> np.ndarray:
        anchors = torch.cat([first, second])
        scores = cosines(anchors, anchors) / temperature
        np.fill_diagonal(scores, -np.inf)
        return logsumexp(scores, axis=1) - np.roll(scores, 4, axis=1).diagonal()

    each = losses(0.5)
    result = mine(first, second, 0.5)
    expect.close(mine(first * 3, second * 0.2, 0.5), result, "length", tolerance=1e-4)
    expect.differs(result, each[:4].mean(), "both_anchors", tolerance=1e-4)
    expect.differs(result, each.sum(), "sum", tolerance=1e-4)
    expect.differs(result, losses(2.0).mean(), "temperature", tolerance=1e-4)
    expect.close(result, each.mean(), "formula")
    alone = mine(torch.ones(1, 3), torch.tensor([[1.0, 0.0, -1.0]]), 0.07)
    expect.close(alone, 0.0, "alone")
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    expect.close(mine(opposite, opposite, 0.02), 0.0, "opposite")


@check("6.3")
def diversity_weights(mine: Answer, expect: Expect) -> None:
    """`mine(counts [V], target [N]) -> [N]`, `1 - f / max f` with mean 1 over the vocabulary."""
    counts = torch.tensor([40, 10, 0, 30, 0, 0])
    target = torch.tensor([0, 2, 2, 3, 1])
    result = expect.shape(mine(counts, target), (5,))
    expect.close(result[0], 0.0, "frequent")
    raw = 1 - array(counts) / 40
    chosen = raw[target]
    expect.close(result[4] / result[1], raw[1], "quarter")
    expect.differs(result[1], 1, "rescale")
    expect.differs(result[1], 1 / chosen.mean(), "vocabulary")
    expect.close(result, chosen / raw.mean(), "formula")
    expect.close(mine(torch.zeros(6, dtype=torch.int64), target), [1.0] * 5, "uncounted")
