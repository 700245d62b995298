"""The whole analysis of Section 5.4: every choice, the 32 labels one by one, chance, and a sentence of conclusion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ctsm_lib.corpus import EMOTIONS, SPECIALS
from ctsm_lib.errors import DataError
from ctsm_lib.polarity import (
    NO_STATE,
    both_groups,
    group_weights,
    lengths_of,
    shuffled_shares,
    trait_polarity,
)
from ctsm_lib.prepare import Prepared
from ctsm_workbench.study.intervals import percentiles
from ctsm_workbench.study.polarity.choices import (
    Outcome,
    PolarityReport,
    Rule,
    Words,
    evaluate,
    rules_for,
)

PAPER_SHARE = 48.75  # per cent of 23,712 words
PAPER_LABEL = "surprised"  # the only one of the 32 labels that differs in the paper's Figure 3


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
    own: Rule | None = None,
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
        own: a further choice, reported among the others.
        draws, seed: of the permutation baselines and the bootstrap.

    Returns:
        JSON data: choices (the paper's rule, rated words only, ...), sweep, permutation, labels, conclusion.

    Raises:
        DataError: arrays do not fit, a word is there twice, a valence is outside [0, 1], or there is no positive or no
            negative word.

    Paper: Sec. 5.4. Departure: the paper gives one number, in which most of the words have no rating.
    """
    kind = np.where(found, 0, -1) if kind is None else kind
    arrays = {
        "valence": valence,
        "rated": rated,
        "vectors": vectors,
        "counts": counts,
        "kind": kind,
    }
    data = _checked(words, np.asarray(found), {k: np.asarray(v) for k, v in arrays.items()})
    trait = trait_polarity(data.valence) * data.rated
    both_groups(group_weights(trait, data.lengths, unit=False))
    rules = rules_for(data, own)
    outcomes, reports = evaluate(data, rules, np.random.default_rng(seed))
    rows = [asdict(rule) | asdict(report) for rule, report in zip(rules, reports, strict=True)]
    index = {word: i for i, word in enumerate(words)}
    known = [word for word in labels if word in index]
    table = [{"word": word} | _label(index[word], data, vad, outcomes) for word in known]
    result = {
        "words": len(words),
        "rated": int(data.rated.sum()),
        "with_vector": int((data.lengths > 0).sum()),
        "rated_with_vector": int((data.rated & (data.lengths > 0)).sum()),
        "paper_share": PAPER_SHARE,
        "choices": [row for row in rows if not row["label"].startswith("sweep")],
        "sweep": [row for row in rows if row["label"].startswith("sweep")],
        "permutation": _permutations(data, reports, draws, seed),
        "labels": table,
        "labels_differ": [row["word"] for row in table if row["differ"]],
        "labels_missing": [word for word in labels if word not in index],
    }
    return result | {"labels_note": _labels_note(table), "conclusion": _conclusion(result)}


def analyse_prepared(
    prepared: Prepared,
    neutral: str = "standard",
    own: Rule | None = None,
    draws: int = 100,
    seed: int = 0,
) -> dict:
    """`analyse` for prepared data, with the description of data, vectors and lexicon. Paper: Sec. 5.4.

    Args:
        neutral: the rating of unrated words, a key of `lexicon.NEUTRAL_VAD`; both make them negative.
        own: a further choice, reported among the others.

    Raises:
        DataError: no positive or no negative word.
    """
    first = len(SPECIALS)
    corpus, vectors = prepared.corpus, prepared.vectors
    vad, rated = prepared.lexicon.table(corpus.vocabulary, neutral)
    result = analyse(
        words=corpus.vocabulary.words[first:],
        valence=vad[first:, 0],
        rated=rated[first:],
        vectors=vectors.matrix[first:],
        found=vectors.found[first:],
        counts=corpus.counts[first:],
        vad=vad[first:],
        kind=vectors.kind[first:],
        own=own,
        draws=draws,
        seed=seed,
    )
    return {"description": prepared.description | {"neutral_vad": neutral}} | result


