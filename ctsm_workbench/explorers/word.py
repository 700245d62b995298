"""The report on one word: rating, rarity, both polarities, nearest words and occurrences.

Paper: Sec. 3.4.1 and 5.4. Shapes: n = the vocabulary without the special tokens, d dimensions.
"""

import difflib
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ctsm_lib.corpus import EMOTIONS, SPECIALS, USR, tokenize
from ctsm_lib.errors import DataError
from ctsm_lib.lexicon import NEUTRAL_VAD, intensity
from ctsm_lib.polarity import NO_STATE, TIE, lengths_of, trait_polarity
from ctsm_lib.prepare import Prepared
from ctsm_workbench.study.polarity.frequent import words_around
from ctsm_workbench.study.polarity.standards import word_scores

STATES = {
    "state": "state, the paper's centroids",
    "state, rated centroids": "state, centroids of rated words",
}
NEAREST = 8
QUOTED = 5


class Quotation(NamedTuple):
    """An occurrence in a training dialogue, with a few words before and after it."""

    emotion: str
    who: str
    before: str
    after: str


@dataclass(frozen=True)
class WordReport:
    """Everything known about a word. Without `known` the fields after it keep their defaults."""

    word: str
    rated: bool
    vad: tuple[float, ...]  # in [0, 1]; the neutral values where it is not rated
    intensity: float
    trait: int  # 1 positive, 0 negative; by the paper's rule, unrated words are negative
    similar: list[str] = field(default_factory=list)  # similar spellings of an unknown word
    known: bool = False  # by the vocabulary
    idf: float = 1.0
    count: int = 0
    # For each key of `STATES`: the margin (cosine to the positive less cosine to the negative
    # centroid), that margin over the largest one of all words, and 1, 0 or `NO_STATE`.
    states: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    # Words with their cosine and trait (None: not rated).
    nearest: list[tuple[str, float, int | None]] = field(default_factory=list)
    # The most frequent emotion labels of its dialogues, with counts.
    labels: list[tuple[str, int]] = field(default_factory=list)
    quotations: list[Quotation] = field(default_factory=list)


class Words:
    """Looks words up. The scores of all words take seconds, so they are computed once."""

    def __init__(self, prepared: Prepared):
        self.prepared = prepared
        self.words = prepared.corpus.vocabulary.words[len(SPECIALS) :]
        self.scores, self.rated, self.has_vector = word_scores(prepared)
        self.trait = trait_polarity(self.scores["trait"]) * self.rated
        matrix = np.asarray(prepared.vectors.matrix[len(SPECIALS) :], dtype=np.float32)
        lengths = np.maximum(lengths_of(matrix), 1e-30).astype(np.float32)
        self._unit = matrix / lengths[:, None]  # n d
        used = (self.has_vector, self.has_vector & self.rated)
        margins = (np.abs(self.scores[name][part]) for name, part in zip(STATES, used, strict=True))
        self._largest = list(map(np.nanmax, margins))

    def look_up(self, text: str, seed: int = 0) -> WordReport:
        """Report on the first word of a text, with quotations chosen by the seed.

        Raises `DataError` where the text holds no word.
        """
        if not (tokens := tokenize(text[:200])):
            raise DataError("Type a word.")
        word = tokens[0]
        rating = self.prepared.lexicon.ratings.get(word)
        rated = rating is not None
        vad = tuple(map(float, rating or NEUTRAL_VAD["standard"]))
        index = self.prepared.corpus.vocabulary.index.get(word, -1)
        strength = float(intensity(np.array(vad), np.array(rated)))
        trait = int(rated and trait_polarity(np.array(vad[0])))
        report = WordReport(word, rated, vad, intensity=strength, trait=trait)
        if index < len(SPECIALS):
            alike = [other for other in self.words if other[:1] == word[:1]]
            return replace(report, similar=difflib.get_close_matches(word, alike, n=5, cutoff=0.7))
        place = index - len(SPECIALS)
        states = {}
        for name, largest in zip(STATES, self._largest, strict=True):
            margin = float(self.scores[name][place])
            polarity = int(margin > TIE) if self.has_vector[place] else NO_STATE
            states[name] = (margin, margin / largest, polarity)
        alike = self.has_vector & self.has_vector[place]
        cosines = np.where(alike, self._unit @ self._unit[place], -np.inf)
        cosines[place] = -np.inf
        nearest = [
            (self.words[k], float(cosines[k]), int(self.trait[k]) if self.rated[k] else None)
            for k in np.argsort(-cosines, kind="stable")[:NEAREST]
            if np.isfinite(cosines[k])
        ]
        corpus = self.prepared.corpus
        split = corpus.splits["train"]
        occurs = np.flatnonzero(np.asarray(split.tokens) == index)
        turns = np.searchsorted(split.turn_offsets, occurs, side="right") - 1
        dialogues = np.searchsorted(split.dialogue_offsets, turns, side="right") - 1
        labels = np.asarray(split.labels)[dialogues]
        times = np.bincount(labels, minlength=len(EMOTIONS))
        often = [k for k in np.argsort(-times, kind="stable")[:5] if times[k]]
        quotations = []
        for k in np.random.default_rng([seed, index]).permutation(len(occurs))[:QUOTED]:
            who = "speaker" if split.speaker[occurs[k]] == USR else "listener"
            before, after = words_around(corpus, int(occurs[k]), around=6)
            quotations.append(Quotation(EMOTIONS[labels[k]], who, before, after))
        return replace(
            report, known=True, idf=float(corpus.idf[index]), count=int(corpus.counts[index]),
            states=states, nearest=nearest, labels=[(EMOTIONS[k], int(times[k])) for k in often],
            quotations=quotations,
        )  # fmt: skip
