"""How often what a word means by itself and where its vector lies disagree, and what that number depends on.

Paper: Sec. 5.4 and Figure 3. Legend of shapes: n words, d dimensions, G groups of words, K draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ctsm_lib.corpus import EMOTIONS, SPECIALS
from ctsm_lib.errors import DataError
from ctsm_lib.prepare import Prepared

PAPER_SHARE = 48.75  # per cent of 23,712 words
TIE = 1e-6  # cosines this close are equal: rounding, which differs between machines, must not decide
NO_STATE = -1
QUALITIES = {"all": (0, 1, 2, 3), "published": (0, 1), "exact": (0,)}  # keys of `vectors.KINDS`
THRESHOLDS, BANDS = (0.4, 0.45, 0.5, 0.55, 0.6), (0.0, 0.05, 0.1, 0.2, 0.3)
_ROWS, _RULES = 8192, 16  # words and rules at a time: 400,000 x 300 is never copied whole


@dataclass(frozen=True)
class Rule:
    """One way to count; the defaults are the paper's."""

    label: str = "the paper's rule"
    unrated: Literal["negative", "positive", "left out"] = "negative"  # trait of unrated words; neutral 0.5 is negative
    missing: Literal["left out", "negative", "agree", "disagree"] = "left out"  # words without vector; 0 ties: negative
    count: Literal["all", "rated", "unrated"] = "all"  # of the words that make the centroids, which are counted
    vectors: Literal["all", "published", "exact"] = "all"  # vectors of lower quality are taken for none
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


