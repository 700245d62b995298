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
from ctsm_workbench.retrieval.tables import WAY_OUT, atomic_paths, read_atomic
from ctsm_workbench.retrieval.words import WEIGHTS

VERSION = 2  # raise when the phrases for the same text change
CHUNK = 2_000  # texts at a time: the sparse products stay far below a gigabyte


class AtomicRetrieval(Provider):
    """Phrases that people wrote about the events nearest to an utterance.

    Events that differ only in function words and persons are one event. The similarity is the
    cosine of TF-IDF vectors of stems and pairs of stems (the length of long sentences is damped):
    for each event the largest one over the sentences and clauses of the utterance. It is reduced
    where the whole utterance is less similar, where the speaker is not the one who acts, where only
    one of the two is negated, and for unspecific events.

    `folder` is as in `read_atomic`. An event's phrases are used if its similarity is at least
    `floor`, and `ratio` times that of the nearest event.
    """

    name = "atomic"
    infer_all = infer_cached
    max_events = 20  # whose phrases are used, nearest first

    def __init__(self, folder: Path, *, floor: float = 0.6, ratio: float = 0.7):
        self.folder = folder
        self.floor = floor
        self.ratio = ratio
        files = [(path.name, file_fingerprint(path)) for path in atomic_paths(folder)]
        settings = [VERSION, floor, ratio, WEIGHTS.whole, self.max_events]
        self.fingerprint = f"atomic-{digest([files, settings])[:20]}"

    @classmethod
    def make(cls, folder: Path | None, **_: object) -> Self:
        """A provider for the files of a folder; without one a `DataError`."""
        if folder is None:
            raise DataError(f"knowledge=atomic needs a folder of ATOMIC files. Give one, {WAY_OUT}")
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
        found = self._search([text])[0]
        return [(self.index.names[event], float(s)) for event, s in zip(*found, strict=True)]

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
            near = np.flatnonzero(value >= max(self.floor, self.ratio * value.max(initial=0)))
            near = near[np.lexsort((event[near], -value[near]))][: self.max_events]
            found.append((event[near], value[near]))
        return found


class EventIndex:
    """The events of a folder's files as weighted vectors that utterances are compared with.

    Files without any phrase raise a `DataError`, and so does `read_atomic`.
    """

    def __init__(self, folder: Path):
        # Importing scikit-learn takes seconds; inferences from disk do not need it.
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import normalize

        tails, _ = read_atomic(folder)
        if not tails:
            raise DataError(f"{folder} has no phrase for any event. Fetch it again, {WAY_OUT}")
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
        feelings = [WEIGHTS.feeling if words.is_feeling(name) else 1 for name in names]
        self._vectorizer.idf_ = self._vectorizer.idf_ * feelings
        # [features, events], every event of length 1.
        self._matrix = normalize(self._vectorizer.transform(tails)).T.tocsr()
        # The weight of a word that occurs in one event only.
        self._unit = float(np.log((1 + len(tails)) / 2) + 1)
        idf = dict(zip(names, self._vectorizer.idf_, strict=True))
        length = np.sqrt([sum(idf[stem] ** 2 for stem in set(stems)) for stems in tails])
        felt = np.array([any(map(words.is_feeling, stems)) for stems in tails])
        vague = np.array([len(stems) == 1 for stems in tails])
        weight = np.where(felt, WEIGHTS.felt, np.where(vague, WEIGHTS.vague, 1))
        content = np.minimum(length / (WEIGHTS.enough * self._unit), 1) ** 2 * weight
        # [events] how specific: "gets" little, "gets promoted" enough (1), a feeling more.
        self.content: np.ndarray = content.astype(np.float32)

    def compare(self, texts: Sequence[str]) -> Any:
        """[texts, events] similarities (a csr_matrix), before they are weighted by `content`.

        Each is that of the most similar sentence or clause; where the whole text is less similar,
        it contributes with `WEIGHTS.whole`.
        """
        import scipy  # here, because a start from the cache does not need it

        segments = [words.segments_of(text) for text in texts]
        owner = np.repeat(np.arange(len(texts)), [len(found) for found in segments])
        clauses = [words.words_of(part) for part in itertools.chain.from_iterable(segments)]
        stems = [words.stems_of(clause) for clause in clauses]
        negation = np.array([words.negated(found) for found in stems])
        subjects = np.array([words.subject_weight(clause) for clause in clauses], dtype=np.float32)
        parts = self._cosine(stems).tocoo()
        parts.data *= subjects[parts.row]
        parts.data[negation[parts.row] != self._negated[parts.col]] *= WEIGHTS.negation
        whole = self._cosine([words.stems_of(words.words_of(text)) for text in texts])
        # The largest value of each cell is the first of a stable sort.
        order = np.argsort(-parts.data)
        cells = np.ravel_multi_index((owner[parts.row], parts.col), whole.shape)[order]
        cells, first = np.unique(cells, return_index=True)
        place = np.unravel_index(cells, whole.shape)
        best = scipy.sparse.csr_matrix((parts.data[order][first], place), shape=whole.shape)
        # The whole can only reduce a score: else it would outweigh that somebody else acts.
        return (best * (1 - WEIGHTS.whole) + best.minimum(whole) * WEIGHTS.whole).tocsr()

    def _cosine(self, stems: Sequence[Sequence[str]]) -> Any:
        import scipy

        weights = self._vectorizer.transform(stems)
        length = scipy.sparse.linalg.norm(weights, axis=1)
        # Long sentences tell of several events: only the square root of their length counts.
        short = WEIGHTS.short * self._unit
        scale = np.where(length > short, np.sqrt(length * short), np.maximum(length, 1e-6))
        inverse = scipy.sparse.diags_array(1 / scale).astype(np.float32)
        return (inverse @ weights) @ self._matrix
