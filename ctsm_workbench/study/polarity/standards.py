"""Both polarities against outside standards: the dialogues' labels, and a second lexicon (VADER).

Section 5.4 compares trait and state with each other, which cannot show which of them is right. Here
a word's graded trait (its valence) and graded state (cosine to the positive minus cosine to the
negative centroid) have to predict something else. Source: Hutto and Gilbert (2014) for VADER.
Shapes: n words, D dialogues, K bootstrap draws.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix, vstack

from ctsm_lib import polarity as rule
from ctsm_lib.corpus import EMOTIONS, SPECIALS, SPLITS, Corpus
from ctsm_lib.lexicon import Lexicon
from ctsm_lib.polarity import trait_polarity
from ctsm_lib.prepare import Prepared
from ctsm_workbench.study import intervals, sentence
from ctsm_workbench.study.intervals import Array

QUALITIES = {"all": (0, 1, 2, 3), "published": (0, 1), "exact": (0,)}  # keys of `vectors.KINDS`
FREQUENT = 10  # dialogues that a word must occur in, so that its share of positive ones is used
Scores = dict[str, Array]  # name -> graded polarity of n words


def label_sides(lexicon: Lexicon) -> Array:
    """[32] int8: 1 for an emotion label of positive valence, 0 for negative, -1 if unrated."""
    valence = np.array([lexicon.ratings.get(emotion, (np.nan,))[0] for emotion in EMOTIONS])
    return np.where(np.isnan(valence), -1, trait_polarity(valence)).astype(np.int8)


def graded_states(
    vectors: Array, trait: Array, lengths: Array, *members: Array, leave_one_out: bool = False
) -> Array:
    """Cosine to the positive minus cosine to the negative centroid, a row [n] for each choice.

    Non-zero entries of a choice `members` [n] are the words that make the two centroids.
    """
    weights = np.hstack([rule.group_weights(trait, some, unit=False) for some in members])
    leave_out = np.full(weights.shape[1], leave_one_out)
    cosines = rule.group_cosines(vectors, lengths, weights, leave_out)
    return (cosines[:, ::2] - cosines[:, 1::2]).T


def word_scores(prepared: Prepared, quality: str = "all") -> tuple[Scores, Array, Array]:
    """Graded polarities [n] by name, and [n] bool whether a word is rated, and has a vector.

    Special tokens are left out. `quality` is a key of `QUALITIES`: the vectors to use.
    """
    first = len(SPECIALS)
    vad, rated = (array[first:] for array in prepared.lexicon.table(prepared.corpus.vocabulary))
    valence = vad[:, 0].astype(np.float64)
    matrix = prepared.vectors.matrix[first:]
    lengths = rule.lengths_of(matrix) * np.isin(prepared.vectors.kind[first:], QUALITIES[quality])
    trait = trait_polarity(valence) * rated
    every, among_rated = graded_states(matrix, trait, lengths, lengths, lengths * rated)
    scores = {"trait": valence, "state": every, "state, rated centroids": among_rated}
    return scores, rated, lengths > 0


def dialogue_words(corpus: Corpus, splits: Sequence[str] = SPLITS) -> tuple[csr_matrix, Array]:
    """[D, n] how often each dialogue has each word without special tokens, and the [D] labels."""
    parts = [corpus.splits[name] for name in splits]
    blocks = []
    for split in parts:
        ends = split.turn_offsets[split.dialogue_offsets]
        entries = (np.ones(int(ends[-1])), np.array(split.tokens), ends)
        blocks.append(csr_matrix(entries, shape=(len(ends) - 1, len(corpus.vocabulary))))
    counts = vstack(blocks, format="csr")
    counts.sum_duplicates()
    return counts[:, len(SPECIALS) :], np.concatenate([split.labels for split in parts])


def against_labels(counts: csr_matrix, sides: Array, scores: Scores, draws: int = 200) -> dict:
    """The AUC of word scores [n] for the polarity of dialogue labels; dialogues are resampled.

    `counts` are [D, n]; `sides` [D] are 1, 0 or -1 (left out). A case is an occurrence of a word,
    or a dialogue, whose score is the mean over its words.
    """
    kept = counts[sides >= 0]
    positive = sides[sides >= 0] == 1
    times = intervals.times_drawn(len(positive), draws)
    groups = (positive, ~positive)
    up, down = (np.asarray((kept[some].T @ times[:, some].T).T) for some in groups)  # [1 + K, n]
    size = np.asarray(kept.sum(axis=1)).ravel()
    some = size > 0
    # Rounded, so that equal dialogues stay equal.
    mean = {name: np.round((kept @ own)[some] / size[some], 12) for name, own in scores.items()}
    occurrences = {name: intervals.auc(score, up, down) for name, score in scores.items()}
    return {
        "dialogues": int(some.sum()),
        "positive_dialogues": int(positive[some].sum()),
        "occurrences": int(size.sum()),
        "by_occurrence": intervals.compared(occurrences),
        "by_dialogue": intervals.compared_aucs(mean, positive[some], times[:, some]),
    }


def against_lexicon(scores: Scores, known: Array, positive: Array, draws: int = 200) -> dict:
    """AUC of every score [n] for the polarities of a second lexicon; its words are resampled.

    `known` [n] bool says whether the lexicon has a word, and `positive` [n] its polarity there.
    """
    side = positive[known]
    own = {name: score[known] for name, score in scores.items()}
    aucs = intervals.compared_aucs(own, side, intervals.times_drawn(len(side), draws))
    return {"words": len(side), "positive": int(side.sum())} | aucs


def read_vader() -> dict[str, float] | None:
    """VADER's mean human valence of each word in [-4, 4]; None if the package is not installed."""
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        return None
    lexicon = SentimentIntensityAnalyzer().lexicon
    return {str(word).lower(): float(value) for word, value in lexicon.items()}


