"""Statistics whose unit is the dialogue, as the tables and their differences need them.

The pairs of a dialogue share its label and most of its words, so they are not independent: 5,257
test pairs come from 2,546 dialogues. Intervals over pairs would be too narrow.
Shapes: S seeds, n pairs, G dialogues, K draws. Resampled values are [1 + K], the first observed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ctsm_workbench.study.intervals import Array, times_drawn


@dataclass(frozen=True)
class Dialogues:
    """The dialogue of each pair. Dialogues are resampled whole."""

    of_pair: Array  # n, numbers from 0

    def sums(self, values_SN: Array) -> Array:
        """Sums within each dialogue, [S, G]."""
        size = int(self.of_pair.max()) + 1
        return np.array([np.bincount(self.of_pair, row, size) for row in values_SN])

    def resampled_means(self, values_SN: Array, draws: int) -> Array:
        """The mean over all seeds and pairs, and means of samples, [1 + K].

        A sample draws dialogues with replacement and, where there are several seeds, also seeds
        (a hierarchical bootstrap). All values of one shape get the same draws, so that their
        differences are paired.
        """
        seeds = len(values_SN)
        sums = self.sums(values_SN)  # S G
        pairs = self.sums(np.ones((1, len(self.of_pair))))[0]
        times = _times(len(pairs), draws)  # 1+K G
        shares = np.ones((1 + draws, seeds))
        if seeds > 1:
            even = np.full(seeds, 1 / seeds)
            shares[1:] = np.random.default_rng(1).multinomial(seeds, even, size=draws)
        return (shares * (times @ sums.T)).sum(axis=1) / (seeds * (times @ pairs))


@lru_cache(maxsize=1)  # the same draws for all rows of a table
def _times(dialogues: int, draws: int) -> Array:
    return times_drawn(dialogues, draws)


def p_value(drawn: Array) -> float:
    """Two-sided p of a resampled difference [1 + K]: twice the share of the rarer sign."""
    samples = drawn[1:]
    rarer = min(float((samples <= 0).mean()), float((samples >= 0).mean()))
    return min(1.0, 2 * rarer + 1 / len(samples))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) correction: p values that hold for all comparisons of a table together."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.maximum.accumulate(np.asarray(p_values)[order] * factors).clip(max=1.0)
    result = np.empty(len(p_values))
    result[order] = corrected
    return result.tolist()


def jackknife_error(without_SG: Array) -> float:
    """The standard error of a score, from its values without each dialogue.

    Distinct words cannot be bootstrapped: a sample with replacement repeats dialogues, and so has
    fewer distinct words than all answers together. The jackknife leaves out one dialogue at a time
    (Heltshe and Forrester, 1983). With several seeds, the variance of their mean is added.
    """
    seeds, count = without_SG.shape
    mean = without_SG.mean(axis=0)
    variance = (count - 1) / count * np.square(mean - mean.mean()).sum()
    if seeds > 1:
        variance += without_SG.mean(axis=1).var(ddof=1) / seeds
    return float(np.sqrt(variance))


def distinct_without(words: Sequence[Sequence[str]], of_pair: Array, size: int) -> Array:
    """`scores.distinct` of all answers but those of one dialogue, for each dialogue, [G]."""
    owner: dict[tuple[str, ...], int] = {}  # n-gram -> its only dialogue, or -1
    totals = np.zeros(int(of_pair.max()) + 1)
    for number, answer in zip(of_pair.tolist(), words, strict=True):
        grams = list(zip(*(answer[i:] for i in range(size)), strict=False))
        totals[number] += len(grams)
        for gram in grams:
            if owner.setdefault(gram, number) != number:
                owner[gram] = -1
    alone = np.bincount([number for number in owner.values() if number >= 0], minlength=len(totals))
    return 100 * (len(owner) - alone) / np.maximum(totals.sum() - totals, 1)
