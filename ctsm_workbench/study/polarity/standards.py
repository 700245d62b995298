"""Both polarities against two outside standards: the dialogues' emotion labels, and a second lexicon (VADER).

Section 5.4 compares trait and state with each other, which cannot show which of them is right. Here a word's graded
trait (its valence) and graded state (cosine to the positive minus cosine to the negative centroid) have to predict
something else. Source: Hutto and Gilbert (2014) for VADER.
Legend of shapes: n words, D dialogues, K bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

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
from ctsm_workbench.study.intervals import auc, compared, rank_correlation, times_drawn
from ctsm_workbench.study.polarity.choices import QUALITIES

FREQUENT = 10  # dialogues that a word must occur in, so that its share of positive ones is used
VADER_NOTE = "The package vaderSentiment is not installed: pip install 'ctsm-lab[analysis]' adds the second lexicon."
Scores = dict[str, np.ndarray]


def label_sides(lexicon: Lexicon) -> np.ndarray:
    """[32] int8: 1 for an emotion label of positive valence, 0 for a negative one, -1 where the lexicon lacks it."""
    valence = [lexicon.ratings.get(emotion, (np.nan,))[0] for emotion in EMOTIONS]
    return np.where(np.isnan(valence), -1, trait_polarity(np.array(valence))).astype(np.int8)


def word_scores(prepared: Prepared, quality: str = "all") -> tuple[Scores, np.ndarray, np.ndarray]:
    """Graded polarities of the vocabulary without the special tokens.

    Args:
        quality: the vectors to use, a key of `QUALITIES`.

    Returns:
        Scores [n] by name, [n] bool rated, [n] bool whether there is a vector.
    """
    first = len(SPECIALS)
    vad, rated = prepared.lexicon.table(prepared.corpus.vocabulary)
    valence = vad[first:, 0].astype(np.float64)
    rated = rated[first:]
    matrix = prepared.vectors.matrix[first:]
    lengths = lengths_of(matrix) * np.isin(prepared.vectors.kind[first:], QUALITIES[quality])
    trait = trait_polarity(valence) * rated
    groups = [group_weights(trait, some, unit=False) for some in (lengths, lengths * rated)]
    cosines = group_cosines(
        matrix, lengths, weights=np.concatenate(groups, axis=1), leave_out=np.zeros(4, dtype=bool)
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
    blocks = []
    for split in (corpus.splits[name] for name in splits):
        ends = split.turn_offsets[split.dialogue_offsets]
        counts = sparse.csr_matrix(
            (np.ones(int(ends[-1])), np.array(split.tokens), ends),
            shape=(len(ends) - 1, len(corpus.vocabulary)),
        )
        counts.sum_duplicates()
        blocks.append(counts[:, len(SPECIALS) :])
    labels = np.concatenate([corpus.splits[name].labels for name in splits])
    return sparse.vstack(blocks, format="csr"), labels


def against_labels(
    counts: sparse.csr_matrix, sides: np.ndarray, scores: Scores, draws: int = 200, seed: int = 0
) -> dict:
    """The accuracy (AUC) of word scores as predictors of positive and negative dialogue labels.

    Args:
        counts, sides: [D, n], and [D] 1, 0 or -1 (left out).
        scores: [n] by name.

    Returns:
        For occurrences (each one is a case) and for dialogues (their score is the mean over their words): the AUC of
        every score and its difference to each before it, with 95 % intervals from resampled dialogues.
    """
    kept = counts[sides >= 0]
    positive = sides[sides >= 0] == 1
    times = times_drawn(len(positive), draws, seed)
    up = np.asarray((kept[positive].T @ times[:, positive].T).T)  # [1 + K, n]
    down = np.asarray((kept[~positive].T @ times[:, ~positive].T).T)
    size = np.asarray(kept.sum(axis=1)).ravel()
    some = size > 0
    by_dialogue = {}
    for name, score in scores.items():
        mean = np.round((kept @ score)[some] / size[some], 12)  # equal dialogues stay equal
        above = times[:, some] * positive[some]
        by_dialogue[name] = auc(mean, above, times[:, some] - above)
    return {
        "dialogues": int(some.sum()),
        "positive_dialogues": int(positive[some].sum()),
        "occurrences": int(size.sum()),
        "by_occurrence": compared({name: auc(s, up, down) for name, s in scores.items()}),
        "by_dialogue": compared(by_dialogue),
    }


def against_lexicon(
    scores: Scores, known: np.ndarray, positive: np.ndarray, draws: int = 200, seed: int = 0
) -> dict:
    """AUC of every score for the polarity that a second lexicon gives; the lexicon's words are resampled.

    Args:
        scores: [n] by name.
        known, positive: [n] bool, whether the second lexicon has the word, and whether it is positive there.
    """
    side = positive[known]
    times = times_drawn(len(side), draws, seed)
    drawn = {name: auc(score[known], times * side, times * ~side) for name, score in scores.items()}
    return {"words": len(side), "positive": int(side.sum())} | compared(drawn)


def read_vader() -> dict[str, float] | None:
    """VADER's mean human valence of each word in [-4, 4]; None where the package is not installed."""
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        return None
    lexicon = SentimentIntensityAnalyzer().lexicon
    return {str(word).lower(): float(value) for word, value in lexicon.items()}


