"""Confidence intervals: every bootstrap of the study, and the statistics that are resampled.

All intervals hold 95 %. Bootstrap intervals are percentiles (Efron and Tibshirani, 1993). Scores
of the same cases are resampled with the same draws: their differences are paired (Koehn, 2004).
`resampled` and `times_drawn` alone draw samples, so that they decide what a case is.
Shapes: n cases, K draws. Resampled values are [1 + K], the observed one first.
"""

from collections.abc import Callable
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


def times_drawn(cases: int, draws: int) -> Array:
    """How often each case is in each bootstrap sample, [1 + K, n]; row 0 has every case once."""
    times = np.ones((1 + draws, cases))
    if cases:
        even = np.full(cases, 1 / cases)
        times[1:] = np.random.default_rng(0).multinomial(cases, even, size=draws)
    return times


def means(values: Array, draws: int, random: np.random.Generator) -> Array:
    """The mean of values [n, ...], followed by means of samples of them, [1 + K, ...]."""
    return resampled(lambda chosen: values[chosen].mean(axis=0), len(values), draws, random)


def auc(scores: Array, positive: Array, negative: Array) -> Array:
    """The probability that a positive case has a higher score than a negative one; ties count half.

    Scores are [n]; `positive` and `negative` are [K, n], how often each occurs in either class.
    The result is [K], 0.5 by chance, and nan where a class is empty.
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
    low = high = drawn[0]
    if len(drawn) > 1 and not np.isnan(drawn[0]):
        low, high = percentiles(drawn[1:])
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
