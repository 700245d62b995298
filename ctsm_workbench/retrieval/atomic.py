"""Retrieval: what people wrote about the ATOMIC / Event2Mind events nearest to an utterance."""

import itertools
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ctsm_lib.cache import digest, file_fingerprint
from ctsm_lib.errors import DataError
from ctsm_lib.knowledge import MAX_PHRASES, RELATIONS, Inference, Provider
from ctsm_workbench.retrieval.stems import negated, segments_of, stems_of, subject_weight, words_of
from ctsm_workbench.retrieval.tables import atomic_paths

if TYPE_CHECKING:
    from ctsm_workbench.retrieval.events import EventIndex

VERSION = 2  # raise when the phrases for the same text change
CHUNK = 2_000  # texts at a time: the sparse products stay far below a gigabyte

# Factor where either the utterance or the event is negated, but not both.
_NEGATION_WEIGHT = np.float32(0.55)


class AtomicRetrieval(Provider):
    """Phrases that people wrote about the events nearest to an utterance.

    Events that differ only in function words and persons are one event. The similarity is the
    cosine of TF-IDF vectors of stems and pairs of stems (the length of long sentences is damped):
    for each event the largest one over the sentences and clauses of the utterance. It is reduced
    where the whole utterance is less similar, where the speaker is not the one who acts, where only
    one of the two is negated, and for unspecific events.

    The files are read when the first text has no inference on disk.

    Args:
        folder: see `read_atomic`; a `DataError` if it has no file to read.
        floor: the least similarity of an event whose phrases are used.
        ratio: the least share of the nearest event's similarity.
        whole_weight: weight of the whole utterance's similarity, where that is less than the
            largest one of a part.
        max_events: the largest number of events whose phrases are used, nearest first.
    """

    name = "atomic"

    def __init__(
        self,
        folder: Path,
        *,
        floor: float = 0.6,
        ratio: float = 0.7,
        whole_weight: float = 0.25,
        max_events: int = 20,
    ):
        self.folder = folder
        self.floor = floor
        self.ratio = ratio
        self.whole_weight = whole_weight
        self.max_events = max_events
        files = [(path.name, file_fingerprint(path)) for path in atomic_paths(folder)]
        settings = [VERSION, floor, ratio, whole_weight, max_events]
        self.fingerprint = f"atomic-{digest([files, settings])[:20]}"

    @classmethod
    def make(cls, folder: Path | None, **_: object) -> "AtomicRetrieval":
        """A provider for the files of a folder.

        Raises:
            DataError: there is no folder.
        """
        if folder is None:
            way_out = "without one use `--set knowledge=none`"
            raise DataError(f"knowledge=atomic needs a folder with ATOMIC files; {way_out}.")
        return cls(folder)

    @cached_property
    def index(self) -> "EventIndex":
        """The events; reading them takes seconds."""
        # Importing scikit-learn takes seconds; inferences from disk do not need it.
        from ctsm_workbench.retrieval.events import EventIndex

        return EventIndex(self.folder)

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """See `Provider`."""
        inferences: list[Inference] = []
        hide = None if progress else True
        with tqdm(total=len(texts), desc="commonsense", unit="text", disable=hide) as bar:
            for begin in range(0, len(texts), CHUNK):
                chunk = texts[begin : begin + CHUNK]
                inferences += [self._answer(events) for events, _ in self._search(chunk)]
                bar.update(len(chunk))
        return inferences

    def infer_all(self, texts: Sequence[str], folder: Path, progress: bool) -> list[Inference]:
        """See `Provider`; inferences are kept on disk."""
        # Its import of torch takes long.
        from ctsm_workbench.retrieval.store import infer_cached

        return infer_cached(self, texts, folder, progress)

    def nearest(self, text: str) -> list[tuple[str, float]]:
        """The events (their stems) of one text with their similarities, nearest first."""
        events, similarities = self._search([text])[0]
        names = [self.index.names[event] for event in events]
        return list(zip(names, similarities.tolist(), strict=True))

    def _answer(self, events: np.ndarray) -> Inference:
        answers = [self.index.answers[event] for event in events]
        inference: Inference = {}
        for place, relation in enumerate(RELATIONS):
            phrases = itertools.chain.from_iterable(answer[place] for answer in answers)
            inference[relation] = list(dict.fromkeys(phrases))[:MAX_PHRASES]
        return inference

    def _search(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Events and similarities for each text, nearest first."""
        from ctsm_workbench.retrieval.events import row_maximum

        segments = [[words_of(segment) for segment in segments_of(text)] for text in texts]
        owner = np.repeat(np.arange(len(texts)), [len(found) for found in segments])
        clauses = list(itertools.chain.from_iterable(segments))
        stems = [stems_of(words) for words in clauses]
        negation = np.array([negated(found) for found in stems])
        subjects = np.array([subject_weight(words) for words in clauses], dtype=np.float32)
        parts = self.index.compare(stems).tocoo()
        parts.data *= subjects[parts.row]
        parts.data[negation[parts.row] != self.index.negated[parts.col]] *= _NEGATION_WEIGHT
        whole = self.index.compare([stems_of(words_of(text)) for text in texts])
        best = row_maximum(parts, owner, whole.shape)
        # The whole can only reduce a score: else it would outweigh that somebody else acts.
        score = (best * (1 - self.whole_weight) + best.minimum(whole) * self.whole_weight).tocsr()
        found = []
        for begin, end in itertools.pairwise(score.indptr):
            event = score.indices[begin:end]
            value = np.minimum(score.data[begin:end], 1) * self.index.content[event]
            keep = value >= max(self.floor, self.ratio * value.max(initial=0))
            order = np.lexsort((event[keep], -value[keep]))[: self.max_events]
            found.append((event[keep][order], value[keep][order]))
        return found
