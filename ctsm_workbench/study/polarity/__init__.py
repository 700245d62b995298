"""The analysis of Section 5.4: every choice that the paper leaves open, the 32 labels, and chance.

The choices are listed and explained in `choices.toml`. Source: specification, Section 6.
"""

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ctsm_lib import polarity as paper
from ctsm_lib.corpus import EMOTIONS, SPECIALS
from ctsm_lib.errors import DataError
from ctsm_lib.polarity import NO_STATE, TIE, blocks, group_sums, lengths_of, trait_polarity
from ctsm_lib.prepare import Prepared
from ctsm_workbench.study import sentence
from ctsm_workbench.study.intervals import Array, percentiles, resampled, rounded
from ctsm_workbench.study.polarity.frequent import discrepant_words, word_map
from ctsm_workbench.study.polarity.standards import QUALITIES, outside_standards

__all__ = ["BANDS", "PAPER_SHARE", "QUALITIES", "THRESHOLDS", "Rule", "Words", "analyse"]
__all__ += ["analyse_prepared", "discrepant_words", "outside_standards", "word_map"]

PAPER_SHARE = 48.75  # per cent of 23,712 words
CHOICES = tomllib.loads(Path(__file__).with_name("choices.toml").read_text(encoding="utf-8"))
THRESHOLDS: list[float] = CHOICES["thresholds"]
BANDS: list[float] = CHOICES["bands"]
# Results of a rule, in per cent of the words counted. The 95 % bootstrap interval from `low` to
# `high` resamples words and keeps centroids.
SHARES = ("share", "low", "high", "positive_trait", "positive_state")


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
        if not ((self.vad[:, 0] >= 0) & (self.vad[:, 0] <= 1)).all():  # also false for nan
            way_out = "Convert ratings in [-1, 1] (NRC VAD v2) with (v + 1) / 2."
            raise DataError(f"A valence is not in [0, 1]. {way_out}")
        if not (finite := np.isfinite(self.lengths)).all():
            raise DataError(f"The vector of {self.words[int(finite.argmin())]!r} is not finite.")

    @cached_property
    def lengths(self) -> Array:
        """[n] lengths of the vectors; 0 where there is none."""
        return np.where(self.kind >= 0, lengths_of(self.vectors), 0.0)


def rules_for(data: Words, own: Rule | None = None) -> list[Rule]:
    """The rules that can differ from the paper's for these data, then `own`, then the sweep."""
    rules = [rule for fields in CHOICES["rules"] if _matters(rule := Rule(**fields), data)]
    rules += [] if own is None else [own]
    only = Rule("sweep, rated words", unrated="left out")
    rules += [replace(only, threshold=t, band=band) for t in THRESHOLDS for band in BANDS]
    # Below the neutral valence, all unrated words become positive: the sweep shows this jump.
    every = Rule("sweep, all words")
    low = replace(every, unrated="positive")
    return rules + [replace(every if t >= 0.5 else low, threshold=t) for t in THRESHOLDS]


def _matters(rule: Rule, data: Words) -> bool:
    if rule.vectors == "all":
        return rule.missing == "left out" or not data.lengths.all()
    chosen = np.isin(data.kind, QUALITIES[rule.vectors]).sum()
    return bool(0 < chosen < (data.kind >= 0).sum())


def _evaluate(data: Words, rules: list[Rule], random: np.random.Generator) -> tuple[list, list]:
    """Trait [n], state [n] and cosines [n, 2] of every rule, and its row of the result."""
    polarities = []
    rows = []
    coin = random.integers(0, 2, len(data.words))
    groups = [_groups(rule, data) for rule in rules]
    # The sums of all groups share one pass over the vectors.
    weights = np.concatenate([group[2] for group in groups], axis=1)
    leave_out = np.repeat([rule.leave_one_out for rule in rules], 2)
    cosines = paper.group_cosines(data.vectors, data.lengths, weights, leave_out)
    pairs = np.split(cosines, len(rules), axis=1)
    for rule, (trait, part, weight), pair in zip(rules, groups, pairs, strict=True):
        state = np.where(weight.any(axis=1), paper.sides(pair), NO_STATE)
        polarities.append((trait, state, pair))
        fills: dict = {"negative": 0, "random": coin, "agree": trait, "disagree": 1 - trait}
        state = np.where(state == NO_STATE, fills.get(rule.missing, NO_STATE), state)
        used = part & (state != NO_STATE)
        if rule.count != "all":
            used &= data.rated == (rule.count == "rated")
        often = data.counts[used] if rule.weighted else None
        rows.append(asdict(rule) | _report(trait[used], state[used], often, random))
    return polarities, rows


