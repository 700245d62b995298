"""Models, commonsense providers and the learner of word vectors, by name.

Other packages add theirs by entry points (groups `ctsm_lib.models`, `.providers` and `.vectors` in
their pyproject.toml). The library finds them there and needs no import of them. Each function raises
a `ConfigError` where no installed package has the name.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
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
    return sorted(_points(kind))


def _provided(kind: str, name: str) -> Any:
    if name in (points := _points(kind)):
        return points[name].load()
    names = ", ".join(sorted(points)) or "none. Is ctsm-lab installed? (pip install -e .)"
    raise ConfigError(f"No installed package provides {name!r} ({kind}). There are: {names}")


@cache  # a scan of all installed packages takes 10 ms
def _points(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"ctsm_lib.{kind}")}