def trait_polarity(valence: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """[n] int8: 1 where the valence, [n] in [0, 1], is above the threshold, else 0. Paper: Sec. 5.4."""
    # Rounded, since a float32 0.6 is above 0.6; lexicons have three decimals.
    return (np.round(np.asarray(valence, dtype=np.float64), 6) > round(threshold, 6)).astype(np.int8)


def centroids(vectors: np.ndarray, polarity: np.ndarray, unit: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Mean vector [d] of the positive and of the negative words. Paper: Sec. 5.4.

    Args:
        vectors, polarity: [n, d]; zero vectors belong to neither group. [n] 0 or 1.
        unit: average unit vectors.

    Raises:
        DataError: a group has no word with a vector.
    """
    weights = _both(_weights(polarity, _lengths(vectors), unit))
    positive, negative = _sums(vectors, weights) / (weights > 0).sum(axis=0)[:, None]
    return positive, negative


def state_polarity(
    vectors: np.ndarray, trait: np.ndarray, unit: bool = False, leave_one_out: bool = False
) -> np.ndarray:
    """1 where a word is more similar to the positive words' centroid than to the negative ones', else 0.

    A tie is negative: the paper leaves it open, but gives the middle of its valence to the negative side, too.

    Args:
        vectors, trait: [n, d], and [n] 0 or 1.

    Returns:
        [n] int8; -1 (`NO_STATE`) for a zero vector and for a word that leave-one-out leaves without a centroid.

    Raises:
        DataError: a group has no word with a vector.

    Paper: Sec. 5.4.
    """
    weights = _both(_weights(trait, lengths := _lengths(vectors), unit))
    return _state(_group_cosines(vectors, lengths, weights, np.full(2, leave_one_out)))


def _group_cosines(vectors: np.ndarray, lengths: np.ndarray, weights: np.ndarray, leave_out: np.ndarray) -> np.ndarray:
    """[n, G] cosine of every word to every group's centroid; nan where one of them has no direction.

    `weights` [n, G] are 0 outside a group. Where `leave_out` [G], a word x of weight w is left out of its group's sum
    S without a second pass: `x (S - w x) = x S - w |x|^2` and `|S - w x|^2 = |S|^2 - 2 w x S + w^2 |x|^2`.
    """
    sums = _sums(vectors, weights)  # [G, d]
    square = (sums**2).sum(axis=1)
    cosines = np.empty(weights.shape)
    for rows, block in _blocks(vectors):
        dots, length, own = block @ sums.T, lengths[rows, None], weights[rows] * leave_out
        rest = square - 2 * own * dots + (own * length) ** 2
        rest[rest <= 1e-12 * (square + (own * length) ** 2)] = np.nan  # what rounding leaves of nothing
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines[rows] = (dots - own * length**2) / (np.sqrt(rest) * length)
    cosines[lengths == 0] = np.nan
    return cosines


def shuffled_shares(vectors: np.ndarray, trait: np.ndarray, free: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """[K] per cent that differ when traits are dealt out anew: what chance gives.

    All draws share two products: indicators [K, n] times vectors are the groups' sums, and the difference of their
    directions times the vectors is the difference of the cosines.

    Args:
        vectors, trait: [n, d], none of them zero, and [n] 0 or 1.
        free: [n] bool, the words among which traits are shuffled; the others keep theirs.
    """
    random = np.random.default_rng(seed)
    dealt = np.repeat(np.asarray(trait, dtype=bool)[None], draws, axis=0)
    for labels in dealt:
        labels[free] = random.permutation(labels[free])
    positive = _sums(vectors, dealt.T)
    negative = _sums(vectors, np.ones((len(trait), 1))) - positive
    axis = (
        positive / np.fmax(_lengths(positive), 1e-30)[:, None] - negative / np.fmax(_lengths(negative), 1e-30)[:, None]
    )
    differ = np.zeros(draws)
    for rows, block in _blocks(vectors):
        differ += ((axis @ block.T > TIE * _lengths(block)) != dealt[:, rows]).sum(axis=1)
    return 100 * differ / len(trait)


def analyse(
    words: Sequence[str],
    valence: np.ndarray,
    rated: np.ndarray,
    vectors: np.ndarray,
    found: np.ndarray,
    counts: np.ndarray,
    labels: Sequence[str] = EMOTIONS,
    *,
    vad: np.ndarray | None = None,
    kind: np.ndarray | None = None,
    draws: int = 100,
    seed: int = 0,
) -> dict:
    """The paper's count, and the same count under every choice that the paper leaves open.

    Args:
        words, vectors, counts: n different words, [n, d], and [n] how often each occurs.
        valence, rated: [n] in [0, 1], and [n] bool, whether the lexicon has the word.
        found: [n] bool, whether there is a vector; a zero vector is none.
        labels, vad: words that are reported one by one, and [n, 3] for their arousal and dominance.
        kind: [n] a key of `vectors.KINDS`, where vectors are of different quality.
        draws, seed: of the permutation baselines and the bootstrap.

    Returns:
        What JSON holds: choices (the paper's rule, rated words only, ...), sweep, permutation, labels, conclusion.

    Raises:
        DataError: arrays do not fit, a word is there twice, a valence outside [0, 1], no positive or no negative word.

    Paper: Sec. 5.4. Departure: the paper gives one number, in which most of the words have no rating.
    """
    data = _checked(words, valence, rated, vectors, found, counts, kind)
    _both(_weights(trait_polarity(data["valence"]) * data["rated"], data["lengths"], unit=False))
    rules = _rules(data)
    shown, reports = _evaluate(data, rules, np.random.default_rng(seed))
    rows = [asdict(rule) | asdict(report) for rule, report in zip(rules, reports, strict=True)]
    index = {word: i for i, word in enumerate(words)}
    table = [{"word": word} | _label(index[word], data, vad, shown) for word in labels if word in index]
    result = {
        "words": len(words),
        "rated": int(data["rated"].sum()),
        "with_vector": int((data["lengths"] > 0).sum()),
        "rated_with_vector": int((data["rated"] & (data["lengths"] > 0)).sum()),
        "paper_share": PAPER_SHARE,
        "choices": [row for row in rows if not row["label"].startswith("sweep")],
        "sweep": [row for row in rows if row["label"].startswith("sweep")],
        "permutation": {"draws": draws, "seed": seed} | _permutations(data, reports, draws, seed),
        "labels": table,
        "labels_differ": [row["word"] for row in table if row["differ"]],
        "labels_missing": [word for word in labels if word not in index],
    }
    return result | {"conclusion": _conclusion(result)}


def analyse_prepared(prepared: Prepared, neutral: str = "standard", draws: int = 100, seed: int = 0) -> dict:
    """`analyse` for prepared data, with the description of data, vectors and lexicon. Paper: Sec. 5.4.

    Args:
        neutral: what unrated words get, a key of `lexicon.NEUTRAL_VAD`; both make them negative.

    Raises:
        DataError: no positive or no negative word.
    """
    vectors, first = prepared.vectors, len(SPECIALS)
    vad, rated = (array[first:] for array in prepared.lexicon.table(prepared.corpus.vocabulary, neutral))
    words, counts, kind = prepared.corpus.vocabulary.words[first:], prepared.corpus.counts[first:], vectors.kind[first:]
    of_words = (vad[:, 0], rated, vectors.matrix[first:], kind >= 0, counts)
    result = analyse(words, *of_words, vad=vad, kind=kind, draws=draws, seed=seed)
    return {"description": prepared.description | {"neutral_vad": neutral}} | result


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))


def _blocks(vectors: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for begin in range(0, len(vectors), _ROWS):
        yield slice(begin, begin + _ROWS), vectors[begin : begin + _ROWS].astype(np.float64)


def _sums(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    sums = np.zeros((weights.shape[1], vectors.shape[1]))
    for rows, block in _blocks(vectors):
        sums += weights[rows].T.astype(np.float64) @ block
    return sums


def _weights(trait: np.ndarray, lengths: np.ndarray, unit: bool) -> np.ndarray:
    """[n, 2]: what a word's vector is multiplied with in the positive and in the negative group's sum."""
    weights = (np.asarray(trait)[:, None] == [1, 0]) * np.where(lengths > 0, 1.0, 0.0)[:, None]
    return weights / np.where(lengths > 0, lengths, 1)[:, None] if unit else weights


def _both(weights: np.ndarray) -> np.ndarray:
    for column, name in enumerate(("positive", "negative")):
        if not weights[:, column].any():
            raise DataError(f"The {name} group is empty: no word with a vector has a {name} trait.")
    return weights


def _state(cosines: np.ndarray) -> np.ndarray:
    margin = cosines[:, 0] - cosines[:, 1]
    return np.where(np.isnan(margin), NO_STATE, margin > TIE).astype(np.int8)


def _checked(words, valence, rated, vectors, found, counts, kind) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]
    kind = np.where(found, 0, -1) if kind is None else kind
    arrays = dict(valence=valence, rated=rated, vectors=vectors, found=found, counts=counts, kind=kind)
    for name, array in arrays.items():
        if np.ndim(array) != 1 + (name == "vectors") or len(array) != len(words):
            raise DataError(f"{name} has the shape {np.shape(array)}, but there are {len(words)} words.")
    if len(set(words)) != len(words):
        raise DataError(f"The word {Counter(words).most_common(1)[0][0]!r} is there twice and would vote twice.")
    if not ((np.asarray(valence) >= 0) & (np.asarray(valence) <= 1)).all():  # also false for nan
        raise DataError("A valence is not in [0, 1]. Bring ratings in [-1, 1] (NRC VAD v2) there with (v + 1) / 2.")
    lengths = np.where(found, _lengths(vectors), 0.0)
    if not np.isfinite(lengths).all():
        raise DataError(f"The vector of {words[int(np.argmin(np.isfinite(lengths)))]!r} is not finite.")
    return {name: np.asarray(array) for name, array in arrays.items()} | {"lengths": lengths}


def _rules(data: dict[str, np.ndarray]) -> list[Rule]:
    rated: dict[str, Any] = {"unrated": "left out"}
    rules = [Rule(), Rule("rated words only", **rated)]
    for name, only in (("all words", {}), ("rated words", rated)):
        rules.append(Rule(f"{name}, leave-one-out", leave_one_out=True, **only))
        rules.append(Rule(f"{name}, unit vectors", unit=True, **only))
        rules.append(Rule(f"{name}, by frequency", weighted=True, **only))
    rules.append(Rule("unrated words positive", "positive"))
    rules += [Rule("rated words, all centroids", count="rated"), Rule("unrated words, all centroids", count="unrated")]
    fates: Any = ("negative", "agree", "disagree") if not data["lengths"].all() else ()
    rules += [Rule(f"words without vector: {fate}", missing=fate) for fate in fates]
    better: Any = [q for q, k in QUALITIES.items() if 0 < np.isin(data["kind"], k).sum() < (data["kind"] >= 0).sum()]
    for quality in better:
        rules.append(Rule(f"{quality} vectors", vectors=quality))
        rules.append(Rule(f"{quality} vectors, rated words", vectors=quality, **rated))
    rules += [Rule("sweep, rated words", threshold=t, band=b, **rated) for t in THRESHOLDS for b in BANDS]
    # Below the neutral valence, a threshold turns all unrated words positive: that is the point of showing it.
    sides: Any = [(t, "negative" if t >= 0.5 else "positive") for t in THRESHOLDS]
    return rules + [Rule("sweep, all words", unrated, threshold=t) for t, unrated in sides]


def _evaluate(data: dict, rules: list[Rule], random: np.random.Generator) -> tuple[list[tuple], list[PolarityReport]]:
    """Trait [n], state [n] and cosines [n, 2] of the first two rules, and the report of every rule."""
    shown: list[tuple] = []
    reports: list[PolarityReport] = []
    for some in (rules[begin : begin + _RULES] for begin in range(0, len(rules), _RULES)):
        kept, columns = [], []
        for rule in some:
            trait = trait_polarity(data["valence"], rule.threshold)
            trait[~data["rated"]] = rule.unrated == "positive"
            part = data["rated"] | (rule.unrated != "left out")
            part &= (rule.band == 0) | (np.abs(data["valence"] - rule.threshold) > rule.band + 1e-6)
            has = part & (data["lengths"] > 0) & np.isin(data["kind"], QUALITIES[rule.vectors])
            columns.append(_weights(trait, data["lengths"] * has, rule.unit))
            kept.append((rule, trait, part, has))
        leave_out = np.repeat([rule.leave_one_out for rule in some], 2)
        cosines = _group_cosines(data["vectors"], data["lengths"], np.concatenate(columns, axis=1), leave_out)
        for (rule, trait, part, has), pair in zip(kept, np.split(cosines, len(kept), axis=1), strict=True):
            state = np.where(has, _state(pair), NO_STATE)
            shown += [(trait, state, pair)] if len(shown) < 2 else []
            fill: Any = {"left out": NO_STATE, "negative": 0, "agree": trait, "disagree": 1 - trait}[rule.missing]
            state = np.where(state == NO_STATE, fill, state)
            used = part & (state != NO_STATE)
            used &= {"all": True, "rated": data["rated"], "unrated": ~data["rated"]}[rule.count]
            weight = data["counts"][used] if rule.weighted else np.ones(int(used.sum()))
            reports.append(_report(trait[used], state[used], weight, rule.weighted, random))
    return shown, reports


def _report(trait: np.ndarray, state: np.ndarray, weight: np.ndarray, weighted: bool, random: Any) -> PolarityReport:
    if not weight.sum():  # a sweep may run out of words; the paper's rule may not
        return PolarityReport(reason="No word is left to be counted, or one of the groups is empty.")
    differ, n = trait != state, len(trait)
    if weighted:
        picks = (random.integers(n, size=n) for _ in range(200))
        shares = [np.average(differ[pick], weights=weight[pick] + 1e-12) for pick in picks]
    else:  # of n words drawn with replacement, the number that differ is binomial
        shares = random.binomial(n, differ.mean(), 2000) / n
    share, *means = np.average(np.stack([differ, trait, state]), axis=1, weights=weight)
    values = (round(100 * float(value), 4) for value in (share, *np.quantile(shares, (0.025, 0.975)), *means))
    return PolarityReport(n, int(differ.sum()), *values)  # type: ignore[arg-type]


def _label(i: int, data: dict[str, np.ndarray], vad: np.ndarray | None, shown: list[tuple]) -> dict:
    names = ("valence", "arousal", "dominance", "cos_positive", "cos_negative")
    values = (*((data["valence"][i], np.nan, np.nan) if vad is None else vad[i]), *shown[0][2][i])
    row: dict[str, Any] = {"rated": bool(data["rated"][i]), "trait": int(shown[0][0][i])}
    row |= {name: None if np.isnan(v) else round(float(v), 6) for name, v in zip(names, values, strict=True)}
    for name, (trait, state, _) in zip(("", "_rated_only"), shown, strict=True):
        known = state[i] != NO_STATE
        row[f"state{name}"] = int(state[i]) if known else None
        row[f"differ{name}"] = bool(state[i] != trait[i]) if known else None
    return row


def _permutations(data: dict[str, np.ndarray], reports: list[PolarityReport], draws: int, seed: int) -> dict:
    has, rated, result = data["lengths"] > 0, data["rated"], {}
    for name, used, free, observed in (
        ("all words", has, np.ones_like(has), reports[0].share),
        ("all words, only ratings shuffled", has, rated, reports[0].share),
        ("rated words", has & rated, rated, reports[1].share),
    ):
        if observed is not None and draws:
            trait = trait_polarity(data["valence"][used]) * rated[used]
            shares = shuffled_shares(data["vectors"][used], trait, free[used], draws, seed)
            low, high = np.quantile(shares, (0.025, 0.975))
            row = {"mean": shares.mean(), "low": low, "high": high, "observed": observed}
            row["p"] = (1 + (shares <= observed + 1e-4).sum()) / (1 + draws)
            result[name] = {key: round(float(value), 4) for key, value in row.items()}
    return result


def _conclusion(result: dict) -> str:
    (paper, rated), chance = result["choices"][:2], result["permutation"].get("rated words")
    unrated = 100 - 100 * result["rated_with_vector"] / result["with_vector"]
    text = f"By the paper's rule {paper['share']:.1f} % of {paper['words']:,} words differ (the paper: {PAPER_SHARE} %)"
    text += f", but {unrated:.1f} % of them have no rating and count as negative; "
    if chance is None:
        return f"{text}the rated words alone cannot be compared."
    text += (
        f"of the {rated['words']:,} rated ones {rated['share']:.1f} % ({rated['low']:.1f} to {rated['high']:.1f}) do"
    )
    return f"{text}, {'fewer' if chance['p'] < 0.05 else 'no fewer'} than by chance ({chance['mean']:.1f} %)."