def outside_standards(prepared: Prepared, draws: int = 200, seed: int = 0) -> dict:
    """The AUC of both polarities on the dialogues' labels and on VADER, for words that both rules know and for all.

    Returns:
        JSON data: labels (words x split), words (their share of positive dialogues), vader, conclusion.
    """
    sides = label_sides(prepared.lexicon)
    scores, rated, has = word_scores(prepared)
    sets = {"all words with a vector": (scores, has), "rated words": (scores, rated & has)}
    for quality in ("published", "exact"):
        own, _, good = word_scores(prepared, quality)
        sets[f"rated words, {quality} vectors"] = (own, rated & good)
    labels = []
    words = {}
    for split in ("all", *SPLITS):
        chosen = SPLITS if split == "all" else [split]
        counts, label = dialogue_words(prepared.corpus, chosen)
        for name, (graded, some) in sets.items():
            if not some.any():
                continue
            own = {key: value[some] for key, value in graded.items()}
            row = against_labels(counts[:, some], sides[label], own, draws=draws, seed=seed)
            labels.append({"split": split, "set": name, "words": int(some.sum())} | row)
            if split == "all":
                up, down = (_occurs(counts[sides[label] == side][:, some]) for side in (1, 0))
                often = up + down >= FREQUENT
                share = up[often] / (up + down)[often]
                words[name] = {
                    key: rank_correlation(value[often], share, draws, seed)
                    for key, value in own.items()
                }
    result = {
        "positive_labels": [EMOTIONS[i] for i in np.flatnonzero(sides == 1)],
        "negative_labels": [EMOTIONS[i] for i in np.flatnonzero(sides == 0)],
        "left_out_labels": [EMOTIONS[i] for i in np.flatnonzero(sides == -1)],
        "intervals": f"95 %, {draws} draws; dialogues resampled for labels, words for correlations and VADER",
        "labels": labels,
        "words": words,
        "vader": _against_vader(prepared, scores, rated=rated, has=has, draws=draws, seed=seed),
    }
    return result | {"conclusion": _conclusion(result)}


def _occurs(counts: sparse.csr_matrix) -> np.ndarray:
    """In how many dialogues each word occurs, [n]."""
    return np.asarray((counts > 0).sum(axis=0)).ravel().astype(np.float64)


def _against_vader(
    prepared: Prepared, scores: Scores, rated: np.ndarray, has: np.ndarray, draws: int, seed: int
) -> dict:
    vader = read_vader()
    if vader is None:
        return {"note": VADER_NOTE}
    words = prepared.corpus.vocabulary.words[len(SPECIALS) :]
    valence = np.array([vader.get(word, np.nan) for word in words])
    known = ~np.isnan(valence) & (valence != 0) & has
    positive = valence > 0
    states = {key: score for key, score in scores.items() if key != "trait"}
    both = known & rated
    result: dict = {
        "rated words": against_lexicon(scores, both, positive, draws, seed),
        "unrated words": against_lexicon(states, known & ~rated, positive, draws, seed),
    }
    if both.any():
        agree = trait_polarity(scores["trait"]) == positive
        result["lexica_agree"] = _percent(agree[both])
        for name, score in states.items():
            result[f"{name}: agrees"] = _percent(((score > 0) == positive)[both])
    side = positive[known].astype(np.int8)
    if 0 < side.sum() < len(side):  # the paper's rule with VADER's ratings, for its words only
        state = state_polarity(prepared.vectors.matrix[len(SPECIALS) :][known], side)
        result["differ_by_vader"] = {"words": len(side), "share": _percent(state != side)}
    return result


def _percent(values: np.ndarray) -> float:
    return round(100 * float(values.mean()), 4)


def _conclusion(result: dict) -> str:
    sentences = []
    rows = {row["set"]: row for row in result["labels"] if row["split"] == "all"}
    for name, opening in (
        ("rated words", "Positive and negative dialogue labels"),
        ("rated words, published vectors", "The same with published vectors only"),
    ):
        scores = rows[name]["by_dialogue"] if name in rows else None
        if scores is None or scores["trait"]["value"] is None:
            continue
        state = scores["state, rated centroids"]
        difference = state["minus"]["trait"]
        verdict = "neither measure is clearly better"
        if difference["low"] > 0:
            verdict = "the state rule is the better measure"
        elif difference["high"] < 0:
            verdict = "the lexicon is the better measure"
        sentences.append(
            f"{opening}: the valence of {rows[name]['words']:,} rated words predicts them with an "
            f"AUC of {scores['trait']['value']:.3f}, their state polarity with "
            f"{state['value']:.3f}, a difference of {_signed(difference)}: {verdict}. Against the "
            "paper's own rule, whose centroids include unrated words, the difference is "
            f"{_signed(state['minus']['state'])}."
        )
    vader = result["vader"]
    for name, opening in (
        ("rated words", "words that both lexica rate"),
        ("unrated words", "words that only VADER rates"),
    ):
        row = vader.get(name, {"words": 0})
        if row["words"] and row["state"]["value"] is not None:
            sentences.append(
                f"VADER's polarity of {row['words']:,} {opening} is predicted with an AUC of "
                f"{row['state, rated centroids']['value']:.3f} by the centroids of rated words, "
                f"{row['state']['value']:.3f} by the paper's."
            )
    if row := vader.get("differ_by_vader"):
        sentences.append(
            f"With VADER's ratings in place of NRC VAD's, {row['share']:.1f} % of "
            f"{row['words']:,} words differ."
        )
    return " ".join(sentences) or "There are no dialogues of both polarities for this check."


def _signed(row: dict) -> str:
    return f"{row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