def outside_standards(prepared: Prepared, draws: int = 200) -> dict:
    """The AUC of both polarities on labels (words x split), words (their labels), and VADER."""
    sides = label_sides(prepared.lexicon)
    scores, rated, has = word_scores(prepared)
    sets = {"all words with a vector": (scores, has), "rated words": (scores, rated & has)}
    for quality in ("published", "exact"):
        graded, _, good = word_scores(prepared, quality)
        sets[f"rated words, {quality} vectors"] = (graded, rated & good)
    sets = {name: (graded, some) for name, (graded, some) in sets.items() if some.any()}
    result: dict = {"labels": [], "words": {}}
    for split in ("all", *SPLITS):
        counts, labels = dialogue_words(prepared.corpus, SPLITS if split == "all" else [split])
        side = sides[labels]
        for name, (graded, some) in sets.items():
            own = {key: value[some] for key, value in graded.items()}
            row = {"split": split, "set": name, "words": int(some.sum())}
            result["labels"].append(row | against_labels(counts[:, some], side, own, draws))
            if split == "all":
                result["words"][name] = _shares(counts[:, some] > 0, side, own, draws)
    for name, side in (("positive", 1), ("negative", 0), ("left_out", -1)):
        result[f"{name}_labels"] = [EMOTIONS[i] for i in np.flatnonzero(sides == side)]
    result["intervals"] = sentence("standards", "intervals", draws=draws)
    result["vader"] = _against_vader(prepared, scores, rated, has, draws=draws)
    return result | {"conclusion": _conclusion(result)}


def _shares(occurs: csr_matrix, side: Array, scores: Scores, draws: int) -> dict:
    """Correlations of scores with the share of positive dialogues among those with a word."""
    up, down = (np.asarray(occurs[side == s].sum(axis=0)).ravel() for s in (1, 0))
    often = up + down >= FREQUENT
    share = up[often] / (up + down)[often]
    rank = intervals.rank_correlation
    return {name: rank(score[often], share, draws) for name, score in scores.items()}


def _against_vader(
    prepared: Prepared, scores: Scores, rated: Array, has: Array, *, draws: int
) -> dict:
    vader = read_vader()
    if vader is None:
        return {"note": sentence("standards", "no_vader")}
    words = prepared.corpus.vocabulary.words[len(SPECIALS) :]
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
        result |= {name: intervals.percent(same[both]) for name, same in alike.items()}
    side = positive[known].astype(np.int8)
    if 0 < side.sum() < len(side):  # the paper's rule with VADER's ratings, for its words only
        vectors = prepared.vectors.matrix[len(SPECIALS) :][known]
        share = intervals.percent(rule.state_polarity(vectors, side) != side)
        result["differ_by_vader"] = {"words": len(side), "share": share}
    return result


def _conclusion(result: dict) -> str:
    texts = []
    rows = {row["set"]: row for row in result["labels"] if row["split"] == "all"}
    for name in ("rated words", "rated words, published vectors"):
        if name not in rows or rows[name]["by_dialogue"]["trait"]["value"] is None:
            continue
        scores = rows[name]["by_dialogue"]
        minus = scores["state, rated centroids"]["minus"]
        low = minus["trait"]["low"]
        better = "state" if low > 0 else "trait" if minus["trait"]["high"] < 0 else "neither"
        facts = {"opening": sentence("standards", f"opening, {name}"), "words": rows[name]["words"]}
        facts |= {"verdict": sentence("standards", f"verdict, {better}"), "by": minus["trait"]}
        texts.append(sentence("standards", "labels", **facts, **scores))
        texts.append(sentence("standards", "paper", **minus["state"]))
    vader = result["vader"]
    for name in ("rated words", "unrated words"):
        if name in vader and vader[name]["state"]["value"] is not None:
            texts.append(sentence("standards", f"vader, {name}", **vader[name]))
    if "differ_by_vader" in vader:
        texts.append(sentence("standards", "differ", **vader["differ_by_vader"]))
    return " ".join(texts) or sentence("standards", "nothing")
