"""Commonsense inferences for an utterance: what its speaker intends, needs, wants, undergoes and feels.

Paper: Sec. 3.2. Three providers answer behind one interface: `comet` generates (COMET-ATOMIC-2020 BART), `atomic`
retrieves what people wrote about the nearest ATOMIC / Event2Mind events, `none` says nothing. Answers are kept on disk,
keyed by provider and text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ctsm_lib.errors import ConfigError, DataError
from ctsm_lib.knowledge.phrases import MAX_PHRASES, RELATIONS, Inference, empty_inference
from ctsm_workbench.retrieval.store import infer_cached

__all__ = [
    "MAX_PHRASES",
    "RELATIONS",
    "Inference",
    "NoKnowledge",
    "Provider",
    "empty_inference",
    "infer_cached",
    "provider_for",
]

PROVIDERS = ("comet", "atomic", "none")
DEFAULT_COMET = "mismayil/comet-bart-ai2"


class Provider(Protocol):
    """Anything that can say what lies behind an utterance.

    Attributes:
        name: "comet", "atomic" or "none".
        fingerprint: identity of what it reads, its settings and the version of its code.
    """

    name: str
    fingerprint: str

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """One inference a text, in the order of the texts; every relation is present, perhaps with an empty list."""
        ...


class NoKnowledge:
    """Says nothing, so that the model falls back on its learned vector of each relation."""

    name = "none"
    fingerprint = "none"

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """Empty lists for every text."""
        return [empty_inference() for _ in texts]


def provider_for(
    name: str, folder: Path | None, *, comet_model: str = DEFAULT_COMET, device: object = "cpu"
) -> Provider:
    """Make a provider by its name.

    Args:
        name: "comet", "atomic" or "none".
        folder: holds the ATOMIC / Event2Mind files; only `atomic` reads it.
        comet_model: hub id or local folder of a COMET BART; only `comet` reads it.
        device: what torch calls a device; only `comet` uses it.

    Raises:
        ConfigError: there is no such provider.
        DataError: `atomic` finds nothing to read.
    """
    if name == "none":
        return NoKnowledge()
    if name == "atomic":
        if folder is None:
            raise DataError(
                "knowledge=atomic needs a folder with ATOMIC files; without one use `--set knowledge=none`."
            )
        from ctsm_workbench.retrieval.atomic import AtomicRetrieval

        return AtomicRetrieval(folder)
    if name == "comet":
        from ctsm_lib.knowledge.comet import Comet

        return Comet(comet_model, device)
    raise ConfigError(f"knowledge={name!r} does not exist; valid are {', '.join(PROVIDERS)}.")
