"""Both polarities against what nobody here made: the dialogues' emotion labels, and a second lexicon (VADER).

Section 5.4 compares trait and state with each other, which cannot say which of them is right. Here a word's graded
trait (its valence) and graded state (cosine to the positive minus cosine to the negative centroid) have to foretell
something else. Source: Hutto and Gilbert (2014) for VADER.
Legend of shapes: n words, D dialogues, K bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.stats import rankdata

from ctsm_lib.corpus import EMOTIONS, SPECIALS, SPLITS, Corpus
from ctsm_lib.lexicon import Lexicon
from ctsm_lib.polarity import (
    group_cosines,
    group_weights,
    lengths_of,
    state_polarity,
    trait_polarity,
)
from ctsm_lib.prepare import Prepared
from ctsm_workbench.study.polarity.choices import QUALITIES

FREQUENT = (
    10  # dialogues that a word must occur in before its own share of positive ones is looked at
)
VADER_NOTE = "The package vaderSentiment is not installed: pip install 'ctsm-lab[analysis]' adds the second lexicon."


def label_sides(lexicon: Lexicon) -> np.ndarray:
    """[32] int8: 1 for an emotion label of positive valence, 0 for a negative one, -1 where the lexicon lacks it."""
    rated = np.array([emotion in lexicon.ratings for emotion in EMOTIONS])
    valence = np.array([lexicon.ratings.get(emotion, (0.5, 0.0, 0.5))[0] for emotion in EMOTIONS])
    return np.where(rated, trait_polarity(valence), -1).astype(np.int8)


def auc(scores: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """How often something positive has a higher score than something negative; ties count half. 0.5 is chance.

    Args:
        scores: [n].
        positive, negative: [K, n] how often each score occurs on either side; K results at once.

    Returns:
        [K] in [0, 1]; nan where a side is empty.
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


def word_scores(
    prepared: Prepared, quality: str = "all"
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Graded and plain polarities of the vocabulary without the special tokens.

    Args:
        quality: which vectors count, a key of `QUALITIES`.

    Returns:
        Scores [n] by name, [n] bool rated, [n] bool whether there is a vector.
    """
    first, vectors = len(SPECIALS), prepared.vectors
    vad, rated = (array[first:] for array in prepared.lexicon.table(prepared.corpus.vocabulary))
    matrix, valence = vectors.matrix[first:], vad[:, 0].astype(np.float64)
    lengths = lengths_of(matrix) * np.isin(vectors.kind[first:], QUALITIES[quality])
    trait = trait_polarity(valence) * rated
    weights = [
        group_weights(trait, lengths, unit=False),
        group_weights(trait, lengths * rated, unit=False),
    ]
    cosines = group_cosines(
        matrix, lengths, np.concatenate(weights, axis=1), np.zeros(4, dtype=bool)
    )
    scores = {
        "trait": valence,
        "state": cosines[:, 0] - cosines[:, 1],
        "state, rated centroids": cosines[:, 2] - cosines[:, 3],
    }
    return scores, rated, lengths > 0


def dialogue_words(
    corpus: Corpus, splits: Sequence[str] = SPLITS
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """[D, n] how often each dialogue has each word (special tokens left out), and the [D] labels."""
    blocks, labels = [], []
    for split in (corpus.splits[name] for name in splits):
        ends = split.turn_offsets[split.dialogue_offsets]
        shape = (len(ends) - 1, len(corpus.vocabulary))
        counts = sparse.csr_matrix(
            (np.ones(int(ends[-1])), np.array(split.tokens), ends), shape=shape
        )
        counts.sum_duplicates()
        blocks.append(counts[:, len(SPECIALS) :])
        labels.append(split.labels)
    return sparse.vstack(blocks, format="csr"), np.concatenate(labels)


def against_labels(
    counts: sparse.csr_matrix,
    sides: np.ndarray,
    scores: dict[str, np.ndarray],
    draws: int = 200,
    seed: int = 0,
) -> dict:
    """Do a word's scores foretell whether the dialogues it occurs in have a positive or a negative label?

    Args:
        counts, sides: [D, n], and [D] 1, 0 or -1 (left out).
        scores: [n] by name.

    Returns:
        For occurrences (every one of a word is a case) and for dialogues (the mean over a dialogue's words is its
        score): the AUC of every score and its difference to each before it, with 95 % intervals. Dialogues are resampled,
        the same ones for every score.
    """
    kept = counts[sides >= 0]
    positive = sides[sides >= 0] == 1
    dialogues, random = len(positive), np.random.default_rng(seed)
    times = np.ones((1 + draws, dialogues))  # the first row is the data themselves
    times[1:] = random.multinomial(dialogues, np.full(dialogues, 1 / max(dialogues, 1)), size=draws)
    up = np.asarray((kept[positive].T @ times[:, positive].T).T)  # [1 + K, n]
    down = np.asarray((kept[~positive].T @ times[:, ~positive].T).T)
    size = np.asarray(kept.sum(axis=1)).ravel()
    some = size > 0
    by_occurrence, by_dialogue = {}, {}
    for name, score in scores.items():
        by_occurrence[name] = auc(score, up, down)
        mean = (kept @ score)[some] / size[some]
        mean = np.round(mean, 12)  # equal dialogues stay equal
        by_dialogue[name] = auc(
            mean, times[:, some] * positive[some], times[:, some] * ~positive[some]
        )
    return {
        "dialogues": int(some.sum()),
        "positive_dialogues": int(positive[some].sum()),
        "occurrences": int(size.sum()),
        "by_occurrence": compared(by_occurrence),
        "by_dialogue": compared(by_dialogue),
    }


def compared(values: dict[str, np.ndarray]) -> dict:
    """Estimate and interval of every score, and of its difference to each before it; row 0 of [1 + K] is the estimate."""
    result: dict = {}
    for name, drawn in values.items():
        minus = {before: estimate(drawn - values[before]) for before in result}
        result[name] = estimate(drawn) | ({"minus": minus} if minus else {})
    return result


def estimate(drawn: np.ndarray) -> dict:
    """Value, low and high (95 %) of [1 + K] numbers whose first is the estimate; None where there is none."""
    if np.isnan(drawn[0]):
        return {"value": None, "low": None, "high": None}
    low, high = (
        np.nanquantile(drawn[1:], (0.025, 0.975)) if len(drawn) > 1 else (drawn[0], drawn[0])
    )
    return {
        key: round(float(v), 4) for key, v in (("value", drawn[0]), ("low", low), ("high", high))
    }


def rank_correlation(a: np.ndarray, b: np.ndarray, draws: int = 200, seed: int = 0) -> dict:
    """Spearman's correlation of two [n] arrays, its interval from resampled words."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return {"words": len(a)} | estimate(np.array([np.nan]))
    random, ranks = np.random.default_rng(seed), np.stack([rankdata(a), rankdata(b)])
    picks = [np.arange(len(a)), *(random.integers(len(a), size=len(a)) for _ in range(draws))]
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"words": len(a)} | estimate(
            np.array([np.corrcoef(ranks[:, pick])[0, 1] for pick in picks])
        )


