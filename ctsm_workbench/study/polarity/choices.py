"""The choices that the paper leaves open, and the count under each of them. Paper: Sec. 5.4; specification, Section 6.

The rules that are compared are listed in `choices.toml`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ctsm_lib.polarity import NO_STATE, group_cosines, group_weights, sides, trait_polarity
from ctsm_workbench.study.intervals import percentiles, resampled

QUALITIES = {"all": (0, 1, 2, 3), "published": (0, 1), "exact": (0,)}  # keys of `vectors.KINDS`
THRESHOLDS = (0.4, 0.45, 0.5, 0.55, 0.6)
BANDS = (0.0, 0.05, 0.1, 0.2, 0.3)
_RULES = 16  # at a time: the sums of their groups share one pass over the vectors


@dataclass(frozen=True)
class Rule:
    """One way to count; the defaults are the paper's.

    Attributes:
        unrated: the trait of unrated words; the neutral valence 0.5 is negative.
        missing: the state of words without a vector. A zero vector is a tie and so negative; a model gives them a
            random vector, which is like tossing a coin; "agree" and "disagree" are the bounds.
        count: the words that are counted, of those that make the centroids.
        vectors: vectors of lower quality are treated as missing.
        unit: centroids are means of unit vectors, so that long vectors do not count more.
        leave_one_out: a word is left out of the centroids that it is compared with.
        weighted: words count as often as they occur.
        threshold: valences above it are positive.
        band: words this close to the threshold are neutral and left out.
    """

    label: str = "the paper's rule"
    unrated: Literal["negative", "positive", "left out"] = "negative"
    missing: Literal["left out", "negative", "random", "agree", "disagree"] = "left out"
    count: Literal["all", "rated", "unrated"] = "all"
    vectors: Literal["all", "published", "exact"] = "all"
    unit: bool = False
    leave_one_out: bool = False
    weighted: bool = False
    threshold: float = 0.5
    band: float = 0.0


@dataclass(frozen=True)
class PolarityReport:
    """The result of one rule, in per cent of the words counted; `reason` explains a missing share.

    `low` and `high` are a 95 % bootstrap interval: words are resampled, centroids are kept.
    """

    words: int = 0
    differ: int = 0
    share: float | None = None
    low: float | None = None
    high: float | None = None
    positive_trait: float | None = None
    positive_state: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Words:
    """Checked data of n words: [n] each, `vectors` [n, d]; `lengths` is 0 and `kind` -1 without a vector."""

    valence: np.ndarray
    rated: np.ndarray
    vectors: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray
    kind: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """Trait [n], state [n] and cosines [n, 2] to both centroids by one rule, before missing states are filled."""

    trait: np.ndarray
    state: np.ndarray
    cosines: np.ndarray


def rules_for(data: Words, own: Rule | None = None) -> list[Rule]:
    """The rules whose result can differ from the paper's for these data, then `own`, then the sweep."""
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    rules = [Rule(**fields) for fields in tomllib.loads(text)["rules"]]
    rules = [rule for rule in rules if _matters(rule, data)]
    if own is not None:
        rules.append(own)
    for threshold in THRESHOLDS:
        for band in BANDS:
            rated: Any = {"unrated": "left out", "threshold": threshold, "band": band}
            rules.append(Rule("sweep, rated words", **rated))
    for threshold in THRESHOLDS:
        # Below the neutral valence, all unrated words become positive: the sweep shows this jump.
        unrated: Any = "negative" if threshold >= 0.5 else "positive"
        rules.append(Rule("sweep, all words", unrated, threshold=threshold))
    return rules


def _matters(rule: Rule, data: Words) -> bool:
    if rule.vectors != "all":
        chosen = np.isin(data.kind, QUALITIES[rule.vectors]).sum()
        return bool(0 < chosen < (data.kind >= 0).sum())
    return rule.missing == "left out" or not data.lengths.all()


def evaluate(
    data: Words, rules: list[Rule], random: np.random.Generator
) -> tuple[list[Outcome], list[PolarityReport]]:
    """The outcome of every word by the first two rules, and the report of every rule."""
    outcomes: list[Outcome] = []
    reports: list[PolarityReport] = []
    coin = random.integers(0, 2, len(data.valence))
    for begin in range(0, len(rules), _RULES):
        some = rules[begin : begin + _RULES]
        groups = [_groups(rule, data) for rule in some]
        weights = [
            group_weights(trait, data.lengths * has, rule.unit)
            for rule, (trait, _, has) in zip(some, groups, strict=True)
        ]
        cosines = group_cosines(
            data.vectors,
            data.lengths,
            weights=np.concatenate(weights, axis=1),
            leave_out=np.repeat([rule.leave_one_out for rule in some], 2),
        )
        columns = np.split(cosines, len(some), axis=1)
        for rule, (trait, part, has), own in zip(some, groups, columns, strict=True):
            state = np.where(has, sides(own), NO_STATE)
            if len(outcomes) < 2:
                outcomes.append(Outcome(trait, state, own))
            fills = {"negative": 0, "random": coin, "agree": trait, "disagree": 1 - trait}
            state = np.where(state == NO_STATE, fills.get(rule.missing, NO_STATE), state)
            counted = {"rated": data.rated, "unrated": ~data.rated}.get(rule.count, True)
            used = part & (state != NO_STATE) & counted
            weight = data.counts[used] if rule.weighted else None
            reports.append(_report(trait[used], state[used], weight, random))
    return outcomes, reports


def _groups(rule: Rule, data: Words) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trait [n]; the words that take part [n]; those of them that have a vector [n]."""
    trait = trait_polarity(data.valence, rule.threshold)
    trait[~data.rated] = rule.unrated == "positive"
    part = data.rated | (rule.unrated != "left out")
    if rule.band:
        part &= np.abs(data.valence - rule.threshold) > rule.band + 1e-6
    has = part & (data.lengths > 0) & np.isin(data.kind, QUALITIES[rule.vectors])
    return trait, part, has


def _report(
    trait: np.ndarray, state: np.ndarray, weight: np.ndarray | None, random: np.random.Generator
) -> PolarityReport:
    n = len(trait)
    if not (n if weight is None else weight.sum()):  # a sweep may run out of words
        return PolarityReport(
            reason="No word is left to be counted, or one of the groups is empty."
        )
    differ = trait != state
    if weight is None:  # of n words drawn with replacement, the number that differ is binomial
        shares = random.binomial(n, differ.mean(), 2000) / n
    else:
        positive = weight + 1e-12  # a sample may hold words of weight 0 only
        shares = resampled(
            lambda i: np.average(differ[i], weights=positive[i]), n, draws=200, random=random
        )[1:]
    means = np.average(np.stack([differ, trait, state]), axis=1, weights=weight)
    share, low, high, positive_trait, positive_state = (
        round(100 * float(value), 4) for value in (means[0], *percentiles(shares), *means[1:])
    )
    return PolarityReport(n, int(differ.sum()), share, low, high, positive_trait, positive_state)
