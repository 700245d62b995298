"""Retrieval: what people wrote about the ATOMIC / Event2Mind events nearest to an utterance."""

import itertools
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from ctsm_lib.cache import digest, file_fingerprint
from ctsm_lib.errors import DataError
from ctsm_lib.knowledge import MAX_PHRASES, RELATIONS, Inference, Provider
from ctsm_workbench.retrieval import words
from ctsm_workbench.retrieval.store import infer_cached
from ctsm_workbench.retrieval.tables import atomic_paths, read_atomic

VERSION = 2  # raise when the phrases for the same text change
CHUNK = 2_000  # texts at a time: the sparse products stay far below a gigabyte

_WHOLE_WEIGHT = 0.25  # of the whole utterance, where it is less similar than a part of it
# Where either the utterance or the event is negated, but not both.
_NEGATION_WEIGHT = np.float32(0.55)
_FEELING_WEIGHT = 1.6  # of a word that names a feeling, where other words have 1
# Lengths in units of the rarest word's TF-IDF weight, so that they fit tables of every size:
_SHORT = 1.4  # of a sentence of two or three words
_ENOUGH = 0.95  # of the stems of an event that is specific enough
_VAGUE_WEIGHT = 0.8  # of an event of one word that names no feeling
_FELT_WEIGHT = 1.15  # of an event that names a feeling: speakers know what they feel