def _checked(words: Sequence[str], found: np.ndarray, arrays: dict[str, np.ndarray]) -> Words:
    for name, array in (arrays | {"found": found}).items():
        if array.ndim != 1 + (name == "vectors") or len(array) != len(words):
            raise DataError(
                f"{name} has the shape {array.shape}, but there are {len(words)} words."
            )
    if len(set(words)) != len(words):
        twice = Counter(words).most_common(1)[0][0]
        raise DataError(f"The word {twice!r} is there twice and would count twice.")
    valence = arrays["valence"]
    if not ((valence >= 0) & (valence <= 1)).all():  # also false for nan
        raise DataError(
            "A valence is not in [0, 1]. Convert ratings in [-1, 1] (NRC VAD v2) with (v + 1) / 2."
        )
    lengths = np.where(found, lengths_of(arrays["vectors"]), 0.0)
    if not np.isfinite(lengths).all():
        word = words[int(np.argmin(np.isfinite(lengths)))]
        raise DataError(f"The vector of {word!r} is not finite.")
    return Words(lengths=lengths, **arrays)


def _label(i: int, data: Words, vad: np.ndarray | None, outcomes: Sequence[Outcome]) -> dict:
    """A label's ratings and cosines, and both polarities by the paper's rule and with rated words only."""
    paper = outcomes[0]
    ratings = (data.valence[i], np.nan, np.nan) if vad is None else vad[i]
    names = ("valence", "arousal", "dominance", "cos_positive", "cos_negative")
    row: dict[str, Any] = {"rated": bool(data.rated[i]), "trait": int(paper.trait[i])}
    for name, value in zip(names, (*ratings, *paper.cosines[i]), strict=True):
        row[name] = None if np.isnan(value) else round(float(value), 6)
    for name, outcome in zip(("", "_rated_only"), outcomes, strict=True):
        known = outcome.state[i] != NO_STATE
        row[f"state{name}"] = int(outcome.state[i]) if known else None
        row[f"differ{name}"] = bool(outcome.state[i] != outcome.trait[i]) if known else None
    return row


def _permutations(
    data: Words, reports: Sequence[PolarityReport], draws: int, seed: int
) -> dict[str, Any]:
    """Shares that differ when traits are shuffled: of all words, of rated words, and among ratings only."""
    has = data.lengths > 0
    result: dict[str, Any] = {"draws": draws, "seed": seed}
    for name, used, free, observed in (
        ("all words", has, np.ones_like(has), reports[0].share),
        ("all words, only ratings shuffled", has, data.rated, reports[0].share),
        ("rated words", has & data.rated, data.rated, reports[1].share),
    ):
        if observed is not None and draws:
            trait = trait_polarity(data.valence[used]) * data.rated[used]
            shares = shuffled_shares(data.vectors[used], trait, free[used], draws=draws, seed=seed)
            low, high = percentiles(shares)
            p = (1 + (shares <= observed + 1e-4).sum()) / (1 + draws)
            row = {"mean": shares.mean(), "low": low, "high": high, "observed": observed, "p": p}
            result[name] = {key: round(float(value), 4) for key, value in row.items()}
    return result


def _labels_note(table: Sequence[dict]) -> str:
    def named(key: str) -> str:
        words = [row["word"] for row in table if row[key]]
        return f"{len(words)}: {', '.join(words)}" if words else "0"

    return (
        f"The paper: one emotion word differs, {PAPER_LABEL}. Here, of {len(table)} by the paper's "
        f"rule {named('differ')}; with centroids of rated words only {named('differ_rated_only')}."
    )


def _conclusion(result: dict) -> str:
    paper, rated = result["choices"][:2]
    chance = result["permutation"].get("rated words")
    unrated = 100 - 100 * result["rated_with_vector"] / result["with_vector"]
    text = (
        f"By the paper's rule {paper['share']:.1f} % of {paper['words']:,} words differ (the paper: "
        f"{PAPER_SHARE} %), but {unrated:.1f} % of them have no rating and count as negative; "
    )
    if chance is None:
        return f"{text}the rated words alone cannot be compared."
    fewer = "fewer" if chance["p"] < 0.05 else "no fewer"
    return (
        f"{text}of the {rated['words']:,} rated ones {rated['share']:.1f} % ({rated['low']:.1f} to "
        f"{rated['high']:.1f}) do, {fewer} than by chance ({chance['mean']:.1f} %)."
    )
