"""Models, commonsense providers and the learner of word vectors, by name.

Other packages add theirs by entry points (groups `ctsm_lib.models`, `.providers` and `.vectors` in
their pyproject.toml). The library finds them there and needs no import of them. Each function raises
a `ConfigError` where no installed package has the name.
"""

from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from ctsm_lib.errors import ConfigError

if TYPE_CHECKING:
    from ctsm_lib.config import Config


def model_class(config: "Config") -> Any:
    """The class of the model that a configuration names."""
    if config.model == "ctsm" and not config.goes_beyond_paper():
        from ctsm_lib.model import CTSM

        return CTSM
    return _provided("models", config.model)


def provider_class(name: str) -> Any:
    """The class of a commonsense provider."""
    return _provided("providers", name)


def vectors_learner() -> Any:
    """The function that learns word vectors from a corpus."""
    return _provided("vectors", "learned")


def available(kind: str) -> list[str]:
    """Names of the "models", "providers" or "vectors" of other packages."""
    return sorted({point.name for point in entry_points(group=f"ctsm_lib.{kind}")})


@cache
def _provided(kind: str, name: str) -> Any:
    for point in entry_points(group=f"ctsm_lib.{kind}", name=name):
        return point.load()
    names = ", ".join(available(kind)) or "none. Is ctsm-lab installed? (pip install -e .)"
    raise ConfigError(f"No installed package provides {name!r} ({kind}). There are: {names}")
