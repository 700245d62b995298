"""Models and commonsense providers by name.

Other packages add theirs by entry points (groups `ctsm_lib.models` and `ctsm_lib.providers` in their
pyproject.toml). The library finds them there and needs no import of them.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from ctsm_lib.errors import ConfigError

if TYPE_CHECKING:
    from ctsm_lib.config import Config


def model_class(config: Config) -> Any:
    """The class of the model that a configuration names.

    Raises:
        ConfigError: no installed package provides it.
    """
    if config.model == "ctsm" and not config.goes_beyond_paper():
        from ctsm_lib.model import CTSM

        return CTSM
    return _provided("models", config.model)


def provider_class(name: str) -> Any:
    """The class of another package's commonsense provider.

    Raises:
        ConfigError: no installed package provides it.
    """
    return _provided("providers", name)


def available(kind: str) -> list[str]:
    """Names of the "models" or "providers" of other packages."""
    return sorted({point.name for point in entry_points(group=f"ctsm_lib.{kind}")})


@cache
def _provided(kind: str, name: str) -> Any:
    for point in entry_points(group=f"ctsm_lib.{kind}", name=name):
        return point.load()
    names = ", ".join(available(kind)) or "none. Is ctsm-lab installed? (pip install -e .)"
    raise ConfigError(f"No installed package provides {name!r} ({kind}). There are: {names}")
