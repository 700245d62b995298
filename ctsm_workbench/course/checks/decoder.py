"""Checks of lesson 06: pointer mixture, contrastive pair, diversity weights. Paper: Sec. 3.6."""

import math
from collections.abc import Callable

import torch

from ctsm_workbench.course.checks.frame import (
    check,
    cosine,
    expect,
    expect_close,
    expect_not,
    expect_shape,
    softmax,
)


@check("6.1")
def pointer_mixture(mine: Callable) -> None:
    """`mine(logits [B, V], gate [B, 1], copy [B, L], context [B, L]) -> log P [B, V]`."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 6, generator=random)
    gate = torch.tensor([[0.4], [-1.2]])
    copy = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]])
    # Word 4 stands twice in the first row. The second row ends in PAD.
    context = torch.tensor([[4, 2, 4], [3, 5, 1]])
    result = torch.as_tensor(mine(logits, gate, copy, context))
    expect_shape(result, (2, 6), "Return a log-probability for every word of the vocabulary.")
    expected = []
    for row in range(2):
        alpha = 1 / (1 + math.exp(-float(gate[row])))
        mixed = [alpha * share for share in softmax(logits[row].tolist())]
        for weight, word in zip(copy[row].tolist(), context[row].tolist(), strict=True):
            mixed[word] += (1 - alpha) * weight
        expected.append(mixed)
    hint = "Return logarithms: the logarithm of a probability is never above 0."
    expect(float(result.max()) <= 1e-6, hint)
    probability = result.exp()
    hint = "A word that is not in the context has the probability alpha * softmax."
    hint += " alpha = sigmoid(gate) weighs generating, not copying."
    expect_close(probability[:, 0], [expected[0][0], expected[1][0]], hint)
    hint = "A word that stands once in the context also gets (1 - alpha) * its copy weight."
    expect_close(probability[0, 2], expected[0][2], hint)
    hint = "A word that stands twice gets both copy weights: add (scatter_add), do not overwrite."
    expect_close(probability[0, 4], expected[0][4], hint)
    hint = "The probabilities of a row should add up to 1."
    expect_close(probability.sum(dim=1), [1.0, 1.0], hint)
    expect_close(probability, expected, "Compute alpha softmax(logits) + (1 - alpha) copy.")

    far = torch.tensor([[300.0, 0.0, 0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    open_gate = torch.tensor([[200.0]], requires_grad=True)
    weights = copy[1:].clone().requires_grad_()  # its PAD cannot be copied
    extreme = mine(far, open_gate, weights, context[1:])
    hint = "A softmax or a sigmoid is rounded to 0 here, and log(0) is -inf."
    hint += " Stay in log space: log_softmax, logsigmoid, logaddexp."
    expect(torch.isfinite(extreme).all(), hint)
    hint = "A very unlikely word keeps its log-probability. A small number added to P cuts it off."
    expect_close(extreme[0, 1], -300.0, hint)
    grads = torch.autograd.grad(extreme.sum(), (far, open_gate, weights), allow_unused=True)
    hint = "The values are finite, but the gradient is not: clamp copy weights of 0 before the log."
    expect(all(grad is None or bool(torch.isfinite(grad).all()) for grad in grads), hint)


@check("6.2")
def contrastive_pair(mine: Callable) -> None:
    """`mine(first [B, D], second [B, D], temperature) -> scalar`.

    NT-Xent with the negatives of both views.
    """
    alike = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    result = mine(alike, alike, 0.5)
    expect_shape(result, (), "Return one number: the mean over all anchors.")
    hint = "With 3 dialogues an anchor has 5 keys, not 6: it is not its own key (-inf on diagonal)."
    expect_not(result, math.log(6), hint, 1e-4)
    hint = "The positive also belongs in the denominator. Without it the loss has no lower bound."
    expect_not(result, math.log(4), hint, 1e-4)
    hint = "The other dialogues of both views are negatives: those of the anchor's own view, too."
    expect_not(result, math.log(3), hint, 1e-4)
    hint = "Six equal vectors: each anchor has 5 equally likely keys, so the loss is ln 5."
    expect_close(result, math.log(5), hint)
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
    hint = "The length of a vector must not matter: bring both views to length 1 first."
    expect_close(mine(first * 3, second * 0.2, 0.5), result, hint, 1e-4)
    hint = "Your anchors are only in the first view. Use both views: take the mean over all 2B."
    expect_not(result, sum(each[:4]) / 4, hint, 1e-4)
    expect_not(result, sum(each), "This is the sum over the anchors, not the mean.", 1e-4)
    hint = "The temperature divides the cosines, but you multiply by it."
    expect_not(result, sum(losses(2.0)) / 8, hint, 1e-4)
    hint = "-log of e^(positive) / sum over keys of e^(score), mean over the 2B anchors."
    expect_close(result, sum(each) / 8, hint)
    alone = mine(torch.ones(1, 3), torch.tensor([[1.0, 0.0, -1.0]]), 0.07)
    expect_close(alone, 0.0, "A single dialogue has no negatives: its loss is exactly 0.")
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    hint = "Equal pairs, opposite negatives and a low temperature: the loss is about 0, never NaN."
    expect_close(mine(opposite, opposite, 0.02), 0.0, hint)


@check("6.3")
def diversity_weights(mine: Callable) -> None:
    """`mine(counts [V], target [N]) -> [N]`, `1 - f / max f` with mean 1 over the vocabulary."""
    counts = torch.tensor([40, 10, 0, 30, 0, 0])
    target = torch.tensor([0, 2, 2, 3, 1])
    result = mine(counts, target)
    expect_shape(result, (5,), "Return one weight per target word, not per word of the vocabulary.")
    hint = "The most frequent word has weight 0: divide by the largest count, not by the sum."
    expect_close(result[0], 0.0, hint)
    raw = [1 - f / 40 for f in counts.tolist()]
    mean = sum(raw) / len(raw)
    hint = "A quarter of the largest count should give three quarters of the weight of count 0."
    expect_close(result[4] / result[1], raw[1], hint)
    hint = "Rescale the weights to mean 1. Otherwise L_div shrinks while the counts grow."
    expect_not(result[1], 1, hint)
    chosen = [raw[i] for i in target.tolist()]
    hint = "The mean is 1 over the whole vocabulary, not over these targets."
    expect_not(result[1], len(chosen) / sum(chosen), hint)
    hint = "Compute 1 - f / max f, divide by its mean over the vocabulary, and select the targets."
    expect_close(result, [x / mean for x in chosen], hint)
    hint = "Before anything is counted the largest count is 0: every weight is then 1, not 0 / 0."
    expect_close(mine(torch.zeros(6, dtype=torch.int64), target), [1.0] * 5, hint)
