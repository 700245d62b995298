"""How often what a word means by itself and where its vector lies disagree, and what that number depends on.

Paper: Sec. 5.4 and Figure 3. Legend of shapes: n words, d dimensions, G groups of words, K draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from ctsm_lib.corpus import EMOTIONS, SPECIALS
from ctsm_lib.errors import DataError
from ctsm_lib.prepare import Prepared

PAPER_SHARE = 48.75  # per cent of 23,712 words
TIE = 1e-6  # cosines this close are equal: rounding, which differs between machines, must not decide
NO_STATE = -1
QUALITIES = {"all": (0, 1, 2, 3), "published": (0, 1), "exact": (0,)}  # keys of vectors.KINDS
THRESHOLDS, BANDS = (0.4, 0.45, 0.5, 0.55, 0.6), (0.0, 0.05, 0.1, 0.2, 0.3)
_ROWS, _RULES = 8192, 16  # words and rules at a time: 400,000 x 300 is never copied whole


@dataclass(frozen=True)
class Rule:
    """One way to count; the defaults are the paper's.

    Attributes:
        unrated: the trait of words without a rating. The neutral valence 0.5 makes it negative.
        missing: words without a vector are left out, have a negative state (a zero vector is a tie), or count as words
            that agree or disagree (the two bounds).
        count: which words are counted; the centroids are those of all words that take part.
        vectors: "published" takes exact and mapped GloVe vectors for vectors, and estimated ones for none.
        unit: centroids of unit vectors instead of raw ones, in which long vectors count more.
        leave_one_out: a word's own vector is taken out of its group's centroid before it is compared.
        weighted: words count as often as they occur.
        threshold, band: positive above the threshold; within the band around it neutral, and left out.
    """

    label: str = "the paper's rule"
    unrated: Literal["negative", "positive", "left out"] = "negative"
    missing: Literal["left out", "negative", "agree", "disagree"] = "left out"
    count: Literal["all", "rated", "unrated"] = "all"
    vectors: Literal["all", "published", "exact"] = "all"
    unit: bool = False
    leave_one_out: bool = False
    weighted: bool = False
    threshold: float = 0.5
    band: float = 0.0


@dataclass(frozen=True)
class PolarityReport:
    """What one rule gives: words counted, and per cent of them with two polarities, a positive trait, a positive state.

    `low` and `high` are the 95 % bootstrap interval of `share` (words resampled, centroids kept); `reason` says why there
    is no share where there is none.
    """

    rule: Rule
    words: int = 0
    differ: int = 0
    share: float | None = None
    low: float | None = None
    high: float | None = None
    positive_trait: float | None = None
    positive_state: float | None = None
    reason: str = ""

    def as_dict(self) -> dict:
        """As JSON has it: the rule's choices beside the numbers."""
        numbers = asdict(self)
        return numbers.pop("rule") | numbers


