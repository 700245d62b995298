"""The choices that the paper leaves open, and the count under each of them. Paper: Sec. 5.4; specification, Section 6."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ctsm_lib.polarity import NO_STATE, group_cosines, group_weights, sides, trait_polarity

QUALITIES = {"all": (0, 1, 2, 3), "published": (0, 1), "exact": (0,)}  # keys of `vectors.KINDS`
THRESHOLDS, BANDS = (0.4, 0.45, 0.5, 0.55, 0.6), (0.0, 0.05, 0.1, 0.2, 0.3)
_RULES = 16  # at a time: their groups' sums share one pass over the vectors


@dataclass(frozen=True)
class Rule:
    """One way to count; the defaults are the paper's."""

    label: str = "the paper's rule"
    unrated: Literal["negative", "positive", "left out"] = (
        "negative"  # trait of unrated words; neutral 0.5 is negative
    )
    # State of words without a vector: a zero vector ties and is negative; a random one, as a model gets it, tosses a
    # coin; "agree" and "disagree" are the bounds.
    missing: Literal["left out", "negative", "random", "agree", "disagree"] = "left out"
    count: Literal["all", "rated", "unrated"] = (
        "all"  # of the words that make the centroids, which are counted
    )
    vectors: Literal["all", "published", "exact"] = (
        "all"  # vectors of lower quality are taken for none
    )
    unit: bool = False  # centroids of unit vectors, so that long vectors do not count more
    leave_one_out: bool = False  # a word has no vote in the centroids that it is compared with
    weighted: bool = False  # words count as often as they occur
    threshold: float = 0.5  # positive above
    band: float = 0.0  # this close to the threshold a word is neutral and left out


@dataclass(frozen=True)
class PolarityReport:
    """What one rule gives, in per cent of the words counted; `reason` says why, where there is no share."""

    words: int = 0
    differ: int = 0
    share: float | None = None
    low: float | None = None  # 95 % bootstrap interval: words resampled, centroids kept
    high: float | None = None
    positive_trait: float | None = None
    positive_state: float | None = None
    reason: str = ""


def rules_for(data: dict[str, np.ndarray], own: Rule | None = None) -> list[Rule]:
    """The table of choices and the sweep, for data in which not every choice makes a difference.

    Args:
        data: what `analysis.analyse` checked: lengths and kind matter.
        own: one more, chosen by the user.
    """
    rated: dict[str, Any] = {"unrated": "left out"}
    rules = [Rule(), Rule("rated words only", **rated)]
    for name, only in (("all words", {}), ("rated words", rated)):
        rules.append(Rule(f"{name}, leave-one-out", leave_one_out=True, **only))
        rules.append(Rule(f"{name}, unit vectors", unit=True, **only))
        rules.append(Rule(f"{name}, by frequency", weighted=True, **only))
    rules.append(Rule("unrated words positive", "positive"))
    rules += [
        Rule("rated words, all centroids", count="rated"),
        Rule("unrated words, all centroids", count="unrated"),
    ]
    fates: tuple[Any, ...] = ("negative", "random", "agree", "disagree")
    if not data["lengths"].all():
        rules += [Rule(f"words without vector: {fate}", missing=fate) for fate in fates]
    better: Any = [
        q
        for q, k in QUALITIES.items()
        if 0 < np.isin(data["kind"], k).sum() < (data["kind"] >= 0).sum()
    ]
    for quality in better:
        rules.append(Rule(f"{quality} vectors", vectors=quality))
        rules.append(Rule(f"{quality} vectors, rated words", vectors=quality, **rated))
        rules += [
            Rule(f"{quality} vectors, other words {fate}", vectors=quality, missing=fate)
            for fate in fates
        ]
    if own is not None:
        rules.append(own)
    rules += [
        Rule("sweep, rated words", threshold=t, band=b, **rated) for t in THRESHOLDS for b in BANDS
    ]
    # Below the neutral valence, a threshold turns all unrated words positive: that is the point of showing it.
    traits: Any = [(t, "negative" if t >= 0.5 else "positive") for t in THRESHOLDS]
    return rules + [Rule("sweep, all words", unrated, threshold=t) for t, unrated in traits]


def evaluate(
    data: dict, rules: list[Rule], random: np.random.Generator
) -> tuple[list[tuple], list[PolarityReport]]:
    """Trait [n], state [n] and cosines [n, 2] of the first two rules, and the report of every rule."""
    shown: list[tuple] = []
    reports: list[PolarityReport] = []
    coin = random.integers(0, 2, len(data["valence"]))
    for some in (rules[begin : begin + _RULES] for begin in range(0, len(rules), _RULES)):
        kept, columns = [], []
        for rule in some:
            trait = trait_polarity(data["valence"], rule.threshold)
            trait[~data["rated"]] = rule.unrated == "positive"
            part = data["rated"] | (rule.unrated != "left out")
            part &= (rule.band == 0) | (np.abs(data["valence"] - rule.threshold) > rule.band + 1e-6)
            has = part & (data["lengths"] > 0) & np.isin(data["kind"], QUALITIES[rule.vectors])
            columns.append(group_weights(trait, data["lengths"] * has, rule.unit))
            kept.append((rule, trait, part, has))
        leave_out = np.repeat([rule.leave_one_out for rule in some], 2)
        cosines = group_cosines(
            data["vectors"], data["lengths"], np.concatenate(columns, axis=1), leave_out
        )
        for (rule, trait, part, has), pair in zip(
            kept, np.split(cosines, len(kept), axis=1), strict=True
        ):
            state = np.where(has, sides(pair), NO_STATE)
            shown += [(trait, state, pair)] if len(shown) < 2 else []
            fills = {
                "left out": NO_STATE,
                "negative": 0,
                "random": coin,
                "agree": trait,
                "disagree": 1 - trait,
            }
            fill: Any = fills[rule.missing]
            state = np.where(state == NO_STATE, fill, state)
            used = part & (state != NO_STATE)
            used &= {"all": True, "rated": data["rated"], "unrated": ~data["rated"]}[rule.count]
            weight = data["counts"][used] if rule.weighted else np.ones(int(used.sum()))
            reports.append(_report(trait[used], state[used], weight, rule.weighted, random))
    return shown, reports


def _report(
    trait: np.ndarray, state: np.ndarray, weight: np.ndarray, weighted: bool, random: Any
) -> PolarityReport:
    if not weight.sum():  # a sweep may run out of words; the paper's rule may not
        return PolarityReport(
            reason="No word is left to be counted, or one of the groups is empty."
        )
    differ, n = trait != state, len(trait)
    if weighted:
        picks = (random.integers(n, size=n) for _ in range(200))
        shares = [np.average(differ[pick], weights=weight[pick] + 1e-12) for pick in picks]
    else:  # of n words drawn with replacement, the number that differ is binomial
        shares = random.binomial(n, differ.mean(), 2000) / n
    share, *means = np.average(np.stack([differ, trait, state]), axis=1, weights=weight)
    values = (
        round(100 * float(value), 4)
        for value in (share, *np.quantile(shares, (0.025, 0.975)), *means)
    )
    return PolarityReport(n, int(differ.sum()), *values)  # type: ignore[arg-type]
