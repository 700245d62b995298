"""Packages that only some commands need."""

from collections.abc import Iterator
from contextlib import contextmanager

from ctsm_lib.errors import ConfigError


@contextmanager
def needed_by(user: str, extra: str = "notebooks") -> Iterator[None]:
    """Import packages in a `with` block; `ConfigError` names the extra where one is missing."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(f"{user} needs {error.name}: pip install 'ctsm-lab[{extra}]'.") from None