def trait_polarity(valence: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """[n] int8: 1 where the valence [n] in [0, 1] is above the threshold, else 0. Paper: Sec. 5.4."""
    # Rounded, since a float32 0.6 is above 0.6; lexicons have three decimals.
    return (np.round(np.asarray(valence, dtype=np.float64), 6) > round(threshold, 6)).astype(np.int8)


def centroids(vectors: np.ndarray, polarity: np.ndarray, unit: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Mean vector [d] of the positive and of the negative words, float64; zero vectors belong to neither.

    Args:
        vectors: [n, d].
        polarity: [n] 0 or 1.
        unit: average unit vectors.

    Raises:
        DataError: a group has no word with a vector.

    Paper: Sec. 5.4.
    """
    weights = _weights(np.asarray(polarity), _lengths(vectors), unit)
    positive, negative = _sums(vectors, weights) / (weights > 0).sum(axis=0)[:, None]
    return positive, negative


def state_polarity(vectors: np.ndarray, trait: np.ndarray, unit: bool = False, leave_one_out: bool = False) -> np.ndarray:
    """1 where a word is more similar to the positive words' centroid than to the negative ones', else 0.

    A tie is negative: the paper leaves it open, but gives the middle of its valence to the negative side, too.

    Args:
        vectors: [n, d].
        trait: [n] 0 or 1.

    Returns:
        [n] int8; -1 (`NO_STATE`) for a zero vector and for a word that leave-one-out leaves without a centroid.

    Raises:
        DataError: a group has no word with a vector.

    Paper: Sec. 5.4.
    """
    weights = _weights(np.asarray(trait), lengths := _lengths(vectors), unit)
    return _state(group_cosines(vectors, weights, lengths, np.full(2, leave_one_out)))


def group_cosines(vectors: np.ndarray, weights: np.ndarray, lengths: np.ndarray, leave_out: np.ndarray) -> np.ndarray:
    """Cosine of every word to the centroid of every group.

    Leaving a word x of weight w out of its group's sum S takes no second pass over the group:
    `x (S - w x) = x S - w |x|^2` and `|S - w x|^2 = |S|^2 - 2 w x S + w^2 |x|^2`.

    Args:
        vectors, lengths: [n, d], and [n] their lengths.
        weights: [n, G]; 0 for words outside a group.
        leave_out: [G] bool, for which groups a word's own vector is left out.

    Returns:
        [n, G] float64; nan where the word or the centroid has no direction.
    """
    sums = _sums(vectors, weights)  # [G, d]
    square = (sums**2).sum(axis=1)
    cosines = np.empty(weights.shape)
    for rows in _blocks(len(vectors)):
        dots = vectors[rows].astype(np.float64) @ sums.T
        own, length = weights[rows] * leave_out, lengths[rows, None]
        rest = square - 2 * own * dots + (own * length) ** 2
        rest[rest <= 1e-12 * (square + (own * length) ** 2)] = np.nan  # what rounding leaves of nothing
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines[rows] = (dots - own * length**2) / (np.sqrt(rest) * length)
    cosines[lengths == 0] = np.nan
    return cosines


def shuffled_shares(vectors: np.ndarray, trait: np.ndarray, free: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """[K] per cent that differ when traits are dealt out anew: what chance gives.

    All draws share two matrix products: indicators [K, n] times vectors are the groups' sums, and the difference of their
    directions times the vectors is the difference of the cosines.

    Args:
        vectors, trait: [n, d], none of them zero, and [n] 0 or 1.
        free: [n] bool, the words among which traits are shuffled; the others keep theirs.
    """
    random = np.random.default_rng(seed)
    dealt = np.repeat(np.asarray(trait, dtype=bool)[None], draws, axis=0)  # [K, n]
    for labels in dealt:
        labels[free] = random.permutation(labels[free])
    positive = _sums(vectors, dealt.T)
    negative = _sums(vectors, np.ones((len(trait), 1))) - positive
    axis = positive / _lengths(positive)[:, None] - negative / _lengths(negative)[:, None]  # [K, d]
    differ = np.zeros(draws)
    for rows in _blocks(len(trait)):
        block = vectors[rows].astype(np.float64)
        differ += ((axis @ block.T > TIE * _lengths(block)) != dealt[:, rows]).sum(axis=1)
    return 100 * differ / len(trait)


@dataclass(frozen=True)
class _Words:
    valence: np.ndarray  # [n] float64, as are the lengths, 0 where there is no vector
    rated: np.ndarray
    vectors: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray
    kind: np.ndarray


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
        words, vectors: n different words, and [n, d].
        valence, rated: [n] in [0, 1], and [n] bool, whether the lexicon has the word.
        found: [n] bool, whether there is a vector; a zero vector is none.
        counts: [n] how often each word occurs.
        labels: words that are reported one by one.
        vad: [n, 3], for the labels' arousal and dominance.
        kind: [n] a key of `vectors.KINDS`, where vectors are of different quality.
        draws, seed: of the permutation baselines and the bootstrap.

    Returns:
        What JSON holds: choices (the paper's rule first, then rated words only), sweep, permutation, labels, conclusion.

    Raises:
        DataError: arrays that do not fit, a word twice, a valence outside [0, 1], or an empty group under the paper's rule.

    Paper: Sec. 5.4. Departure: the paper gives one number; on its data, most of the words counted have no rating.
    """
    data = _checked(words, valence, rated, vectors, found, counts, kind)
    rules, sweep = _choices(data), _sweep()
    reports, details = [], []
    random = np.random.default_rng(seed)
    for rule, trait, state, cosines, used, reason in _applied(data, [*rules, *sweep]):
        if not reports and reason:
            raise DataError(reason)
        reports.append(_report(rule, data, trait, state, used, reason, random))
        if len(details) < 2:
            details.append((trait, state, cosines))
    index = {word: i for i, word in enumerate(words)}
    table = [_label(word, index[word], data, vad, details) for word in labels if word in index]
    result = {
        "words": len(words),
        "rated": int(data.rated.sum()),
        "with_vector": int((data.lengths > 0).sum()),
        "paper_share": PAPER_SHARE,
        "choices": [report.as_dict() for report in reports[: len(rules)]],
        "sweep": [report.as_dict() for report in reports[len(rules) :]],
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
        DataError: an empty group under the paper's rule.
    """
    vocabulary, vectors, first = prepared.corpus.vocabulary, prepared.vectors, len(SPECIALS)
    vad, rated = (array[first:] for array in prepared.lexicon.table(vocabulary, neutral))
    words, counts, kind = vocabulary.words[first:], prepared.corpus.counts[first:], vectors.kind[first:]
    result = analyse(
        words, vad[:, 0], rated, vectors.matrix[first:], kind >= 0, counts, vad=vad, kind=kind, draws=draws, seed=seed
    )
    return {"description": prepared.description | {"neutral_vad": neutral}} | result


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))


def _blocks(n: int) -> Iterator[slice]:
    return (slice(begin, begin + _ROWS) for begin in range(0, n, _ROWS))


def _sums(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    sums = np.zeros((weights.shape[1], vectors.shape[1]))
    for rows in _blocks(len(vectors)):
        sums += weights[rows].T.astype(np.float64) @ vectors[rows].astype(np.float64)
    return sums


def _weights(trait: np.ndarray, lengths: np.ndarray, unit: bool) -> np.ndarray:
    """[n, 2]: what each word's vector is multiplied with in the positive and in the negative group's sum."""
    weights = np.stack([trait == 1, trait == 0], axis=1) * (lengths > 0)[:, None].astype(np.float64)
    for name, members in zip(("positive", "negative"), weights.sum(axis=0), strict=True):
        if not members:
            raise DataError(f"The {name} group is empty: none of the {len(trait)} words with a vector has a {name} trait.")
    return weights / np.where(lengths > 0, lengths, 1)[:, None] if unit else weights


def _state(cosines: np.ndarray) -> np.ndarray:
    margin = cosines[:, 0] - cosines[:, 1]
    return np.where(np.isnan(margin), NO_STATE, margin > TIE).astype(np.int8)


def _checked(words, valence, rated, vectors, found, counts, kind) -> _Words:  # type: ignore[no-untyped-def]
    kind = np.where(found, 0, -1) if kind is None else kind
    shapes = {"valence": valence, "rated": rated, "found": found, "counts": counts, "kind": kind, "vectors": vectors}
    for name, array in shapes.items():
        if np.ndim(array) != 1 + (name == "vectors") or len(array) != len(words):
            raise DataError(f"{name} has the shape {np.shape(array)}, but there are {len(words)} words.")
    if len(set(words)) != len(words):
        raise DataError(f"The word {Counter(words).most_common(1)[0][0]!r} is there twice and would vote twice.")
    valence, lengths = np.asarray(valence, dtype=np.float64), np.where(found, _lengths(vectors), 0.0)
    if not ((valence >= 0) & (valence <= 1)).all():  # also false for nan
        raise DataError("A valence is not in [0, 1]. Bring ratings in [-1, 1] (NRC VAD v2) there with (v + 1) / 2.")
    if not np.isfinite(lengths).all():
        raise DataError(f"The vector of {words[int(np.argmin(np.isfinite(lengths)))]!r} is not finite.")
    return _Words(valence, np.asarray(rated, dtype=bool), vectors, lengths, np.asarray(counts), np.asarray(kind))


def _choices(data: _Words) -> list[Rule]:
    rules = [Rule(), Rule("rated words only", "left out")]
    for name, unrated in (("all words", "negative"), ("rated words", "left out")):
        rules += [
            Rule(f"{name}, leave-one-out", unrated, leave_one_out=True),
            Rule(f"{name}, unit vectors", unrated, unit=True),
            Rule(f"{name}, by frequency", unrated, weighted=True),
        ]
    rules += [
        Rule("unrated words positive", "positive"),
        Rule("rated words, centroids of all", count="rated"),
        Rule("unrated words, centroids of all", count="unrated"),
    ]
    if not data.lengths.all():
        rules += [Rule(f"words without vector: {missing}", missing=missing) for missing in ("negative", "agree", "disagree")]
    for name in ("published", "exact"):
        if 0 < np.isin(data.kind, QUALITIES[name]).sum() < (data.kind >= 0).sum():
            rules += [Rule(f"{name} vectors", vectors=name), Rule(f"{name} vectors, rated words", "left out", vectors=name)]
    return rules


def _sweep() -> list[Rule]:
    rules = [Rule("rated words", "left out", threshold=t, band=b) for t in THRESHOLDS for b in BANDS]
    # Below the neutral valence, a threshold turns all unrated words positive: that is the point of showing it.
    return rules + [Rule("all words", "negative" if t >= 0.5 else "positive", threshold=t) for t in THRESHOLDS]


def _applied(data: _Words, rules: list[Rule]) -> Iterator[tuple]:
    """Rule, trait [n], state [n], cosines [n, 2], which words are counted [n], and why none is."""
    for some in (rules[begin : begin + _RULES] for begin in range(0, len(rules), _RULES)):
        kept = []
        for rule in some:
            trait, reason = trait_polarity(data.valence, rule.threshold), ""
            trait[~data.rated] = rule.unrated == "positive"
            part = data.rated | (rule.unrated != "left out")
            part &= (rule.band == 0) | (np.abs(data.valence - rule.threshold) > rule.band + 1e-6)
            has = part & (data.lengths > 0) & np.isin(data.kind, QUALITIES[rule.vectors])
            try:
                weights = _weights(trait, data.lengths * has, rule.unit)
            except DataError as error:
                weights, reason = np.zeros((len(trait), 2)), str(error)
            kept.append((rule, trait, part, has, weights, reason))
        leave_out = np.repeat([rule.leave_one_out for rule in some], 2)
        cosines = group_cosines(data.vectors, np.concatenate([row[4] for row in kept], axis=1), data.lengths, leave_out)
        for k, (rule, trait, part, has, _, reason) in enumerate(kept):
            state = np.where(has, _state(cosines[:, 2 * k : 2 * k + 2]), NO_STATE)
            fill = {"left out": state, "negative": 0 * trait, "agree": trait, "disagree": 1 - trait}[rule.missing]
            state = np.where(state == NO_STATE, fill, state)
            counted = {"all": part, "rated": part & data.rated, "unrated": part & ~data.rated}[rule.count]
            yield rule, trait, state, cosines[:, 2 * k : 2 * k + 2], counted & (state != NO_STATE), reason


def _report(rule, data, trait, state, used, reason, random) -> PolarityReport:  # type: ignore[no-untyped-def]
    weight = data.counts[used].astype(np.float64) if rule.weighted else np.ones(int(used.sum()))
    if reason or not weight.sum():
        return PolarityReport(rule, reason=reason or "No word is left to be counted.")
    differ, n = (trait != state)[used], len(weight)
    if rule.weighted:
        picks = (random.integers(n, size=n) for _ in range(200))
        shares = [np.average(differ[pick], weights=weight[pick] + 1e-12) for pick in picks]
    else:  # n words drawn with replacement: how many of them differ is binomial
        shares = random.binomial(n, differ.mean(), 2000) / n
    means = (np.average(values, weights=weight) for values in (differ, trait[used], state[used]))
    share, trait_share, state_share = (round(100 * float(mean), 4) for mean in means)
    low, high = (round(100 * float(value), 4) for value in np.quantile(shares, (0.025, 0.975)))
    return PolarityReport(rule, n, int(differ.sum()), share, low, high, trait_share, state_share)


def _label(word: str, i: int, data: _Words, vad: np.ndarray | None, details: list[tuple]) -> dict:
    (trait, state, cosines), (_, state_rated, _) = details
    row = {"word": word, "valence": round(float(data.valence[i]), 6), "rated": bool(data.rated[i]), "trait": int(trait[i])}
    if vad is not None:
        row |= {"arousal": round(float(vad[i, 1]), 6), "dominance": round(float(vad[i, 2]), 6)}
    for name, states in (("", state), ("_rated_only", state_rated)):
        none = states[i] == NO_STATE
        row["state" + name] = None if none else int(states[i])
        row["differ" + name] = None if none else bool(states[i] != trait[i])
    positive, negative = (None if np.isnan(value) else round(float(value), 6) for value in cosines[i])
    return row | {"cos_positive": positive, "cos_negative": negative}


def _permutations(data: _Words, reports: list[PolarityReport], draws: int, seed: int) -> dict:
    has, trait = data.lengths > 0, trait_polarity(data.valence) * data.rated
    result = {}
    for name, report, used, free in (
        ("all words", reports[0], has, np.ones_like(has)),
        ("all words, only ratings shuffled", reports[0], has, data.rated),
        ("rated words", reports[1], has & data.rated, data.rated),
    ):
        if report.share is not None:
            shares = shuffled_shares(data.vectors[used], trait[used], free[used], draws, seed)
            low, high = np.quantile(shares, (0.025, 0.975))
            row = {"mean": shares.mean(), "low": low, "high": high, "observed": report.share}
            row["p"] = (1 + (shares <= report.share).sum()) / (1 + draws)
            result[name] = {key: round(float(value), 4) for key, value in row.items()}
    return result


def _conclusion(result: dict) -> str:
    paper, rated, chance = result["choices"][0], result["choices"][1], result["permutation"].get("rated words")
    text = (
        f"By the paper's rule {paper['share']:.1f} % of {paper['words']:,} words differ (the paper: {PAPER_SHARE} %), but "
        f"{100 - 100 * result['rated'] / result['words']:.1f} % of the words have no rating and count as negative"
    )
    if chance is None:
        return f"{text}; the rated words alone cannot be compared."
    verdict = "fewer than" if chance["p"] < 0.05 else "not fewer than"
    return (
        f"{text}; of the {rated['words']:,} rated words {rated['share']:.1f} % differ (95 % interval {rated['low']:.1f} to "
        f"{rated['high']:.1f}), {verdict} the {chance['mean']:.1f} % under shuffled valences."
    )