def _groups(rule: Rule, data: Words) -> tuple[Array, Array, Array]:
    """Trait [n], the words that take part [n], and their weights [n, 2] in both groups."""
    trait = trait_polarity(data.vad[:, 0], rule.threshold)
    trait[~data.rated] = rule.unrated == "positive"
    part = data.rated | (rule.unrated != "left out")
    if rule.band:
        part &= np.abs(data.vad[:, 0] - rule.threshold) > rule.band + 1e-6
    has = part & np.isin(data.kind, QUALITIES[rule.vectors])
    return trait, part, paper.group_weights(trait, data.lengths * has, rule.unit)


def _report(trait: Array, state: Array, often: Array | None, random: Any) -> dict:
    n = len(trait)
    if not (n if often is None else often.sum()):  # a sweep may run out of words
        reason = "No word is left to count, or one of the groups is empty."
        return {"words": 0, "differ": 0} | dict.fromkeys(SHARES) | {"reason": reason}
    differ = trait != state
    if often is None:  # of n words drawn with replacement, the number that differ is binomial
        shares = random.binomial(n, differ.mean(), 2000) / n
    else:
        some = often + 1e-12  # a sample may hold words of weight 0 only
        shares = resampled(lambda i: np.average(differ[i], weights=some[i]), n, 200, random)[1:]
    share, *positive = np.average(np.stack([differ, trait, state]), axis=1, weights=often)
    shown = rounded([100 * value for value in (share, *percentiles(shares), *positive)])
    counts = {"words": n, "differ": int(differ.sum())}
    return counts | dict(zip(SHARES, shown, strict=True)) | {"reason": ""}


def analyse(
    data: Words, labels: Sequence[str] = EMOTIONS, own: Rule | None = None, *,
    draws: int = 100, seed: int = 0,
) -> dict:  # fmt: skip
    """The paper's count, and the same count under every choice that the paper leaves open.

    `labels` are words that are reported one by one, `own` is a further choice. `draws` and `seed`
    are of permutations and bootstrap. The JSON data are choices (the paper's rule, rated words
    only, ...), sweep, permutation, labels, conclusion. Without a positive or without a negative
    word, a `DataError` is raised. Paper: Sec. 5.4. Departure: the paper gives one number; most of
    its words have no rating.
    """
    trait = trait_polarity(data.vad[:, 0]) * data.rated
    paper.both_groups(paper.group_weights(trait, data.lengths, unit=False))
    polarities, rows = _evaluate(data, rules_for(data, own), np.random.default_rng(seed))
    index = {word: i for i, word in enumerate(data.words)}
    table = [_label(index[word], data, polarities) for word in labels if word in index]
    has = data.lengths > 0
    result = {
        "words": len(data.words),
        "rated": int(data.rated.sum()),
        "with_vector": int(has.sum()),
        "rated_with_vector": int((data.rated & has).sum()),
        "paper_share": PAPER_SHARE,
        "choices": [row for row in rows if not row["label"].startswith("sweep")],
        "sweep": [row for row in rows if row["label"].startswith("sweep")],
        "permutation": _permutations(data, rows, draws, seed),
        "labels": table,
        "labels_differ": [row["word"] for row in table if row["differ"]],
        "labels_missing": [word for word in labels if word not in index],
    }
    return result | {"labels_note": _labels_note(table), "conclusion": _conclusion(result)}


def analyse_prepared(
    prepared: Prepared, neutral: str = "standard", own: Rule | None = None, draws: int = 100,
    ids: np.ndarray | None = None,
) -> dict:  # fmt: skip
    """`analyse` for prepared data, with the description of data, vectors and lexicon.

    `neutral` is the rating of unrated words, a key of `lexicon.NEUTRAL_VAD`; all are negative.
    `ids` [n] are the words; by default the whole vocabulary, without special tokens.
    """
    corpus = prepared.corpus
    vectors = prepared.vectors
    words = corpus.vocabulary.words
    ids = np.arange(len(SPECIALS), len(words)) if ids is None else ids
    vad, rated = (array[ids] for array in prepared.lexicon.table(corpus.vocabulary, neutral))
    data = Words(
        words=[words[i] for i in ids], vad=vad, rated=rated, vectors=vectors.matrix[ids],
        kind=vectors.kind[ids], counts=corpus.counts[ids],
    )  # fmt: skip
    description = prepared.description | {"neutral_vad": neutral}
    return {"description": description} | analyse(data, own=own, draws=draws)


