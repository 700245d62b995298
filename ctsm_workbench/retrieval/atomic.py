"""Retrieval: what people wrote about the ATOMIC / Event2Mind events that are nearest to an utterance."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ctsm_lib.cache import digest, file_fingerprint
from ctsm_lib.knowledge.phrases import MAX_PHRASES, RELATIONS, Inference
from ctsm_workbench.retrieval.stems import negated, segments_of, stems_of, subject_weight, words_of
from ctsm_workbench.retrieval.tables import atomic_paths

if TYPE_CHECKING:
    from ctsm_workbench.retrieval.events import EventIndex

VERSION = 2  # raise when the answer to the same text changes

_NEGATION_WEIGHT = np.float32(
    0.55
)  # where one of utterance and event is negated, and the other is not


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
        self,
        folder: Path,
        *,
        floor: float = 0.6,
        ratio: float = 0.7,
        whole_weight: float = 0.25,
        max_events: int = 20,
    ):
        self.folder = folder
        self.floor, self.ratio, self.whole_weight, self.max_events = (
            floor,
            ratio,
            whole_weight,
            max_events,
        )
        files = [(path.name, file_fingerprint(path)) for path in atomic_paths(folder)]
        settings = [VERSION, floor, ratio, whole_weight, max_events]
        self.fingerprint = f"atomic-{digest([files, settings])[:20]}"

    @cached_property
    def index(self) -> EventIndex:
        """The events; reading them takes seconds."""
        from ctsm_workbench.retrieval.events import (
            EventIndex,  # scikit-learn takes seconds; answers from disk do without
        )

        return EventIndex(self.folder)

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """See `Provider`."""
        inferences: list[Inference] = []
        size = 2_000  # keeps the products of a chunk far below a gigabyte
        with tqdm(
            total=len(texts), desc="commonsense", unit="text", disable=None if progress else True
        ) as bar:
            for begin in range(0, len(texts), size):
                chunk = texts[begin : begin + size]
                inferences += [self._answer(events) for events, _ in self._search(chunk)]
                bar.update(len(chunk))
        return inferences

    def nearest(self, text: str) -> list[tuple[str, float]]:
        """The events (their stems) that are asked about one text, with their similarities, nearest first."""
        events, similarities = self._search([text])[0]
        return [
            (self.index.names[event], float(value))
            for event, value in zip(events, similarities, strict=True)
        ]

    def _answer(self, events: np.ndarray) -> Inference:
        inference: Inference = {}
        for place, relation in enumerate(RELATIONS):
            phrases = itertools.chain.from_iterable(
                self.index.answers[event][place] for event in events
            )
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
        parts = self.index.compare(stems).tocoo()
        parts.data *= np.array([subject_weight(words) for words in clauses], dtype=np.float32)[
            parts.row
        ]
        parts.data[negation[parts.row] != self.index.negated[parts.col]] *= _NEGATION_WEIGHT
        whole = self.index.compare([stems_of(words_of(text)) for text in texts])
        best = row_maximum(parts, owner, whole.shape)
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
