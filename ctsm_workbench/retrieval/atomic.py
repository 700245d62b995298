"""Retrieval: what people wrote about the ATOMIC / Event2Mind events nearest to an utterance."""

import itertools
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from tqdm import tqdm

from ctsm_lib.cache import digest, file_fingerprint
from ctsm_lib.errors import DataError
from ctsm_lib.knowledge import MAX_PHRASES, RELATIONS, Inference, Provider
from ctsm_workbench.retrieval.store import infer_cached
from ctsm_workbench.retrieval.tables import atomic_paths

if TYPE_CHECKING:
    from ctsm_workbench.retrieval.events import EventIndex

VERSION = 2  # raise when the phrases for the same text change
CHUNK = 2_000  # texts at a time: the sparse products stay far below a gigabyte


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
    """

    name = "atomic"
    infer_all = infer_cached
    whole_weight = 0.25  # of the whole utterance, where it is less similar than a part of it
    max_events = 20  # whose phrases are used, nearest first

    def __init__(self, folder: Path, *, floor: float = 0.6, ratio: float = 0.7):
        self.folder = folder
        self.floor = floor
        self.ratio = ratio
        files = [(path.name, file_fingerprint(path)) for path in atomic_paths(folder)]
        settings = [VERSION, floor, ratio, self.whole_weight, self.max_events]
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
                inferences += [self._inference(events) for events, _ in self._search(chunk)]
                bar.update(len(chunk))
        return inferences

    def nearest(self, text: str) -> list[tuple[str, float]]:
        """The events (their stems) of one text with their similarities, nearest first."""
        events, similarities = self._search([text])[0]
        names = [self.index.names[event] for event in events]
        return list(zip(names, similarities.tolist(), strict=True))

    def _inference(self, events: np.ndarray) -> Inference:
        answers = [self.index.answers[event] for event in events]
        inference: Inference = {}
        for place, relation in enumerate(RELATIONS):
            phrases = itertools.chain.from_iterable(answer[place] for answer in answers)
            inference[relation] = list(dict.fromkeys(phrases))[:MAX_PHRASES]
        return inference

    def _search(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Events and similarities for each text, nearest first."""
        similarity = self.index.compare(texts, self.whole_weight)
        found = []
        for begin, end in itertools.pairwise(similarity.indptr):
            event = similarity.indices[begin:end]
            value = np.minimum(similarity.data[begin:end], 1) * self.index.content[event]
            keep = value >= max(self.floor, self.ratio * value.max(initial=0))
            order = np.lexsort((event[keep], -value[keep]))[: self.max_events]
            found.append((event[keep][order], value[keep][order]))
        return found