def _label(i: int, data: Words, polarities: list) -> dict:
    """A label's ratings, cosines, and polarities by the paper's rule and with rated words only."""
    traits, _, cosines = polarities[0]
    names = ("valence", "arousal", "dominance", "cos_positive", "cos_negative")
    values = rounded(dict(zip(names, (*data.vad[i], *cosines[i]), strict=True)), 6)
    row = {"word": data.words[i], "rated": bool(data.rated[i]), "trait": int(traits[i])} | values
    for name, (trait, state, _) in zip(("", "_rated_only"), polarities, strict=False):
        known = state[i] != NO_STATE
        row[f"state{name}"] = int(state[i]) if known else None
        row[f"differ{name}"] = bool(state[i] != trait[i]) if known else None
    return row


def _permutations(data: Words, rows: Sequence[dict], draws: int, seed: int) -> dict:
    """Shares that differ when traits are shuffled among all words or among the rated ones."""
    has = data.lengths > 0
    trait = trait_polarity(data.vad[:, 0]) * data.rated
    result: dict = {"draws": draws, "seed": seed}
    for name, used, free, observed in (
        ("all words", has, has, rows[0]["share"]),
        ("all words, only ratings shuffled", has, data.rated, rows[0]["share"]),
        ("rated words", has & data.rated, has, rows[1]["share"]),
    ):
        if observed is not None and draws:
            vectors = data.vectors[used]
            shares = shuffled_shares(vectors, trait[used], free[used], draws, seed=seed)
            row = {"mean": shares.mean(), "observed": observed}
            row["low"], row["high"] = percentiles(shares)
            row["p"] = (1 + (shares <= observed + 1e-4).sum()) / (1 + draws)
            result[name] = rounded(row)
    return result


def _labels_note(table: Sequence[dict]) -> str:
    named = {}
    for key in ("differ", "differ_rated_only"):
        words = [row["word"] for row in table if row[key]]
        named[key] = f"{len(words)}: {', '.join(words)}" if words else "0"
    return sentence("polarity", "labels", count=len(table), **named)


def _conclusion(result: dict) -> str:
    own, rated = result["choices"][:2]
    chance = result["permutation"].get("rated words")
    unrated = 100 - 100 * result["rated_with_vector"] / result["with_vector"]
    start = sentence("polarity", "paper", paper=own, paper_share=PAPER_SHARE, unrated=unrated)
    if chance is None:
        return f"{start} {sentence('polarity', 'no_rated')}"
    fewer = "fewer" if chance["p"] < 0.05 else "no fewer"
    return f"{start} {sentence('polarity', 'rated', rated=rated, chance=chance, fewer=fewer)}"


def shuffled_shares(
    vectors: np.ndarray, trait: np.ndarray, free: np.ndarray, draws: int, seed: int
) -> np.ndarray:
    """[K] per cent of words whose state differs from a shuffled trait: the share by chance.

    Traits are shuffled among the words of `free` [n]; the others keep theirs. No vector may be
    zero. All draws share two products: the groups' sums, and the differences of the cosines.
    """
    random = np.random.default_rng(seed)
    dealt = np.repeat(np.asarray(trait, dtype=bool)[None], draws, axis=0)
    for labels in dealt:
        labels[free] = random.permutation(labels[free])
    positive = group_sums(vectors, dealt.T)
    negative = group_sums(vectors, np.ones((len(trait), 1))) - positive
    axis = positive / np.fmax(lengths_of(positive), 1e-30)[:, None]
    axis -= negative / np.fmax(lengths_of(negative), 1e-30)[:, None]
    differ = np.zeros(draws)
    for rows, block in blocks(vectors):
        differ += ((axis @ block.T > TIE * lengths_of(block)) != dealt[:, rows]).sum(axis=1)
    return 100 * differ / len(trait)
