"""Both polarities against outside standards: the dialogues' labels, and a second lexicon (VADER).

Section 5.4 compares trait and state with each other, which cannot show which of them is right. Here
a word's graded trait (its valence) and graded state (cosine to the positive minus cosine to the
negative centroid) have to predict something else. Source: Hutto and Gilbert (2014) for VADER.
Legend of shapes: n words, D dialogues, K bootstrap draws.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from ctsm_lib import polarity as rule
from ctsm_lib.corpus import EMOTIONS, SPECIALS, SPLITS, Corpus
from ctsm_lib.lexicon import Lexicon
from ctsm_lib.polarity import trait_polarity
from ctsm_lib.prepare import Prepared
from ctsm_workbench.study.intervals import auc, compared, percent, rank_correlation, times_drawn
from ctsm_workbench.study.polarity.choices import QUALITIES
from ctsm_workbench.study.sentences import sentence

FREQUENT = 10  # dialogues that a word must occur in, so that its share of positive ones is used
Scores = dict[str, np.ndarray]  # name -> graded polarity of n words


def label_sides(lexicon: Lexicon) -> np.ndarray:
    """[32] int8: 1 for an emotion label of positive valence, 0 for negative, -1 if unrated."""
    valence = np.array([lexicon.ratings.get(emotion, (np.nan,))[0] for emotion in EMOTIONS])
    return np.where(np.isnan(valence), -1, trait_polarity(valence)).astype(np.int8)


def word_scores(prepared: Prepared, quality: str = "all") -> tuple[Scores, np.ndarray, np.ndarray]:
    """Graded polarities of the vocabulary without the special tokens.

    Args:
        quality: the vectors to use, a key of `QUALITIES`.

    Returns:
        Scores [n] by name, [n] bool rated, [n] bool whether there is a vector.
    """
    first = len(SPECIALS)
    vad, rated = (array[first:] for array in prepared.lexicon.table(prepared.corpus.vocabulary))
    valence = vad[:, 0].astype(np.float64)
    trait = trait_polarity(valence) * rated
    matrix = prepared.vectors.matrix[first:]
    good = np.isin(prepared.vectors.kind[first:], QUALITIES[quality])
    lengths = rule.lengths_of(matrix) * good
    groups = [rule.group_weights(trait, some, unit=False) for some in (lengths, lengths * rated)]
    weights = np.concatenate(groups, axis=1)
    cosines = rule.group_cosines(matrix, lengths, weights, np.zeros(4, dtype=bool))
    scores = {"trait": valence, "state": cosines[:, 0] - cosines[:, 1]}
    scores["state, rated centroids"] = cosines[:, 2] - cosines[:, 3]
    return scores, rated, lengths > 0


def dialogue_words(
    corpus: Corpus, splits: Sequence[str] = SPLITS
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """[D, n] how often each dialogue has each word without special tokens, and the [D] labels."""
    blocks = []
    for split in (corpus.splits[name] for name in splits):
        ends = split.turn_offsets[split.dialogue_offsets]
        shape = (len(ends) - 1, len(corpus.vocabulary))
        ones = np.ones(int(ends[-1]))
        counts = sparse.csr_matrix((ones, np.array(split.tokens), ends), shape=shape)
        counts.sum_duplicates()
        blocks.append(counts[:, len(SPECIALS) :])
    labels = np.concatenate([corpus.splits[name].labels for name in splits])
    return sparse.vstack(blocks, format="csr"), labels


def against_labels(
    counts: sparse.csr_matrix, sides: np.ndarray, scores: Scores, draws: int = 200
) -> dict:
    """How well word scores predict positive and negative dialogue labels, as AUC.

    Args:
        counts, sides: [D, n], and [D] 1, 0 or -1 (left out).
        scores: [n] by name.

    Returns:
        For occurrences (each one is a case) and for dialogues (their score is the mean over their
        words): the AUC of every score and its difference to each before it, with intervals from
        resampled dialogues.
    """
    kept = counts[sides >= 0]
    positive = sides[sides >= 0] == 1
    times = times_drawn(len(positive), draws)
    up = np.asarray((kept[positive].T @ times[:, positive].T).T)  # [1 + K, n]
    down = np.asarray((kept[~positive].T @ times[:, ~positive].T).T)
    size = np.asarray(kept.sum(axis=1)).ravel()
    some = size > 0
    drawn = times[:, some]
    side = positive[some]
    by_dialogue = {}
    for name, score in scores.items():
        mean = np.round((kept @ score)[some] / size[some], 12)  # equal dialogues stay equal
        by_dialogue[name] = auc(mean, drawn * side, drawn * ~side)
    return {
        "dialogues": len(side),
        "positive_dialogues": int(side.sum()),
        "occurrences": int(size.sum()),
        "by_occurrence": compared({name: auc(score, up, down) for name, score in scores.items()}),
        "by_dialogue": compared(by_dialogue),
    }


def against_lexicon(
    scores: Scores, known: np.ndarray, positive: np.ndarray, draws: int = 200
) -> dict:
    """AUC of every score for the polarities of a second lexicon; its words are resampled.

    Args:
        scores: [n] by name.
        known, positive: [n] bool, whether the lexicon has the word, and whether it is positive.
    """
    side = positive[known]
    times = times_drawn(len(side), draws)
    drawn = {name: auc(score[known], times * side, times * ~side) for name, score in scores.items()}
    return {"words": len(side), "positive": int(side.sum())} | compared(drawn)


def read_vader() -> dict[str, float] | None:
    """VADER's mean human valence of each word in [-4, 4]; None if the package is not installed."""
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        return None
    lexicon = SentimentIntensityAnalyzer().lexicon
    return {str(word).lower(): float(value) for word, value in lexicon.items()}