def against_lexicon(
    scores: dict[str, np.ndarray],
    known: np.ndarray,
    positive: np.ndarray,
    draws: int = 200,
    seed: int = 0,
) -> dict:
    """AUC of every score for the side that a second lexicon gives; its words are resampled.

    Args:
        scores: [n] by name.
        known, positive: [n] bool, whether the second lexicon has the word, and on which side.
    """
    count, random = int(known.sum()), np.random.default_rng(seed)
    times = np.ones((1 + draws, count))
    times[1:] = (
        random.multinomial(count, np.full(count, 1 / max(count, 1)), size=draws) if count else 0
    )
    side = positive[known]
    drawn = {name: auc(score[known], times * side, times * ~side) for name, score in scores.items()}
    return {"words": count, "positive": int(side.sum())} | compared(drawn)


def read_vader() -> dict[str, float] | None:
    """VADER's mean human valence of each word in [-4, 4]; None where the package is not installed."""
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        return None
    return {
        str(word).lower(): float(value)
        for word, value in SentimentIntensityAnalyzer().lexicon.items()
    }


def outside_standards(prepared: Prepared, draws: int = 200, seed: int = 0) -> dict:
    """The AUC of both polarities on the dialogues' labels and on VADER, for words that both rules know and for all.

    Returns:
        What JSON holds: labels (words x split), words (their share of positive dialogues), vader, conclusion.
    """
    sides = label_sides(prepared.lexicon)
    sets: dict[str, tuple[dict[str, np.ndarray], np.ndarray]] = {}
    for quality in QUALITIES:
        scores, rated, has = word_scores(prepared, quality)
        if quality == "all":
            sets["all words with a vector"] = scores, has
            everything = scores, rated, has
        sets["rated words" if quality == "all" else f"rated words, {quality} vectors"] = (
            scores,
            rated & has,
        )
    sets = {name: (scores, some) for name, (scores, some) in sets.items() if some.any()}
    result: dict = {
        "positive_labels": [EMOTIONS[i] for i in np.flatnonzero(sides == 1)],
        "negative_labels": [EMOTIONS[i] for i in np.flatnonzero(sides == 0)],
        "left_out_labels": [EMOTIONS[i] for i in np.flatnonzero(sides == -1)],
        "intervals": f"95 %, {draws} draws; dialogues resampled for labels, words for correlations and VADER",
        "labels": [],
        "words": {},
    }
    for split in ("all", *SPLITS):
        counts, labels = dialogue_words(prepared.corpus, SPLITS if split == "all" else [split])
        for name, (scores, some) in sets.items():
            chosen = {key: value[some] for key, value in scores.items()}
            row = against_labels(counts[:, some], sides[labels], chosen, draws, seed)
            result["labels"].append({"split": split, "set": name, "words": int(some.sum())} | row)
            if split == "all":
                occurs = (counts[:, some] > 0).astype(np.float64)
                up, down = (
                    np.asarray(occurs[sides[labels] == side].sum(axis=0)).ravel() for side in (1, 0)
                )
                frequent = up + down >= FREQUENT
                share = up[frequent] / (up + down)[frequent]
                result["words"][name] = {
                    key: rank_correlation(value[frequent], share, draws, seed)
                    for key, value in chosen.items()
                }
    result["vader"] = _vader(prepared, *everything, draws, seed)
    return result | {"conclusion": _conclusion(result)}


