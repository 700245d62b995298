"""The choices that the paper leaves open, and the count under each of them.

Paper: Sec. 5.4; specification, Section 6. The choices are listed and explained in `choices.toml`.
"""

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ctsm_lib import polarity as paper
from ctsm_lib.errors import DataError
from ctsm_lib.polarity import NO_STATE, lengths_of, trait_polarity
from ctsm_workbench.study.intervals import Array, percentiles, resampled, rounded

CHOICES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
THRESHOLDS: list[float] = CHOICES["thresholds"]
BANDS: list[float] = CHOICES["bands"]
QUALITIES = {"all": (0, 1, 2, 3), "published": (0, 1), "exact": (0,)}  # keys of `vectors.KINDS`
_RULES = 16  # at a time: the sums of their groups share one pass over the vectors


@dataclass(frozen=True)
class Rule:
    """One way to count, see `choices.toml`; the defaults are the paper's."""

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
    """The result of a rule, in per cent of the words counted; `reason` explains a missing share."""

    words: int = 0
    differ: int = 0
    share: float | None = None
    low: float | None = None  # 95 % bootstrap interval: words are resampled, centroids are kept
    high: float | None = None
    positive_trait: float | None = None
    positive_state: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Words:
    """Data of n different words. Arrays that do not fit raise a `DataError`."""

    words: Sequence[str]
    vad: Array  # [n, 3] valence in [0, 1], arousal, dominance
    rated: Array  # [n] bool, whether the lexicon has the word
    vectors: Array  # [n, d]
    kind: Array  # [n] a key of `vectors.KINDS`; -1 where there is no vector
    counts: Array  # [n] how often each word occurs

    def __post_init__(self) -> None:
        for name in ("vad", "rated", "vectors", "kind", "counts"):
            shape = getattr(self, name).shape
            if len(shape) != 1 + (name in ("vad", "vectors")) or shape[0] != len(self.words):
                reason = f"has the shape {shape}, but there are {len(self.words)} words."
                raise DataError(f"{name} {reason}")
        if twice := [word for word, count in Counter(self.words).items() if count > 1]:
            raise DataError(f"The word {twice[0]!r} is there twice and would count twice.")
        if not ((self.valence >= 0) & (self.valence <= 1)).all():  # also false for nan
            way_out = "Convert ratings in [-1, 1] (NRC VAD v2) with (v + 1) / 2."
            raise DataError(f"A valence is not in [0, 1]. {way_out}")
        if not (finite := np.isfinite(self.lengths)).all():
            raise DataError(f"The vector of {self.words[int(finite.argmin())]!r} is not finite.")

    @property
    def valence(self) -> Array:
        """[n] in [0, 1]."""
        return self.vad[:, 0]

    @cached_property
    def lengths(self) -> Array:
        """[n] lengths of the vectors; 0 where there is none."""
        return np.where(self.kind >= 0, lengths_of(self.vectors), 0.0)


class Outcome(NamedTuple):
    """Polarities of n words by one rule; words without a vector have no state."""

    trait: Array  # [n] 0 or 1
    state: Array  # [n] 0, 1 or NO_STATE
    cosines: Array  # [n, 2] to the positive and to the negative centroid


def rules_for(data: Words, own: Rule | None = None) -> list[Rule]:
    """The rules that can differ from the paper's for these data, then `own`, then the sweep."""
    rules = [rule for fields in CHOICES["rules"] if _matters(rule := Rule(**fields), data)]
    rules += [] if own is None else [own]
    only = Rule("sweep, rated words", unrated="left out")
    rules += [replace(only, threshold=t, band=band) for t in THRESHOLDS for band in BANDS]
    # Below the neutral valence, all unrated words become positive: the sweep shows this jump.
    unrated: dict[float, Any] = {t: "negative" if t >= 0.5 else "positive" for t in THRESHOLDS}
    return rules + [Rule("sweep, all words", side, threshold=t) for t, side in unrated.items()]


def _matters(rule: Rule, data: Words) -> bool:
    if rule.vectors == "all":
        return rule.missing == "left out" or not data.lengths.all()
    chosen = np.isin(data.kind, QUALITIES[rule.vectors]).sum()
    return bool(0 < chosen < (data.kind >= 0).sum())


def evaluate(
    data: Words, rules: list[Rule], random: np.random.Generator
) -> tuple[list[Outcome], list[PolarityReport]]:
    """The outcome of the first two rules, and the report of every rule."""
    outcomes: list[Outcome] = []
    reports: list[PolarityReport] = []
    coin = random.integers(0, 2, len(data.valence))
    for begin in range(0, len(rules), _RULES):
        some = rules[begin : begin + _RULES]
        groups = [_groups(rule, data) for rule in some]
        weights = np.concatenate([group[2] for group in groups], axis=1)
        leave_out = np.repeat([rule.leave_one_out for rule in some], 2)
        cosines = paper.group_cosines(data.vectors, data.lengths, weights, leave_out)
        pairs = np.split(cosines, len(some), axis=1)
        for rule, (trait, part, weight), pair in zip(some, groups, pairs, strict=True):
            state = np.where(weight.any(axis=1), paper.sides(pair), NO_STATE)
            if len(outcomes) < 2:
                outcomes.append(Outcome(trait, state, pair))
            fills: dict = {"negative": 0, "random": coin, "agree": trait, "disagree": 1 - trait}
            state = np.where(state == NO_STATE, fills.get(rule.missing, NO_STATE), state)
            used = part & (state != NO_STATE)
            if rule.count != "all":
                used &= data.rated == (rule.count == "rated")
            often = data.counts[used] if rule.weighted else None
            reports.append(_report(trait[used], state[used], often, random))
    return outcomes, reports


def _groups(rule: Rule, data: Words) -> tuple[Array, Array, Array]:
    """Trait [n], the words that take part [n], and their weights [n, 2] in both groups."""
    trait = trait_polarity(data.valence, rule.threshold)
    trait[~data.rated] = rule.unrated == "positive"
    part = data.rated | (rule.unrated != "left out")
    if rule.band:
        part &= np.abs(data.valence - rule.threshold) > rule.band + 1e-6
    has = part & np.isin(data.kind, QUALITIES[rule.vectors])
    return trait, part, paper.group_weights(trait, data.lengths * has, rule.unit)


def _report(trait: Array, state: Array, often: Array | None, random: Any) -> PolarityReport:
    n = len(trait)
    if not (n if often is None else often.sum()):  # a sweep may run out of words
        return PolarityReport(reason="No word is left to count, or one of the groups is empty.")
    differ = trait != state
    if often is None:  # of n words drawn with replacement, the number that differ is binomial
        shares = random.binomial(n, differ.mean(), 2000) / n
    else:
        # A sample may hold words of weight 0 only.
        shares = resampled(
            lambda sample: np.average(differ[sample], weights=often[sample] + 1e-12),
            n, draws=200, random=random,
        )[1:]  # fmt: skip
    share, *positive = np.average(np.stack([differ, trait, state]), axis=1, weights=often)
    shown = rounded([100 * value for value in (share, *percentiles(shares), *positive)])
    return PolarityReport(n, int(differ.sum()), *shown)
