"""The events of ATOMIC / Event2Mind as weighted vectors that utterances are compared with."""

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import norm
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from ctsm_lib.errors import DataError
from ctsm_lib.knowledge import RELATIONS
from ctsm_workbench.retrieval.stems import (
    features,
    is_feeling,
    negated,
    segments_of,
    stems_of,
    subject_weight,
    words_of,
)
from ctsm_workbench.retrieval.tables import read_atomic

# Where either the utterance or the event is negated, but not both.
_NEGATION_WEIGHT = np.float32(0.55)
_FEELING_WEIGHT = 1.6  # of a word that names a feeling, where other words have 1
# Lengths in units of the rarest word's TF-IDF weight, so that they fit tables of every size:
_SHORT = 1.4  # of a sentence of two or three words
_ENOUGH = 0.95  # of the stems of an event that is specific enough
_VAGUE_WEIGHT = 0.8  # of an event of one word that names no feeling
_FELT_WEIGHT = 1.15  # of an event that names a feeling: speakers know what they feel


class EventIndex:
    """The events of a folder's files, weighted and ready to be compared.

    Files without any phrase raise a `DataError`, and so does `read_atomic`.
    """

    def __init__(self, folder: Path):
        tails, _ = read_atomic(folder)
        if not tails:
            way_out = "fetch them again, or use `--set knowledge=none`"
            raise DataError(f"the files in {folder} have no phrase for any event; {way_out}.")
        self.names = [" ".join(stems) for stems in tails]
        # For each event and each relation its phrases, the most frequent first.
        self.answers = [
            [[text for text, _ in found.get(name, Counter()).most_common()] for name in RELATIONS]
            for found in tails.values()
        ]
        self._negated = np.array([negated(stems) for stems in tails])
        self._vectorizer = TfidfVectorizer(
            analyzer=features, dtype=np.float32, sublinear_tf=True, norm=None
        ).fit(tails)
        names = self._vectorizer.get_feature_names_out()
        feelings = [_FEELING_WEIGHT if is_feeling(name) else 1 for name in names]
        self._vectorizer.idf_ = self._vectorizer.idf_ * feelings
        # [features, events], every event of length 1.
        self._matrix = normalize(self._vectorizer.transform(tails)).T.tocsr()
        # The weight of a word that occurs in one event only.
        self._unit = float(np.log((1 + len(tails)) / 2) + 1)
        idf = dict(zip(names, self._vectorizer.idf_, strict=True))
        length = np.sqrt([sum(idf[stem] ** 2 for stem in set(stems)) for stems in tails])
        felt = np.array([any(map(is_feeling, stems)) for stems in tails])
        vague = np.array([len(stems) == 1 for stems in tails])
        weight = np.where(felt, _FELT_WEIGHT, np.where(vague, _VAGUE_WEIGHT, 1))
        content = np.minimum(length / (_ENOUGH * self._unit), 1) ** 2 * weight
        # [events] how specific: "gets" little, "gets promoted" enough (1), a feeling more.
        self.content: np.ndarray = content.astype(np.float32)

    def compare(self, texts: Sequence[str], whole_weight: float) -> sparse.csr_matrix:
        """[texts, events] similarities, before they are weighted by `content`.

        Each is that of the most similar sentence or clause; where the whole text is less similar,
        it contributes with `whole_weight`.
        """
        segments = [[words_of(segment) for segment in segments_of(text)] for text in texts]
        owner = np.repeat(np.arange(len(texts)), [len(found) for found in segments])
        clauses = list(itertools.chain.from_iterable(segments))
        stems = [stems_of(words) for words in clauses]
        negation = np.array([negated(found) for found in stems])
        subjects = np.array([subject_weight(words) for words in clauses], dtype=np.float32)
        parts = self._cosine(stems).tocoo()
        parts.data *= subjects[parts.row]
        parts.data[negation[parts.row] != self._negated[parts.col]] *= _NEGATION_WEIGHT
        whole = self._cosine([stems_of(words_of(text)) for text in texts])
        best = _row_maximum(parts, owner, whole.shape)
        # The whole can only reduce a score: else it would outweigh that somebody else acts.
        return (best * (1 - whole_weight) + best.minimum(whole) * whole_weight).tocsr()

    def _cosine(self, stems: Sequence[Sequence[str]]) -> sparse.csr_matrix:
        weights = self._vectorizer.transform(stems)
        length = norm(weights, axis=1)
        # Long sentences tell of several events: only the square root of their length counts.
        short = _SHORT * self._unit
        scale = np.where(length > short, np.sqrt(length * short), np.maximum(length, 1e-6))
        return (sparse.diags_array(1 / scale).astype(np.float32) @ weights) @ self._matrix


def _row_maximum(
    matrix: sparse.coo_matrix, owner: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_matrix:
    """One row for all rows that have one owner: the largest value of each column."""
    cell = owner[matrix.row].astype(np.int64) * shape[1] + matrix.col
    order = np.lexsort((-matrix.data, cell))
    cell, first = np.unique(cell[order], return_index=True)
    place = (cell // shape[1], cell % shape[1])
    return sparse.csr_matrix((matrix.data[order][first], place), shape=shape)
