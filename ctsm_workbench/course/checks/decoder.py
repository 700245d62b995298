"""Checks of lesson 06: pointer mixture, one contrastive pair, diversity weights. Paper: Sec. 3.6."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ctsm_workbench.course.checks.frame import check, expect, expect_close, expect_shape


@check("6.1")
def pointer_mixture(mine: Callable) -> None:
    """`mine(logits [B, V], gate [B, 1], copy [B, L], context [B, L]) -> log P [B, V]`."""
    random = torch.Generator().manual_seed(0)
    logits, gate = torch.randn(2, 6, generator=random), torch.tensor([[0.4], [-1.2]])
    copy = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]])
    context = torch.tensor(
        [[4, 2, 4], [3, 5, 1]]
    )  # word 4 stands twice; the second row ends in PAD
    result = mine(logits, gate, copy, context)
    expect_shape(result, (2, 6), "A log-probability for every word of the vocabulary.")

    def slow(row: int) -> list[float]:
        raw = [math.exp(z) for z in logits[row].tolist()]
        alpha = 1 / (1 + math.exp(-float(gate[row])))
        mixed = [alpha * z / sum(raw) for z in raw]
        for weight, word in zip(copy[row].tolist(), context[row].tolist(), strict=True):
            mixed[word] += (1 - alpha) * weight
        return mixed

    probability = torch.as_tensor(result).exp()
    expect(
        float(torch.as_tensor(result).max()) <= 1e-6,
        "Return logarithms: none of them can be above 0.",
    )
    expect_close(
        probability[:, 0],
        [slow(0)[0], slow(1)[0]],
        "A word that is not in the context has alpha * softmax: alpha = sigmoid(gate) weighs generating, not copying.",
    )
    expect_close(
        probability[0, 2],
        slow(0)[2],
        "A word that stands once in the context gets (1 - alpha) * its copy weight on top.",
    )
    expect_close(
        probability[0, 4],
        slow(0)[4],
        "A word that stands twice gets both copy weights: add them up (scatter_add), do not overwrite.",
    )
    expect_close(probability.sum(dim=1), [1.0, 1.0], "The probabilities of a row add up to 1.")
    expect_close(probability, [slow(0), slow(1)], "alpha softmax(logits) + (1 - alpha) copy.")

    far = torch.tensor([[300.0, 0.0, 0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    open_gate = torch.tensor([[200.0]], requires_grad=True)
    weights = copy[1:].clone().requires_grad_()  # its PAD cannot be copied
    extreme = mine(far, open_gate, weights, context[1:])
    expect(
        bool(torch.isfinite(extreme).all()),
        "log(0): a softmax or a sigmoid underflows. Stay in log space: log_softmax, logsigmoid, logaddexp.",
    )
    expect_close(
        extreme[0, 1],
        -300.0,
        "A very unlikely word keeps its log-probability; a small number added to P cuts it off.",
    )
    grads = torch.autograd.grad(extreme.sum(), (far, open_gate, weights), allow_unused=True)
    expect(
        all(grad is None or bool(torch.isfinite(grad).all()) for grad in grads),
        "The values are finite, the gradient is not: clamp what cannot be copied before its logarithm is taken.",
    )


@check("6.2")
def contrastive_pair(mine: Callable) -> None:
    """`mine(first [B, D], second [B, D], temperature) -> scalar`, NT-Xent with the negatives of both views."""
    alike = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    result = mine(alike, alike, 0.5)
    expect_shape(result, (), "A mean over all anchors: one number.")
    expect(
        abs(float(result) - math.log(6)) > 1e-4,
        "With 3 dialogues an anchor has 5 keys, not 6: it is no key of itself (-inf on the diagonal).",
    )
    expect(
        abs(float(result) - math.log(4)) > 1e-4,
        "The positive belongs into the sum below, once: without it the loss has no floor.",
    )
    expect(
        abs(float(result) - math.log(3)) > 1e-4,
        "The other dialogues of both views are negatives: of the anchor's own view, too.",
    )
    expect_close(
        result,
        math.log(5),
        "Six equal vectors: each anchor has 5 equally likely keys, so the loss is ln 5.",
    )
    random = torch.Generator().manual_seed(0)
    first, second = (torch.randn(4, 3, generator=random) for _ in range(2))

    def unit(row: list[float]) -> list[float]:
        return [x / math.hypot(*row) for x in row]

    def slow(a: torch.Tensor, b: torch.Tensor, tau: float) -> list[float]:
        rows, size = [unit(row) for row in [*a.tolist(), *b.tolist()]], len(a)
        found = []
        for i, anchor in enumerate(rows):
            scores = {
                k: sum(x * y for x, y in zip(anchor, key, strict=True)) / tau
                for k, key in enumerate(rows)
            }
            positive = scores[(i + size) % (2 * size)]
            found.append(math.log(sum(math.exp(s) for k, s in scores.items() if k != i)) - positive)
        return found

    each = slow(first, second, 0.5)
    short = unit([1.0, 1.0, 1.0])
    scaled = mine(first * 3, second * 0.2, 0.5)
    expect_close(
        scaled,
        mine(first, second, 0.5),
        "The length of a vector must not matter: bring both views to length 1 first.",
        1e-4,
    )
    result = float(mine(first, second, 0.5))
    expect(
        abs(result - sum(each[:4]) / 4) > 1e-4,
        "Only the first view's vectors are anchors: those of the second view are, too; take the mean over all 2B.",
    )
    expect(abs(result - sum(each)) > 1e-4, "That is the sum over anchors, not the mean.")
    hot = sum(slow(first, second, 2.0)) / 8
    expect(abs(result - hot) > 1e-4, "The temperature divides the cosines; you multiply by it.")
    expect_close(
        result,
        sum(each) / 8,
        "-log of e^(positive) / sum over keys of e^(score), mean over the 2B anchors.",
    )
    alone = mine(torch.tensor([short]), torch.tensor([unit([1.0, 0.0, -1.0])]), 0.07)
    expect_close(alone, 0.0, "One dialogue has no negatives: its loss is exactly 0.")
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    expect_close(
        mine(opposite, opposite, 0.02),
        0.0,
        "Perfect pairs and far negatives at a low temperature: about 0, never NaN.",
    )


@check("6.3")
def diversity_weights(mine: Callable) -> None:
    """`mine(counts [V], target [N]) -> [N]`, `1 - f / max f`, rescaled to mean 1 over the vocabulary."""
    counts = torch.tensor([40, 10, 0, 30, 0, 0])
    target = torch.tensor([0, 2, 2, 3, 1])
    result = mine(counts, target)
    expect_shape(result, (5,), "One weight a target word, not one a word of the vocabulary.")
    expect_close(
        result[0],
        0.0,
        "The word that was said most has weight 0 (it is divided by the largest count, not by the sum).",
    )
    raw = [1 - f / 40 for f in counts.tolist()]
    mean = sum(raw) / len(raw)
    expect_close(
        result[4] / result[1],
        raw[1],
        "A quarter of the largest count gives three quarters of a never-said word's weight.",
    )
    expect(
        abs(float(result[1]) - 1) > 1e-6,
        "Rescale: the mean weight is to be 1, or L_div shrinks as counting goes on.",
    )
    chosen = [raw[i] for i in target.tolist()]
    expect(
        abs(float(result[1]) - len(chosen) / sum(chosen)) > 1e-6,
        "The mean is 1 over the whole vocabulary, not over these targets.",
    )
    expect_close(
        result,
        [x / mean for x in chosen],
        "(1 - f / max f) / its mean over the vocabulary, at the targets.",
    )
    new = mine(torch.zeros(6, dtype=torch.int64), target)
    expect_close(
        new,
        [1.0] * 5,
        "Before anything was counted the largest count is 0: every weight is 1, not 0 / 0.",
    )
