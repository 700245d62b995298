"""Providers of commonsense that other packages offer under the entry points `ctsm_lib.providers`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from ctsm_lib.errors import ConfigError

if TYPE_CHECKING:
    from ctsm_lib.knowledge import Provider


def provider_class(name: str) -> Callable[[Path], Provider]:
    """The provider of another package.

    Raises:
        ConfigError: there is none of this name.
    """
    found = {point.name: point for point in entry_points(group="ctsm_lib.providers")}
    if name not in found:
        names = ", ".join(["comet", *sorted(found), "none"])
        raise ConfigError(f"knowledge={name!r} does not exist; valid are {names}.")
    return found[name].load()
