"""Lesson 09: a right answer for each check, and wrong ones with the hint they must get."""

import numpy as np


def joint(nll, mask, emotion, reduction):
    real = nll[mask]
    return (real.mean() if reduction == "mean" else real.sum()) + emotion.mean()


def joint_mean_over_padding(nll, mask, emotion, reduction):
    return ((nll * mask).mean() if reduction == "mean" else (nll * mask).sum()) + emotion.mean()


def joint_without_mask(nll, mask, emotion, reduction):
    return (nll.mean() if reduction == "mean" else nll.sum()) + emotion.mean()


def joint_mean_of_means(nll, mask, emotion, reduction):
    rows = (nll * mask).sum(dim=1)
    return ((rows / mask.sum(dim=1)).mean() if reduction == "mean" else rows.sum()) + emotion.mean()


def joint_both_summed(nll, mask, emotion, reduction):
    return (
        nll[mask].mean() + emotion.mean()
        if reduction == "mean"
        else nll[mask].sum() + emotion.sum()
    )


def widths(dim, labels, compressed, trait, state):
    emotion = (4 + compressed if trait else 0) + (labels + 1 + compressed if state else 0)
    return dim + emotion, emotion


def widths_vad_only(dim, labels, compressed, trait, state):
    emotion = (3 if trait else 0) + 1 + compressed + (labels + 1 + compressed if state else 0)
    return dim + emotion, emotion


def widths_fixed(dim, labels, compressed, trait, state):
    emotion = 14 * trait + 43 * state
    return 300 + emotion, emotion


def widths_shared_idf(dim, labels, compressed, trait, state):
    emotion = 3 * trait + labels * state + 1 + compressed
    return dim + emotion, emotion


def interval(right_a, right_b, dialogue, samples, seed, size=None, level=(0.025, 0.975)):
    random, difference = np.random.default_rng(seed), right_a - right_b
    members = [np.flatnonzero(dialogue == number) for number in range(dialogue.max() + 1)]
    means = []
    for _ in range(samples):
        drawn = [members[k] for k in random.choice(len(members), size or len(members))]
        means.append(difference[np.concatenate(drawn)].mean())
    return tuple(100 * np.quantile(means, level))


def interval_not_paired(right_a, right_b, dialogue, samples, seed):
    random, n = np.random.default_rng(seed), len(right_a)
    means = [
        right_a[random.integers(0, n, n)].mean() - right_b[random.integers(0, n, n)].mean()
        for _ in range(samples)
    ]
    return tuple(100 * np.quantile(means, [0.025, 0.975]))


def interval_of_pairs(right_a, right_b, dialogue, samples, seed):
    return interval(right_a, right_b, np.arange(len(right_a)), samples, seed)


def interval_of_means(right_a, right_b, dialogue, samples, seed):
    random = np.random.default_rng(seed)
    means = np.bincount(dialogue, right_a - right_b) / np.bincount(dialogue)
    draws = random.integers(0, len(means), (samples, len(means)))
    return tuple(100 * np.quantile(means[draws].mean(axis=1), [0.025, 0.975]))


def interval_by_formula(right_a, right_b, dialogue, samples, seed):
    difference = right_a - right_b
    apart = np.bincount(dialogue, difference - difference.mean())
    half = 1.96 * np.sqrt((apart**2).sum()) / len(dialogue)
    return 100 * (difference.mean() - half), 100 * (difference.mean() + half)


def interval_reversed(right_a, right_b, dialogue, samples, seed):
    return interval(right_b, right_a, dialogue, samples, seed)


def interval_as_share(right_a, right_b, dialogue, samples, seed):
    return tuple(np.array(interval(right_a, right_b, dialogue, samples, seed)) / 100)


def interval_of_80(right_a, right_b, dialogue, samples, seed):
    return interval(right_a, right_b, dialogue, samples, seed, level=(0.1, 0.9))


def interval_of_few_items(right_a, right_b, dialogue, samples, seed):
    few = (dialogue.max() + 1) // 4
    return interval(right_a, right_b, dialogue, samples, seed, size=few)


def interval_without_replacement(right_a, right_b, dialogue, samples, seed):
    middle = 100 * (right_a - right_b).mean()
    return middle, middle


CASES = {
    "joint_loss": (
        joint,
        [
            (joint_mean_over_padding, "not by B times T"),
            (joint_without_mask, "use the mask"),
            (joint_mean_of_means, "not the mean of the answers' means"),
            (joint_both_summed, "emotion stays a mean"),
        ],
    ),
    "widths": (
        widths,
        [
            (widths_vad_only, "w/o TEE drops V_t, all 14"),
            (widths_fixed, "Use the arguments"),
            (widths_shared_idf, "300 \\+ 14 \\+ 43"),
        ],
    ),
    "paired_bootstrap": (
        interval,
        [
            (interval_not_paired, "the same draw for both"),
            (interval_of_pairs, "that of independent pairs"),
            (interval_of_means, "divide the sum of a draw"),
            (interval_by_formula, "not a multiple of the standard error"),
            (interval_reversed, "a minus b"),
            (interval_as_share, "multiply by 100"),
            (interval_of_80, "2.5 % and 97.5 %"),
            (interval_of_few_items, "as many dialogues as there are"),
            (interval_without_replacement, "with replacement"),
        ],
    ),
}
