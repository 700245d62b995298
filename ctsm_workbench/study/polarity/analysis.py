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
from ctsm_workbench.study.polarity.choices import PolarityReport, Rule, evaluate, rules_for

PAPER_SHARE = 48.75  # per cent of 23,712 words
PAPER_LABEL = "surprised"  # the one of the 32 labels that the paper's Figure 3 shows to differ


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
        What JSON holds: choices (the paper's rule, rated words only, ...), sweep, permutation, labels, conclusion.

    Raises:
        DataError: arrays do not fit, a word is there twice, a valence outside [0, 1], no positive or no negative word.

    Paper: Sec. 5.4. Departure: the paper gives one number, in which most of the words have no rating.
    """
    data = _checked(words, valence, rated, vectors, found, counts, kind)
    both_groups(
        group_weights(trait_polarity(data["valence"]) * data["rated"], data["lengths"], unit=False)
    )
    rules = rules_for(data, own)
    shown, reports = evaluate(data, rules, np.random.default_rng(seed))
    rows = [asdict(rule) | asdict(report) for rule, report in zip(rules, reports, strict=True)]
    index = {word: i for i, word in enumerate(words)}
    table = [
        {"word": word} | _label(index[word], data, vad, shown) for word in labels if word in index
    ]
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
    return result | {"labels_note": _labels_note(result), "conclusion": _conclusion(result)}


def analyse_prepared(
    prepared: Prepared,
    neutral: str = "standard",
    own: Rule | None = None,
    draws: int = 100,
    seed: int = 0,
) -> dict:
    """`analyse` for prepared data, with the description of data, vectors and lexicon. Paper: Sec. 5.4.

    Args:
        neutral: what unrated words get, a key of `lexicon.NEUTRAL_VAD`; both make them negative.
        own: a further choice, reported among the others.

    Raises:
        DataError: no positive or no negative word.
    """
    vectors, first = prepared.vectors, len(SPECIALS)
    vad, rated = (
        array[first:] for array in prepared.lexicon.table(prepared.corpus.vocabulary, neutral)
    )
    words, counts, kind = (
        prepared.corpus.vocabulary.words[first:],
        prepared.corpus.counts[first:],
        vectors.kind[first:],
    )
    of_words = (vad[:, 0], rated, vectors.matrix[first:], kind >= 0, counts)
    result = analyse(words, *of_words, vad=vad, kind=kind, own=own, draws=draws, seed=seed)
    return {"description": prepared.description | {"neutral_vad": neutral}} | result


def _checked(words, valence, rated, vectors, found, counts, kind) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]
    kind = np.where(found, 0, -1) if kind is None else kind
    arrays = dict(
        valence=valence, rated=rated, vectors=vectors, found=found, counts=counts, kind=kind
    )
    for name, array in arrays.items():
        if np.ndim(array) != 1 + (name == "vectors") or len(array) != len(words):
            raise DataError(
                f"{name} has the shape {np.shape(array)}, but there are {len(words)} words."
            )
    if len(set(words)) != len(words):
        raise DataError(
            f"The word {Counter(words).most_common(1)[0][0]!r} is there twice and would vote twice."
        )
    if not ((np.asarray(valence) >= 0) & (np.asarray(valence) <= 1)).all():  # also false for nan
        raise DataError(
            "A valence is not in [0, 1]. Bring ratings in [-1, 1] (NRC VAD v2) there with (v + 1) / 2."
        )
    lengths = np.where(found, lengths_of(vectors), 0.0)
    if not np.isfinite(lengths).all():
        raise DataError(
            f"The vector of {words[int(np.argmin(np.isfinite(lengths)))]!r} is not finite."
        )
    return {name: np.asarray(array) for name, array in arrays.items()} | {"lengths": lengths}


def _label(i: int, data: dict[str, np.ndarray], vad: np.ndarray | None, shown: list[tuple]) -> dict:
    names = ("valence", "arousal", "dominance", "cos_positive", "cos_negative")
    values = (*((data["valence"][i], np.nan, np.nan) if vad is None else vad[i]), *shown[0][2][i])
    row: dict[str, Any] = {"rated": bool(data["rated"][i]), "trait": int(shown[0][0][i])}
    row |= {
        name: None if np.isnan(v) else round(float(v), 6)
        for name, v in zip(names, values, strict=True)
    }
    for name, (trait, state, _) in zip(("", "_rated_only"), shown, strict=True):
        known = state[i] != NO_STATE
        row[f"state{name}"] = int(state[i]) if known else None
        row[f"differ{name}"] = bool(state[i] != trait[i]) if known else None
    return row


def _permutations(
    data: dict[str, np.ndarray], reports: list[PolarityReport], draws: int, seed: int
) -> dict:
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


def _labels_note(result: dict) -> str:
    def named(key: str) -> str:
        words = [row["word"] for row in result["labels"] if row[key]]
        return f"{len(words)}{': ' if words else ''}{', '.join(words)}"

    count = len(result["labels"])
    return (
        f"The paper: one emotion word differs, {PAPER_LABEL}. Here, of {count} by the paper's rule {named('differ')}; "
        f"with centroids of rated words only {named('differ_rated_only')}."
    )


def _conclusion(result: dict) -> str:
    (paper, rated), chance = result["choices"][:2], result["permutation"].get("rated words")
    unrated = 100 - 100 * result["rated_with_vector"] / result["with_vector"]
    text = f"By the paper's rule {paper['share']:.1f} % of {paper['words']:,} words differ (the paper: {PAPER_SHARE} %)"
    text += f", but {unrated:.1f} % of them have no rating and count as negative; "
    if chance is None:
        return f"{text}the rated words alone cannot be compared."
    text += f"of the {rated['words']:,} rated ones {rated['share']:.1f} % ({rated['low']:.1f} to {rated['high']:.1f}) do"
    return f"{text}, {'fewer' if chance['p'] < 0.05 else 'no fewer'} than by chance ({chance['mean']:.1f} %)."
