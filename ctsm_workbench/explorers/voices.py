"""Runs that are ready to read contexts and to answer, and the text that a user typed for them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ctsm_lib.batches import Batch, context_batch
from ctsm_lib.corpus import tokenize
from ctsm_lib.errors import CtsmError, DataError, RunError
from ctsm_lib.knowledge import Inference, Provider
from ctsm_lib.runs import Run, clean_turn
from ctsm_lib.sources import PROJECT, find_sources

LONGEST_TURN = 4000  # characters
_KEPT = 256  # inferences


class Remembering(Provider):
    """A provider that keeps its latest inferences: explorers often ask for the same utterance."""

    def __init__(self, provider: Provider):
        self.name = provider.name
        self.fingerprint = provider.fingerprint
        self._infer = lru_cache(_KEPT)(lambda text: provider.infer([text], progress=False)[0])

    def infer(self, texts: Sequence[str], progress: bool = False) -> list[Inference]:
        """The provider's inferences for each text."""
        return [self._infer(text) for text in texts]


@dataclass
class Voice:
    """A run with its provider of commonsense inferences."""

    name: str  # the run folder's, which the menus show
    run: Run
    provider: Remembering
    notes: list[str]  # facts that the user should know, such as missing commonsense tables

    def describe(self) -> str:
        """Model, preset, iterations, commonsense and notes in one line."""
        run = self.run
        parts = [run.config.model, f"preset {run.config.preset}", f"{run.iteration:,} iterations"]
        return ", ".join([*parts, f"commonsense: {self.provider.name}", *self.notes])

    def batch(self, turns: Sequence[str]) -> Batch:
        """The batch of a context of turns, the speaker's first; "" leaves a turn out.

        Raises `DataError` where no turn holds a word.
        """
        cleaned = [clean_turn(turn) for turn in turns]
        spoken = [turn for turn in cleaned if tokenize(turn)]
        if not spoken:
            problem = "There is nothing to read: no turn holds a word."
            raise DataError(f"{problem} Type what a speaker says, one turn a line.")
        inferences = self.provider.infer([spoken[-1]])
        longest = self.run.config.max_context
        return context_batch([cleaned], inferences, self.run.vocabulary, longest)


def voice(run: Run) -> Voice:
    """Prepare a run for reading and answering."""
    run.model.eval()
    sources = None
    with suppress(CtsmError):
        sources = find_sources()
    provider, note = run.provider(sources)
    provider.infer(["hello"], progress=False)  # large tables are read now, not at the first answer
    notes = [text for text in (run.note, note) if text]
    return Voice(run.folder.name, run, Remembering(provider), notes)


def runs_beside(run: Run) -> dict[str, Path]:
    """Find the run folders beside a run and in the project's `runs/`; return them by name."""
    places = [run.folder.resolve().parent, *([PROJECT / "runs"] if PROJECT else [])]
    found = {run.folder.name: run.folder}
    for path in (path.parent for place in places for path in sorted(place.glob("*/run.json"))):
        if path.resolve() != run.folder.resolve():
            found.setdefault(path.name, path)
    return found


def one_line(text: str) -> str:
    """A typed turn on one line. Raises `RunError` if it is longer than a model could ever read."""
    if len(text) > LONGEST_TURN:
        raise RunError(f"This turn has {len(text):,} characters. Take at most {LONGEST_TURN:,}.")
    return " ".join(text.split())


def typed_turns(text: str) -> list[str]:
    """Typed text as turns: one turn a line, the speaker's first. An empty line leaves one out."""
    return [one_line(line) for line in text.replace("\r\n", "\n").rstrip("\n").split("\n")]
