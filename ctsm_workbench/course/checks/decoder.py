"""Checks of lesson 06: pointer mixture, contrastive pair, diversity weights. Paper: Sec. 3.6."""

import math
from collections.abc import Callable

import torch

from ctsm_workbench.course.checks.frame import Expect, check, cosine, softmax


@check("6.1")
def pointer_mixture(mine: Callable, expect: Expect) -> None:
    """`mine(logits [B, V], gate [B, 1], copy [B, L], context [B, L]) -> log P [B, V]`."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 6, generator=random)
    gate = torch.tensor([[0.4], [-1.2]])
    copy = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]])
    # Word 4 stands twice in the first row. The second row ends in PAD.
    context = torch.tensor([[4, 2, 4], [3, 5, 1]])
    result = torch.as_tensor(mine(logits, gate, copy, context))
    expect.shape(result, (2, 6), "shape")
    expected = []
    for row in range(2):
        alpha = 1 / (1 + math.exp(-float(gate[row])))
        mixed = [alpha * share for share in softmax(logits[row].tolist())]
        for weight, word in zip(copy[row].tolist(), context[row].tolist(), strict=True):
            mixed[word] += (1 - alpha) * weight
        expected.append(mixed)
    expect(float(result.max()) <= 1e-6, "logarithm")
    probability = result.exp()
    expect.close(probability[:, 0], [expected[0][0], expected[1][0]], "generated")
    expect.close(probability[0, 2], expected[0][2], "copied")
    expect.close(probability[0, 4], expected[0][4], "twice")
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
def contrastive_pair(mine: Callable, expect: Expect) -> None:
    """`mine(first [B, D], second [B, D], temperature) -> scalar`.

    NT-Xent with the negatives of both views.
    """
    alike = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    result = mine(alike, alike, 0.5)
    expect.shape(result, (), "scalar")
    expect.differs(result, math.log(6), "not_itself", tolerance=1e-4)
    expect.differs(result, math.log(4), "positive", tolerance=1e-4)
    expect.differs(result, math.log(3), "both_views", tolerance=1e-4)
    expect.close(result, math.log(5), "ln5")
    random = torch.Generator().manual_seed(0)
    first, second = (torch.randn(4, 3, generator=random) for _ in range(2))

    def losses(temperature: float) -> list[float]:
        rows = [*first.tolist(), *second.tolist()]
        found = []
        for i, anchor in enumerate(rows):
            scores = [cosine(anchor, key) / temperature for key in rows]
            keys = sum(math.exp(score) for k, score in enumerate(scores) if k != i)
            found.append(math.log(keys) - scores[(i + 4) % 8])
        return found

    each = losses(0.5)
    result = mine(first, second, 0.5)
    expect.close(mine(first * 3, second * 0.2, 0.5), result, "length", tolerance=1e-4)
    expect.differs(result, sum(each[:4]) / 4, "both_anchors", tolerance=1e-4)
    expect.differs(result, sum(each), "sum", tolerance=1e-4)
    expect.differs(result, sum(losses(2.0)) / 8, "temperature", tolerance=1e-4)
    expect.close(result, sum(each) / 8, "formula")
    alone = mine(torch.ones(1, 3), torch.tensor([[1.0, 0.0, -1.0]]), 0.07)
    expect.close(alone, 0.0, "alone")
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    expect.close(mine(opposite, opposite, 0.02), 0.0, "opposite")


@check("6.3")
def diversity_weights(mine: Callable, expect: Expect) -> None:
    """`mine(counts [V], target [N]) -> [N]`, `1 - f / max f` with mean 1 over the vocabulary."""
    counts = torch.tensor([40, 10, 0, 30, 0, 0])
    target = torch.tensor([0, 2, 2, 3, 1])
    result = mine(counts, target)
    expect.shape(result, (5,), "shape")
    expect.close(result[0], 0.0, "frequent")
    raw = [1 - f / 40 for f in counts.tolist()]
    mean = sum(raw) / len(raw)
    expect.close(result[4] / result[1], raw[1], "quarter")
    expect.differs(result[1], 1, "rescale")
    chosen = [raw[i] for i in target.tolist()]
    expect.differs(result[1], len(chosen) / sum(chosen), "vocabulary")
    expect.close(result, [x / mean for x in chosen], "formula")
    expect.close(mine(torch.zeros(6, dtype=torch.int64), target), [1.0] * 5, "uncounted")
