"""The most frequent words whose trait and state polarity differ, each quoted in a dialogue."""

import numpy as np

from ctsm_lib.corpus import SPECIALS, Corpus
from ctsm_lib.polarity import NO_STATE, TIE, trait_polarity
from ctsm_lib.prepare import Prepared
from ctsm_workbench.study.polarity.standards import word_scores


def discrepant_words(prepared: Prepared, words: int = 12) -> dict:
    """The most frequent words that differ, by the paper's rule and among rated words only.

    A row has word, count (in training), rated, trait, state and quotation. Paper: Sec. 5.4, which
    counts such words and shows one.
    """
    first = len(SPECIALS)
    corpus = prepared.corpus
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
        rows = [
            {"word": corpus.vocabulary.words[first + i], "count": int(corpus.counts[first + i])}
            | {"rated": bool(rated[i]), "trait": int(trait[i]), "state": int(state[i])}
            | {"quotation": quotation(corpus, first + i)}
            for i in order[differ[order]][:words]
        ]
        rules[name] = {"differ": int(differ.sum()), "of": int(part.sum()), "words": rows}
    return {"description": prepared.description, "rules": rules}


def quotation(corpus: Corpus, word: int) -> list[str]:
    """The text before and after a random occurrence of a word in training, or empty texts."""
    places = np.flatnonzero(np.asarray(corpus.splits["train"].tokens) == word)
    if not len(places):
        return ["", ""]
    return list(words_around(corpus, int(np.random.default_rng([0, word]).choice(places))))


def words_around(corpus: Corpus, place: int, around: int = 4) -> tuple[str, str]:
    """Up to `around` words before and after a place in the training tokens, within its turn."""
    split = corpus.splits["train"]
    turn = int(np.searchsorted(split.turn_offsets, place, side="right")) - 1
    begin, end = split.turn_offsets[turn : turn + 2].tolist()
    left = max(begin, place - around)
    right = min(end, place + around + 1)
    before = corpus.vocabulary.decode(np.asarray(split.tokens[left:place]).tolist())
    after = corpus.vocabulary.decode(np.asarray(split.tokens[place + 1 : right]).tolist())
    return " ".join(["..."] * (left > begin) + before), " ".join(after + ["..."] * (right < end))