def outside_standards(prepared: Prepared, draws: int = 200) -> dict:
    """The AUC of both polarities on the dialogues' labels and on VADER, by set of words.

    Returns:
        JSON data: labels (words x split), words (their share of positive dialogues), vader,
        conclusion.
    """
    sides = label_sides(prepared.lexicon)
    scores, rated, has = word_scores(prepared)
    sets = {"all words with a vector": (scores, has), "rated words": (scores, rated & has)}
    for quality in ("published", "exact"):
        graded, _, good = word_scores(prepared, quality)
        sets[f"rated words, {quality} vectors"] = (graded, rated & good)
    result: dict = {"labels": [], "words": {}}
    for split in ("all", *SPLITS):
        counts, labels = dialogue_words(prepared.corpus, SPLITS if split == "all" else [split])
        side = sides[labels]
        for name, (graded, some) in sets.items():
            if not some.any():
                continue
            own = {key: value[some] for key, value in graded.items()}
            row = {"split": split, "set": name, "words": int(some.sum())}
            result["labels"].append(row | against_labels(counts[:, some], side, own, draws))
            if split == "all":
                occurs = (counts[:, some] > 0).astype(np.float64)
                up, down = (np.asarray(occurs[side == s].sum(axis=0)).ravel() for s in (1, 0))
                often = up + down >= FREQUENT
                share = up[often] / (up + down)[often]
                result["words"][name] = {
                    key: rank_correlation(value[often], share, draws) for key, value in own.items()
                }
    for name, side in (("positive", 1), ("negative", 0), ("left_out", -1)):
        result[f"{name}_labels"] = [EMOTIONS[i] for i in np.flatnonzero(sides == side)]
    result["intervals"] = sentence("standards", "intervals", draws=draws)
    result["vader"] = _against_vader(prepared, draws)
    return result | {"conclusion": _conclusion(result)}


def _against_vader(prepared: Prepared, draws: int) -> dict:
    vader = read_vader()
    if vader is None:
        return {"note": sentence("standards", "no_vader")}
    first = len(SPECIALS)
    scores, rated, has = word_scores(prepared)
    words = prepared.corpus.vocabulary.words[first:]
    valence = np.array([vader.get(word, 0.0) for word in words])
    known = (valence != 0) & has
    positive = valence > 0
    states = {name: score for name, score in scores.items() if name != "trait"}
    both = known & rated
    result: dict = {"rated words": against_lexicon(scores, both, positive, draws)}
    result["unrated words"] = against_lexicon(states, known & ~rated, positive, draws)
    if both.any():
        alike = {"lexica_agree": trait_polarity(scores["trait"]) == positive}
        alike |= {f"{name}: agrees": (state > 0) == positive for name, state in states.items()}
        result |= {name: percent(same[both]) for name, same in alike.items()}
    side = positive[known].astype(np.int8)
    if 0 < side.sum() < len(side):  # the paper's rule with VADER's ratings, for its words only
        differ = rule.state_polarity(prepared.vectors.matrix[first:][known], side) != side
        result["differ_by_vader"] = {"words": len(side), "share": percent(differ)}
    return result


def _conclusion(result: dict) -> str:
    texts = []
    rows = {row["set"]: row for row in result["labels"] if row["split"] == "all"}
    for name, opening in (
        ("rated words", "Positive and negative dialogue labels"),
        ("rated words, published vectors", "With published vectors only"),
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
        values = {"trait": scores["trait"], "state": state, "difference": difference}
        values |= {"opening": opening, "words": rows[name]["words"], "verdict": verdict}
        texts.append(sentence("standards", "labels", **values))
        texts.append(sentence("standards", "paper", **state["minus"]["state"]))
    vader = result["vader"]
    for name, words in (
        ("rated words", "words that both lexica rate"),
        ("unrated words", "words that only VADER rates"),
    ):
        row = vader.get(name)
        if row and row["state"]["value"] is not None:
            values = {"rated": row["state, rated centroids"], "paper": row["state"]}
            texts.append(sentence("standards", "vader", count=row["words"], words=words, **values))
    if "differ_by_vader" in vader:
        texts.append(sentence("standards", "differ", **vader["differ_by_vader"]))
    return " ".join(texts) or sentence("standards", "nothing")