class AtomicRetrieval(Provider):
    """Phrases that people wrote about the events nearest to an utterance.

    Events that differ only in function words and persons are one event. The similarity is the
    cosine of TF-IDF vectors of stems and pairs of stems (the length of long sentences is damped):
    for each event the largest one over the sentences and clauses of the utterance. It is reduced
    where the whole utterance is less similar, where the speaker is not the one who acts, where only
    one of the two is negated, and for unspecific events.

    Args:
        folder: see `read_atomic`; a `DataError` if it has no file to read.
        floor: the least similarity of an event whose phrases are used.
        ratio: the least share of the nearest event's similarity.
    """

    name = "atomic"
    infer_all = infer_cached
    max_events = 20  # whose phrases are used, nearest first

    def __init__(self, folder: Path, *, floor: float = 0.6, ratio: float = 0.7):
        self.folder = folder
        self.floor = floor
        self.ratio = ratio
        files = [(path.name, file_fingerprint(path)) for path in atomic_paths(folder)]
        settings = [VERSION, floor, ratio, _WHOLE_WEIGHT, self.max_events]
        self.fingerprint = f"atomic-{digest([files, settings])[:20]}"

    @classmethod
    def make(cls, folder: Path | None, **_: object) -> Self:
        """A provider for the files of a folder; without one a `DataError`."""
        if folder is None:
            way_out = "without one use `--set knowledge=none`"
            raise DataError(f"knowledge=atomic needs a folder with ATOMIC files; {way_out}.")
        return cls(folder)

    @cached_property
    def index(self) -> "EventIndex":
        """The events; reading them takes seconds."""
        return EventIndex(self.folder)

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """See `Provider`."""
        chunks = [texts[begin : begin + CHUNK] for begin in range(0, len(texts), CHUNK)]
        return [self._inference(events) for chunk in chunks for events, _ in self._search(chunk)]

    def nearest(self, text: str) -> list[tuple[str, float]]:
        """The events (their stems) of one text with their similarities, nearest first."""
        events, similarities = self._search([text])[0]
        names = [self.index.names[event] for event in events]
        return list(zip(names, similarities.tolist(), strict=True))

    def _inference(self, events: np.ndarray) -> Inference:
        answers = [self.index.answers[event] for event in events]
        found = {r: dict.fromkeys(p for a in answers for p in a.get(r, ())) for r in RELATIONS}
        return {relation: list(phrases)[:MAX_PHRASES] for relation, phrases in found.items()}

    def _search(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Events and similarities for each text, nearest first."""
        similarity = self.index.compare(texts)
        found = []
        for begin, end in itertools.pairwise(similarity.indptr):
            event = similarity.indices[begin:end]
            value = np.minimum(similarity.data[begin:end], 1) * self.index.content[event]
            keep = value >= max(self.floor, self.ratio * value.max(initial=0))
            order = np.lexsort((event[keep], -value[keep]))[: self.max_events]
            found.append((event[keep][order], value[keep][order]))
        return found


class EventIndex:
    """The events of a folder's files as weighted vectors that utterances are compared with.

    Files without any phrase raise a `DataError`, and so does `read_atomic`.
    """

    def __init__(self, folder: Path):
        # Importing scikit-learn takes seconds; inferences from disk do not need it. (SciPy loads
        # its parts when they are first used.)
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import normalize

        tails, _ = read_atomic(folder)
        if not tails:
            way_out = "fetch them again, or use `--set knowledge=none`"
            raise DataError(f"the files in {folder} have no phrase for any event; {way_out}.")
        self.names = [" ".join(stems) for stems in tails]
        # For each event its phrases by relation, the most frequent first.
        self.answers = [
            {name: [text for text, _ in counts.most_common()] for name, counts in found.items()}
            for found in tails.values()
        ]
        self._negated = np.array([words.negated(stems) for stems in tails])
        self._vectorizer = TfidfVectorizer(
            analyzer=words.features, dtype=np.float32, sublinear_tf=True, norm=None
        ).fit(tails)
        names = self._vectorizer.get_feature_names_out()
        feelings = [_FEELING_WEIGHT if words.is_feeling(name) else 1 for name in names]
        self._vectorizer.idf_ = self._vectorizer.idf_ * feelings
        # [features, events], every event of length 1.
        self._matrix = normalize(self._vectorizer.transform(tails)).T.tocsr()
        # The weight of a word that occurs in one event only.
        self._unit = float(np.log((1 + len(tails)) / 2) + 1)
        idf = dict(zip(names, self._vectorizer.idf_, strict=True))
        length = np.sqrt([sum(idf[stem] ** 2 for stem in set(stems)) for stems in tails])
        felt = np.array([any(map(words.is_feeling, stems)) for stems in tails])
        vague = np.array([len(stems) == 1 for stems in tails])
        weight = np.where(felt, _FELT_WEIGHT, np.where(vague, _VAGUE_WEIGHT, 1))
        content = np.minimum(length / (_ENOUGH * self._unit), 1) ** 2 * weight
        # [events] how specific: "gets" little, "gets promoted" enough (1), a feeling more.
        self.content: np.ndarray = content.astype(np.float32)

    def compare(self, texts: Sequence[str]) -> Any:
        """[texts, events] similarities (a csr_matrix), before they are weighted by `content`.

        Each is that of the most similar sentence or clause; where the whole text is less similar,
        it contributes with `_WHOLE_WEIGHT`.
        """
        segments = [words.segments_of(text) for text in texts]
        owner = np.repeat(np.arange(len(texts)), [len(found) for found in segments])
        clauses = [words.words_of(part) for part in itertools.chain.from_iterable(segments)]
        stems = [words.stems_of(clause) for clause in clauses]
        negation = np.array([words.negated(found) for found in stems])
        subjects = np.array([words.subject_weight(clause) for clause in clauses], dtype=np.float32)
        parts = self._cosine(stems).tocoo()
        parts.data *= subjects[parts.row]
        parts.data[negation[parts.row] != self._negated[parts.col]] *= _NEGATION_WEIGHT
        whole = self._cosine([words.stems_of(words.words_of(text)) for text in texts])
        best = _row_maximum(parts, owner, whole.shape)
        # The whole can only reduce a score: else it would outweigh that somebody else acts.
        return (best * (1 - _WHOLE_WEIGHT) + best.minimum(whole) * _WHOLE_WEIGHT).tocsr()

    def _cosine(self, stems: Sequence[Sequence[str]]) -> Any:
        import scipy  # here, because a start from the cache does not need it

        weights = self._vectorizer.transform(stems)
        length = scipy.sparse.linalg.norm(weights, axis=1)
        # Long sentences tell of several events: only the square root of their length counts.
        short = _SHORT * self._unit
        scale = np.where(length > short, np.sqrt(length * short), np.maximum(length, 1e-6))
        inverse = scipy.sparse.diags_array(1 / scale).astype(np.float32)
        return (inverse @ weights) @ self._matrix


def _row_maximum(matrix: Any, owner: np.ndarray, shape: tuple[int, int]) -> Any:
    """One row for all rows that have one owner: the largest value of each column."""
    import scipy

    cell = owner[matrix.row].astype(np.int64) * shape[1] + matrix.col
    order = np.lexsort((-matrix.data, cell))
    cell, first = np.unique(cell[order], return_index=True)
    place = (cell // shape[1], cell % shape[1])
    return scipy.sparse.csr_matrix((matrix.data[order][first], place), shape=shape)
