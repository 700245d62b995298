"""Retrieval: what people wrote about the ATOMIC / Event2Mind events that are nearest to an utterance."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import norm
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize
from tqdm import tqdm

from ctsm_lib.cache import digest, file_fingerprint
from ctsm_lib.errors import DataError
from ctsm_lib.knowledge.phrases import MAX_PHRASES, RELATIONS, Inference
from ctsm_lib.knowledge.stems import features, is_feeling, negated, segments_of, stems_of, subject_weight, words_of
from ctsm_lib.knowledge.tables import atomic_paths, read_atomic

VERSION = 2  # raise when the answer to the same text changes

_FEELING_WEIGHT = 1.6  # what a word of feeling counts, next to others
# TF-IDF lengths in units of the rarest word's weight, so that they hold for tables of every size:
_SHORT = 1.4  # of a sentence of two or three words
_ENOUGH = 0.95  # of the stems of an event that says enough
_VAGUE_WEIGHT = 0.8  # what an event of one word counts that is no feeling
_FELT_WEIGHT = 1.15  # what an event counts that names a feeling: whoever says how they feel is to be believed
_NEGATION_WEIGHT = np.float32(0.55)  # where one of utterance and event is negated, and the other is not


class EventIndex:
    """The events of a folder's files, weighed and ready to be compared.

    Attributes:
        names: the events' stems, joined.
        answers: for each event and each relation its phrases, the most frequent first.
        negated: whether an event is that something does not happen.
        content: how much an event says: "gets" little, "gets promoted" enough (1), a feeling a little more.
        matrix: [features, events], every event of length 1.

    Raises:
        DataError: see `read_atomic`.
    """

    def __init__(self, folder: Path):
        tails, _ = read_atomic(folder)
        if not tails:
            raise DataError(
                f"the files in {folder} say nothing about any event; fetch them again, or use `--set knowledge=none`."
            )
        self.names = [" ".join(stems) for stems in tails]
        self.answers = [
            [[phrase for phrase, _ in found.get(relation, Counter()).most_common()] for relation in RELATIONS]
            for found in tails.values()
        ]
        self.negated = np.array([negated(stems) for stems in tails])
        self._counter = CountVectorizer(analyzer=features, dtype=np.float32)
        self._weigher = TfidfTransformer(sublinear_tf=True, norm=None)
        counts = self._counter.fit_transform(tails)
        self._weigher.fit(counts)
        self._unit = float(np.log((1 + len(tails)) / 2) + 1)  # the weight of a word that one event has
        names = self._counter.get_feature_names_out()
        self._weigher.idf_ = self._weigher.idf_ * [_FEELING_WEIGHT if is_feeling(name) else 1 for name in names]
        self.matrix = normalize(self._weigher.transform(counts)).T.tocsr()
        idf = dict(zip(names, self._weigher.idf_, strict=True))
        length = np.sqrt([sum(idf[stem] ** 2 for stem in set(stems)) for stems in tails])
        felt = np.array([any(map(is_feeling, stems)) for stems in tails])
        vague = np.array([len(stems) == 1 for stems in tails])
        kind = np.where(felt, _FELT_WEIGHT, np.where(vague, _VAGUE_WEIGHT, 1))
        self.content: np.ndarray = (np.minimum(length / (_ENOUGH * self._unit), 1) ** 2 * kind).astype(np.float32)

    def compare(self, stems: Sequence[Sequence[str]]) -> sparse.csr_matrix:
        """[texts, events] similarities of texts that are given by their stems."""
        weights = self._weigher.transform(self._counter.transform(stems))
        length = norm(weights, axis=1)
        # Long sentences tell of several things: their length counts by its root only.
        short = _SHORT * self._unit
        scale = np.where(length > short, np.sqrt(length * short), np.maximum(length, 1e-6))
        return (sparse.diags_array(1 / scale).astype(np.float32) @ weights) @ self.matrix


class AtomicRetrieval:
    """What people wrote about the events that are nearest to an utterance.

    Events that differ in function words and persons only are one. Similarity is the cosine of TF-IDF vectors of stems
    and pairs of stems (with long sentences' lengths damped), for each event the largest over the sentences and clauses
    of the utterance, less where the whole utterance is less similar. It is less, too, where the speaker is not the one
    who acts, where only one side is negated, and for events of little content.

    The files are read when the first text is not in the cache.

    Args:
        folder: see `read_atomic`.
        floor: an event less similar than this is not asked.
        ratio: nor is one that is less similar than this share of the nearest event's similarity.
        whole_weight: what the whole utterance's similarity counts, where it is less than that of its most similar part.
        max_events: how many events at most are asked, nearest first.

    Raises:
        DataError: the folder is missing or holds no file to read.
    """

    name = "atomic"

    def __init__(
        self, folder: Path, *, floor: float = 0.6, ratio: float = 0.7, whole_weight: float = 0.25, max_events: int = 20
    ):
        self.folder = folder
        self.floor, self.ratio, self.whole_weight, self.max_events = floor, ratio, whole_weight, max_events
        files = [(path.name, file_fingerprint(path)) for path in atomic_paths(folder)]
        settings = [VERSION, floor, ratio, whole_weight, max_events]
        self.fingerprint = f"atomic-{digest([files, settings])[:20]}"

    @cached_property
    def index(self) -> EventIndex:
        """The events; reading them takes seconds."""
        return EventIndex(self.folder)

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """See `Provider`."""
        inferences: list[Inference] = []
        size = 2_000  # keeps the products of a chunk far below a gigabyte
        with tqdm(total=len(texts), desc="commonsense", unit="text", disable=None if progress else True) as bar:
            for begin in range(0, len(texts), size):
                chunk = texts[begin : begin + size]
                inferences += [self._answer(events) for events, _ in self._search(chunk)]
                bar.update(len(chunk))
        return inferences

    def nearest(self, text: str) -> list[tuple[str, float]]:
        """The events (their stems) that are asked about one text, with their similarities, nearest first."""
        events, similarities = self._search([text])[0]
        return [(self.index.names[event], float(value)) for event, value in zip(events, similarities, strict=True)]

    def _answer(self, events: np.ndarray) -> Inference:
        inference: Inference = {}
        for place, relation in enumerate(RELATIONS):
            phrases = itertools.chain.from_iterable(self.index.answers[event][place] for event in events)
            inference[relation] = list(dict.fromkeys(phrases))[:MAX_PHRASES]
        return inference

    def _search(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Events and similarities for each text, nearest first."""
        segments = [[words_of(segment) for segment in segments_of(text)] for text in texts]
        owner = np.repeat(np.arange(len(texts)), [len(found) for found in segments])
        clauses = list(itertools.chain.from_iterable(segments))
        stems = [stems_of(words) for words in clauses]
        negation = np.array([negated(found) for found in stems])
        parts = self.index.compare(stems).tocoo()
        parts.data *= np.array([subject_weight(words) for words in clauses], dtype=np.float32)[parts.row]
        parts.data[negation[parts.row] != self.index.negated[parts.col]] *= _NEGATION_WEIGHT
        whole = self.index.compare([stems_of(words_of(text)) for text in texts])
        best = _row_maximum(parts, owner, whole.shape)
        # The whole can only take away: it must not outweigh that the speaker is not the one who acts.
        score = (best * (1 - self.whole_weight) + best.minimum(whole) * self.whole_weight).tocsr()
        found = []
        for begin, end in itertools.pairwise(score.indptr):
            event = score.indices[begin:end]
            value = np.minimum(score.data[begin:end], 1) * self.index.content[event]
            keep = value >= max(self.floor, self.ratio * value.max(initial=0))
            event, value = event[keep], value[keep]
            order = np.lexsort((event, -value))[: self.max_events]
            found.append((event[order], value[order]))
        return found


def _row_maximum(matrix: sparse.coo_matrix, owner: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Make one row of all rows that have one owner: the largest value of each column."""
    cell = owner[matrix.row].astype(np.int64) * shape[1] + matrix.col
    order = np.lexsort((-matrix.data, cell))
    cell, first = np.unique(cell[order], return_index=True)
    return sparse.csr_matrix((matrix.data[order][first], (cell // shape[1], cell % shape[1])), shape=shape)
