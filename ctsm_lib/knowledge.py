"""Commonsense about an utterance: its speaker's intent, needs, wants, effects and reactions.

Paper: Sec. 3.2. The provider `none` is here. Others (`comet`, which the paper uses, and `atomic`)
are in `ctsm_workbench.retrieval`, and found by `ctsm_lib.registry`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ctsm_lib.errors import ConfigError
from ctsm_lib.registry import available, extension

RELATIONS = ("xIntent", "xNeed", "xWant", "xEffect", "xReact")
MAX_PHRASES = 5

Inference = dict[str, list[str]]  # relation -> at most MAX_PHRASES phrases


def empty_inference() -> Inference:
    """An inference without phrases."""
    return {relation: [] for relation in RELATIONS}


class Provider(Protocol):
    """A source of commonsense."""

    name: str  # the value of the setting `knowledge`
    fingerprint: str  # identity of its data, its settings and the version of its code

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """One inference for each text, in the order of the texts, with a list for each relation."""
        ...

    def infer_all(self, texts: Sequence[str], folder: Path, progress: bool) -> list[Inference]:
        """As `infer`, for the texts of a split; slow providers keep inferences in the folder."""
        return self.infer(texts, progress)


class NoKnowledge(Provider):
    """No phrases: the model uses its learned vector of each relation."""

    name = "none"
    fingerprint = "none"

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """Empty lists for every text."""
        return [empty_inference() for _ in texts]


def provider_for(
    name: str, folder: Path | None, *, comet_model: str = "", device: object = "cpu"
) -> Provider:
    """Make a provider: `folder` holds the files of `atomic`, the model and device are of `comet`.

    Raises `ConfigError` where no package provides it, `DataError` where the folder is missing.
    """
    if name == "none":
        return NoKnowledge()
    if name not in (names := available("providers")):
        found = f"knowledge={name!r} does not exist; valid are {', '.join([*names, 'none'])}."
        raise ConfigError(found)
    kind = extension("providers", name)
    return kind.make(folder, comet_model=comet_model, device=device)