def _vader(
    prepared: Prepared, scores: dict, rated: np.ndarray, has: np.ndarray, draws: int, seed: int
) -> dict:
    vader, words = read_vader(), prepared.corpus.vocabulary.words[len(SPECIALS) :]
    if vader is None:
        return {"note": VADER_NOTE}
    valence = np.array([vader.get(word, np.nan) for word in words])
    known = ~np.isnan(valence) & (valence != 0) & has
    result: dict = {}
    for name, some in (("rated words", known & rated), ("unrated words", known & ~rated)):
        judged = (
            scores
            if name == "rated words"
            else {key: s for key, s in scores.items() if key != "trait"}
        )
        result[name] = against_lexicon(judged, some, valence > 0, draws, seed)
    both = known & rated
    if both.any():
        agree = trait_polarity(scores["trait"][both]) == (valence[both] > 0)
        result["lexica_agree"] = round(100 * float(agree.mean()), 4)
        for name in ("state", "state, rated centroids"):
            result[f"{name}: agrees"] = round(
                100 * float(((scores[name] > 0) == (valence > 0))[both].mean()), 4
            )
    side = (valence[known] > 0).astype(np.int8)
    if (
        0 < side.sum() < len(side)
    ):  # the paper's rule with the other lexicon's ratings, its words only
        state = state_polarity(prepared.vectors.matrix[len(SPECIALS) :][known], side)
        result["differ_by_vader"] = {
            "words": len(side),
            "share": round(100 * float((state != side).mean()), 4),
        }
    return result


def _conclusion(result: dict) -> str:
    sentences = []
    for name, opening in (
        ("rated words", "Whether a dialogue's label is positive"),
        ("rated words, published vectors", "With published vectors only"),
    ):
        rows = [row for row in result["labels"] if row["split"] == "all" and row["set"] == name]
        if not rows or rows[0]["by_dialogue"]["trait"]["value"] is None:
            continue
        trait, state = (rows[0]["by_dialogue"][key] for key in ("trait", "state, rated centroids"))
        difference, verdict = state["minus"]["trait"], "the two cannot be told apart"
        if difference["low"] > 0:
            verdict = "the state rule is the better measure"
        elif difference["high"] < 0:
            verdict = "the lexicon is the better measure"
        sentences.append(
            f"{opening}: the valence of its {rows[0]['words']:,} rated words tells with an AUC of {trait['value']:.3f}, "
            f"their state polarity with {state['value']:.3f}, a difference of {difference['value']:+.3f} "
            f"({difference['low']:+.3f} to {difference['high']:+.3f}): {verdict}."
        )
        paper = state["minus"]["state"]
        sentences.append(
            f"That is {paper['value']:+.3f} ({paper['low']:+.3f} to {paper['high']:+.3f}) against the paper's own rule, whose "
            "centroids hold unrated words, too."
        )
    return " ".join([*sentences, *_vader_told(result["vader"])]) or (
        "There are no dialogues of both sides to check the polarities against."
    )


def _vader_told(vader: dict) -> list[str]:
    sentences = []
    for name, opening in (
        ("rated words", "words that both lexica rate"),
        ("unrated words", "words that only VADER rates"),
    ):
        row = vader.get(name, {"words": 0})
        if row["words"] and row["state"]["value"] is not None:
            better = row["state, rated centroids"]
            sentences.append(
                f"VADER's side of {row['words']:,} {opening} is told with an AUC of {better['value']:.3f} by the centroids "
                f"of rated words, {row['state']['value']:.3f} by the paper's."
            )
    if "differ_by_vader" in vader:
        row = vader["differ_by_vader"]
        sentences.append(
            f"With VADER's ratings in place of NRC VAD's, {row['share']:.1f} % of {row['words']:,} words differ."
        )
    return sentences
