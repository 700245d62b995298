"""The most frequent words whose trait and state polarity differ, each with a few words of a dialogue around it."""

from __future__ import annotations

import numpy as np

from ctsm_lib.corpus import SPECIALS, Corpus
from ctsm_lib.polarity import NO_STATE, TIE, trait_polarity
from ctsm_lib.prepare import Prepared
from ctsm_workbench.study.polarity.standards import word_scores

AROUND = 4  # words quoted on either side


def discrepant_words(prepared: Prepared, words: int = 12, seed: int = 0) -> dict:
    """The most frequent words that differ, by the paper's rule and among rated words only.

    Returns:
        `rules`: name -> rows of word, count (in training), rated, trait, state and a quotation from a training dialogue.

    Raises:
        DataError: a group is empty, as in `analyse`.

    Paper: Sec. 5.4, which counts such words and shows one.
    """
    first, corpus = len(SPECIALS), prepared.corpus
    scores, rated, has = word_scores(prepared)
    trait = trait_polarity(scores["trait"]) * rated
    order = np.argsort(-corpus.counts[first:], kind="stable")
    rules = {}
    for name, score, part in (
        ("the paper's rule, all words", scores["state"], has),
        ("rated words only", scores["state, rated centroids"], has & rated),
    ):
        state = np.where(part, score > TIE, NO_STATE)
        differ = part & (state != trait)
        rows = []
        for i in order[differ[order]][:words]:
            row = {
                "word": corpus.vocabulary.words[first + i],
                "count": int(corpus.counts[first + i]),
            }
            row |= {"rated": bool(rated[i]), "trait": int(trait[i]), "state": int(state[i])}
            rows.append(row | {"quotation": quotation(corpus, first + i, seed)})
        rules[name] = {"differ": int(differ.sum()), "of": int(part.sum()), "words": rows}
    return {"description": prepared.description, "rules": rules}


def quotation(corpus: Corpus, word: int, seed: int = 0) -> list[str]:
    """What stands before and after a random occurrence of a word in the training turns, up to `AROUND` words each.

    Two empty texts where the word does not occur there.
    """
    split = corpus.splits["train"]
    places = np.flatnonzero(np.asarray(split.tokens) == word)
    if not len(places):
        return ["", ""]
    return list(words_around(corpus, int(np.random.default_rng([seed, word]).choice(places))))


def words_around(corpus: Corpus, place: int, around: int = AROUND) -> tuple[str, str]:
    """What stands before and after a place in the training tokens, within its turn: up to `around` words each."""
    split = corpus.splits["train"]
    turn = int(np.searchsorted(split.turn_offsets, place, side="right")) - 1
    begin, end = int(split.turn_offsets[turn]), int(split.turn_offsets[turn + 1])
    left, right = max(begin, place - around), min(end, place + around + 1)
    before, after = (
        corpus.vocabulary.decode(np.asarray(split.tokens[some]).tolist())
        for some in (slice(left, place), slice(place + 1, right))
    )
    return " ".join(["..."] * (left > begin) + before), " ".join(after + ["..."] * (right < end))
