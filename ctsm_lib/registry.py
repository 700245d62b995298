"""Models, commonsense providers and other extensions, by name.

Other packages add theirs by entry points (groups `ctsm_lib.models`, `.providers`, ... in their
pyproject.toml). The library finds them there and needs no import of them. A name that no installed
package has raises a `ConfigError`.
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
    return extension("models", config.model)


def extension(kind: str, name: str) -> Any:
    """A class or function of another package: "models", "providers", "vectors" or "decoders"."""
    if name in (points := _points(kind)):
        return points[name].load()
    names = ", ".join(sorted(points)) or "none. Is ctsm-lab installed? (pip install -e .)"
    raise ConfigError(f"No installed package provides {name!r} ({kind}). There are: {names}")


def available(kind: str) -> list[str]:
    """The names of all extensions of a kind."""
    return sorted(_points(kind))


@cache  # a scan of all installed packages takes 10 ms
def _points(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"ctsm_lib.{kind}")}
