"""Confidence intervals: every bootstrap of the study, and the statistics that are resampled.

All intervals hold 95 %. Bootstrap intervals are percentiles (Efron and Tibshirani, 1993). Scores
of the same cases are resampled with the same draws: their differences are paired (Koehn, 2004).
The pairs of a dialogue share its label and most of its words, so scores of pairs are resampled by
dialogue: 5,257 test pairs come from 2,546 dialogues, and intervals over pairs would be too narrow.
Shapes: n cases, S seeds, G dialogues, K draws. Resampled values are [1 + K], the first observed.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats

Array = np.ndarray  # for signatures with many of them


def resampled(
    statistic: Callable[[Array], Any], cases: int, draws: int, random: np.random.Generator
) -> Array:
    """A statistic of all cases and of K samples with replacement, [1 + K]; [nan] without cases.

    `statistic` takes the indices [n] of the sampled cases; it may give several numbers.
    """
    if not cases:
        return np.array([np.nan])
    values = [statistic(np.arange(cases))]
    # One draw at a time: all indices together would need 80 MB for a test split.
    values += [statistic(random.integers(cases, size=cases)) for _ in range(draws)]
    return np.array(values, dtype=np.float64)


@lru_cache(maxsize=2)  # the same draws of dialogues and of seeds for all rows of a table
def times_drawn(cases: int, draws: int, seed: int = 0) -> Array:
    """The times that each case is in each bootstrap sample, [1 + K, n]; row 0: every case once."""
    times = np.ones((1 + draws, cases))
    if cases:
        even = np.full(cases, 1 / cases)
        times[1:] = np.random.default_rng(seed).multinomial(cases, even, size=draws)
    return times


def resampled_means(values_SN: Array, dialogue_N: Array, draws: int) -> Array:
    """The mean over all seeds and pairs, and means of samples, [1 + K].

    A sample draws whole dialogues with replacement, and also seeds where there are several (a
    hierarchical bootstrap). Few seeds lie too near to their own mean, so the drawn differences
    between seeds are scaled by sqrt(S / (S - 1)).
    """
    pairs = np.bincount(dialogue_N)  # G
    sums = np.array([np.bincount(dialogue_N, values) for values in values_SN])  # S G
    times = times_drawn(len(pairs), draws)  # 1+K G
    seeds = len(values_SN)
    shares = times_drawn(seeds, draws, seed=1)  # 1+K S
    means_KS = times @ sums.T / (times @ pairs)[:, None]
    middle = means_KS.mean(axis=1, keepdims=True)
    apart = (shares * (means_KS - middle)).mean(axis=1) * np.sqrt(seeds / max(seeds - 1, 1))
    return middle[:, 0] + apart


def means(values: Array, draws: int, random: np.random.Generator) -> Array:
    """The mean of values [n, ...], followed by means of samples of them, [1 + K, ...]."""
    return resampled(lambda chosen: values[chosen].mean(axis=0), len(values), draws, random)


def auc(scores: Array, positive: Array, negative: Array) -> Array:
    """[K] probabilities that a positive case's score is above a negative one's; a tie is half.

    `positive` and `negative` [K, n] are how often each case is in a class; nan if one is empty.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # equal scores are one group
    if not len(starts):
        return np.full(len(positive), np.nan)
    up = np.add.reduceat(positive[:, order].astype(np.float64), starts, axis=1)
    down = np.add.reduceat(negative[:, order].astype(np.float64), starts, axis=1)
    below = np.cumsum(down, axis=1) - down / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return (up * below).sum(axis=1) / (up.sum(axis=1) * down.sum(axis=1))


def compared_aucs(scores: dict[str, Array], positive: Array, times: Array) -> dict[str, dict]:
    """AUC of every score [n] for n positive or negative cases, resampled by `times` [1 + K, n]."""
    up = times * positive
    down = times * ~positive
    return compared({name: auc(score, up, down) for name, score in scores.items()})


def percentiles(drawn: Array) -> tuple[float, float]:
    """The 95 % interval of resampled values [K]; those that are nan are left out."""
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def student_interval(values: list[float]) -> tuple[float, float]:
    """Student's t interval of the mean of two values or more."""
    mean = float(np.mean(values))
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return mean - float(half), mean + float(half)


def rounded(value: Any, digits: int = 4) -> Any:
    """Numbers as JSON has them: nested dictionaries and lists of floats, None in place of nan."""
    if isinstance(value, dict):
        return {key: rounded(part, digits) for key, part in value.items()}
    if np.ndim(value):
        return [rounded(part, digits) for part in value]
    return None if np.isnan(value) else round(float(value), digits)


def percent(values: Array) -> float | None:
    """The per cent of values [n] that are true; None without values."""
    return rounded(100 * values.mean()) if len(values) else None


def estimate(drawn: Array) -> dict:
    """Value, low and high of resampled values [1 + K]; None where the observed one is nan."""
    some = len(drawn) > 1 and not np.isnan(drawn[0])
    low, high = percentiles(drawn[1:]) if some else (drawn[0], drawn[0])
    return rounded({"value": drawn[0], "low": low, "high": high})


def compared(values: dict[str, Array]) -> dict[str, dict]:
    """The estimate of every score [1 + K], and of its difference to each before it (`minus`)."""
    result: dict = {}
    for name, drawn in values.items():
        minus = {before: estimate(drawn - values[before]) for before in result}
        result[name] = estimate(drawn) | ({"minus": minus} if minus else {})
    return result


def rank_correlation(a: Array, b: Array, draws: int = 200) -> dict:
    """Spearman's correlation of two [n] arrays, with an interval from resampled words."""
    drawn = np.array([np.nan])
    if len(a) >= 3 and np.ptp(a) > 0 and np.ptp(b) > 0:
        ranks = np.stack([stats.rankdata(a), stats.rankdata(b)])
        random = np.random.default_rng(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = resampled(lambda i: np.corrcoef(ranks[:, i])[0, 1], len(a), draws, random)
    return {"words": len(a)} | estimate(drawn)


def p_value(drawn: Array) -> float:
    """Two-sided p of a resampled difference [1 + K]: twice the share of the rarer sign."""
    samples = drawn[1:]
    rarer = min((samples <= 0).mean(), (samples >= 0).mean())
    return float(min(1.0, 2 * rarer + 1 / len(samples)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) correction: p values that hold for all comparisons of a table together."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.maximum.accumulate(np.asarray(p_values)[order] * factors).clip(max=1.0)
    return corrected[np.argsort(order)].tolist()


def jackknife_error(without_SG: Array) -> float:
    """The jackknife's standard error of a score, from its values without each dialogue.

    Distinct words cannot be bootstrapped: a sample repeats dialogues, and so has fewer of them
    (Heltshe and Forrester, 1983). With several seeds, the variance of their mean is added.
    """
    seeds, count = without_SG.shape
    mean = without_SG.mean(axis=0)
    variance = (count - 1) / count * np.square(mean - mean.mean()).sum()
    if seeds > 1:
        variance += without_SG.mean(axis=1).var(ddof=1) / seeds
    return float(np.sqrt(variance))
