"""The report on one word: rating, rarity, both polarities, nearest words and occurrences.

Paper: Sec. 3.4.1 and 5.4. Shapes: n = the vocabulary without the special tokens, d dimensions.
"""

import difflib
from dataclasses import dataclass, field, replace

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


@dataclass(frozen=True)
class Quotation:
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
    vad: tuple[float, float, float]  # in [0, 1]; the neutral values where it is not rated
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
        used = {"state": self.has_vector, "state, rated centroids": self.has_vector & self.rated}
        self._largest = {
            name: float(np.nanmax(np.abs(self.scores[name][part]))) for name, part in used.items()
        }

    def look_up(self, text: str, seed: int = 0) -> WordReport:
        """Report on the first word of a text, with quotations chosen by the seed.

        Raises `DataError` where the text holds no word.
        """
        tokens = tokenize(text[:200])
        if not tokens:
            raise DataError("Type a word.")
        word = tokens[0]
        corpus = self.prepared.corpus
        rating = self.prepared.lexicon.ratings.get(word)
        vad = rating or NEUTRAL_VAD["standard"]
        report = WordReport(
            word=word,
            rated=rating is not None,
            vad=(float(vad[0]), float(vad[1]), float(vad[2])),
            intensity=float(intensity(np.array([vad]), np.array([rating is not None]))[0]),
            trait=int(trait_polarity(np.array([vad[0]]))[0]) if rating else 0,
        )
        index = corpus.vocabulary.index.get(word, -1)
        place = index - len(SPECIALS)
        if place < 0:
            alike = [other for other in self.words if other[:1] == word[:1]]
            return replace(report, similar=difflib.get_close_matches(word, alike, n=5, cutoff=0.7))
        labels, quotations = self._occurrences(index, seed)
        states = {}
        for name, largest in self._largest.items():
            margin = float(self.scores[name][place])
            polarity = int(margin > TIE) if self.has_vector[place] else NO_STATE
            states[name] = (margin, margin / largest, polarity)
        return replace(
            report,
            known=True,
            idf=float(corpus.idf[index]),
            count=int(corpus.counts[index]),
            states=states,
            nearest=self._nearest(place),
            labels=labels,
            quotations=quotations,
        )

    def _nearest(self, place: int) -> list[tuple[str, float, int | None]]:
        if not self.has_vector[place]:
            return []
        cosines = np.where(self.has_vector, self._unit @ self._unit[place], -np.inf)
        cosines[place] = -np.inf
        return [
            (self.words[k], float(cosines[k]), int(self.trait[k]) if self.rated[k] else None)
            for k in np.argsort(-cosines, kind="stable")[:NEAREST]
            if np.isfinite(cosines[k])
        ]

    def _occurrences(self, word: int, seed: int) -> tuple[list[tuple[str, int]], list[Quotation]]:
        split = self.prepared.corpus.splits["train"]
        places = np.flatnonzero(np.asarray(split.tokens) == word)
        turns = np.searchsorted(split.turn_offsets, places, side="right") - 1
        dialogues = np.searchsorted(split.dialogue_offsets, turns, side="right") - 1
        labels = np.asarray(split.labels)[dialogues]
        counts = np.bincount(labels, minlength=len(EMOTIONS))
        most = np.argsort(-counts, kind="stable")[:5]
        quotations = []
        for k in np.random.default_rng([seed, word]).permutation(len(places))[:QUOTED]:
            who = "speaker" if split.speaker[places[k]] == USR else "listener"
            before, after = words_around(self.prepared.corpus, int(places[k]), around=6)
            quotations.append(Quotation(EMOTIONS[labels[k]], who, before, after))
        return [(EMOTIONS[k], int(counts[k])) for k in most if counts[k]], quotations
