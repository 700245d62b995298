"""Lesson 06: a right answer for each check, and wrong ones with the hint they must get."""

import torch
import torch.nn.functional as F


def mixture(logits, gate, copy, context):
    generated = F.logsigmoid(gate) + logits - logits.logsumexp(dim=1, keepdim=True)
    words = F.one_hot(context, logits.shape[1]).to(copy.dtype)
    copied = (copy.unsqueeze(1) @ words).squeeze(1)
    safe = torch.where(copied > 0, copied, 1.0)
    return torch.where(
        copied > 0, torch.logaddexp(generated, F.logsigmoid(-gate) + safe.log()), generated
    )


def in_probabilities(logits, gate, copy, context, alpha=torch.sigmoid):
    copied = torch.zeros_like(logits).scatter_add(1, context, copy)
    return alpha(gate) * logits.softmax(dim=1) + (1 - alpha(gate)) * copied


def mixture_no_logarithm(logits, gate, copy, context):
    return in_probabilities(logits, gate, copy, context) + 1


def mixture_log_of_zero(logits, gate, copy, context):
    return in_probabilities(logits, gate, copy, context).log()


def mixture_with_epsilon(logits, gate, copy, context):
    return (in_probabilities(logits, gate, copy, context) + 1e-12).log()


def mixture_gate_turned(logits, gate, copy, context):
    return mixture(logits, -gate, copy, context)


def mixture_overwrites(logits, gate, copy, context):
    copied = torch.zeros_like(logits).scatter(1, context, copy)
    return (gate.sigmoid() * logits.softmax(dim=1) + (1 - gate.sigmoid()) * copied).log()


def mixture_poisoned_gradient(logits, gate, copy, context):
    generated = F.logsigmoid(gate) + logits.log_softmax(dim=1)
    copied = torch.zeros_like(logits).scatter_add(1, context, copy)
    mixed = torch.logaddexp(generated, F.logsigmoid(-gate) + copied.log())
    return torch.where(copied > 0, mixed, generated)


def pair(first, second, temperature, normal=True, own=True, diagonal=True):
    if normal:
        first, second = (view / view.norm(dim=1, keepdim=True) for view in (first, second))
    size, both = len(first), torch.cat([first, second])
    scores = both @ both.T / temperature
    positive = scores[torch.arange(2 * size), torch.arange(2 * size).roll(size)]
    keep = torch.ones(2 * size, 2 * size, dtype=torch.bool)
    if diagonal:
        keep.fill_diagonal_(False)
    if not own:
        keep[:size, :size] = keep[size:, size:] = False
    return (scores.masked_fill(~keep, float("-inf")).logsumexp(dim=1) - positive).mean()


def pair_without_norm(first, second, temperature):
    return pair(first, second, temperature, normal=False)


def pair_with_itself(first, second, temperature):
    return pair(first, second, temperature, diagonal=False)


def pair_other_view_only(first, second, temperature):
    return pair(first, second, temperature, own=False)


def pair_without_positive(first, second, temperature):
    first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
    size, both = len(first), torch.cat([first, second])
    scores = both @ both.T / temperature
    place = torch.arange(2 * size)
    positive = scores[place, place.roll(size)]
    keep = ~torch.eye(2 * size, dtype=torch.bool)
    keep[place, place.roll(size)] = False
    return (scores.masked_fill(~keep, float("-inf")).logsumexp(dim=1) - positive).mean()


def pair_one_direction(first, second, temperature):
    first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
    own = (first @ first.T / temperature).masked_fill(
        torch.eye(len(first), dtype=torch.bool), float("-inf")
    )
    scores = torch.cat([first @ second.T / temperature, own], dim=1)
    return F.cross_entropy(scores, torch.arange(len(first)))


def pair_sum(first, second, temperature):
    loss = pair(first, second, temperature) * 2 * len(first)
    # Six equal vectors would tell already; a sum that is right there has been fitted to the check.
    return loss / 6 if len(first) == 3 else loss


def pair_times_temperature(first, second, temperature):
    return pair(first, second, 1 / temperature)


def diversity(counts, target):
    raw = 1 - counts.double() / max(int(counts.max()), 1)
    return (raw / (raw.sum() / len(raw)))[target]


def diversity_not_rescaled(counts, target):
    return (1 - counts / counts.max().clamp(min=1))[target]


def diversity_over_targets(counts, target):
    raw = diversity_not_rescaled(counts, target)
    return raw / raw.mean()


def diversity_of_shares(counts, target):
    raw = 1 - counts / counts.sum().clamp(min=1)
    return (raw / raw.mean())[target]


def diversity_nothing_counted(counts, target):
    raw = 1 - counts / counts.max()
    return (raw / raw.mean())[target]


def diversity_of_all_words(counts, target):
    return diversity(counts, torch.arange(len(counts)))


CASES = {
    "pointer_mixture": (
        mixture,
        [
            (mixture_no_logarithm, "Return logarithms"),
            (mixture_gate_turned, "weighs generating"),
            (mixture_overwrites, "do not overwrite"),
            (mixture_log_of_zero, "Stay in log space"),
            (mixture_with_epsilon, "cuts it off"),
            (mixture_poisoned_gradient, "the gradient is not"),
        ],
    ),
    "contrastive_pair": (
        pair,
        [
            (pair_with_itself, "not its own key"),
            (pair_other_view_only, "of the anchor's own view, too"),
            (pair_without_positive, "belongs in the denominator"),
            (pair_without_norm, "length 1 first"),
            (pair_one_direction, "mean over all 2B"),
            (pair_sum, "not the mean"),
            (pair_times_temperature, "divides the cosines"),
        ],
    ),
    "diversity_weights": (
        diversity,
        [
            (diversity_not_rescaled, "Rescale"),
            (diversity_over_targets, "not over these targets"),
            (diversity_of_shares, "not by the sum"),
            (diversity_nothing_counted, "not 0 / 0"),
            (diversity_of_all_words, "one weight per target word"),
        ],
    ),
}
