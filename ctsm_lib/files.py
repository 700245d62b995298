"""The one way to write and to read a small file.

A file is written beside its place and renamed when it is complete: nobody reads half of it.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ctsm_lib.errors import DataError, RunError


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A temporary path; what the block writes there is renamed to `path` at the end.

    If the block fails, `path` stays as it was and the temporary file is removed.
    Raises `RunError` where the file cannot be written.
    """
    if not path.name or path.is_dir():
        raise RunError(f"{path} cannot be written: it is a folder.")
    side = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield side
        os.replace(side, path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        remove(side)


def remove(*paths: Path) -> None:
    """Remove files and folders, whether or not they are there."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)  # does nothing to a file
        with suppress(OSError):
            path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file as `beside` does."""
    with beside(path) as side:
        side.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file as `beside` does."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises `RunError` where the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = f"{path} is missing: {path.parent} is not a run folder of `ctsm train`."
        raise RunError(found) from None
    except (OSError, ValueError, RecursionError) as error:
        mend = "Restore it from a copy, or train again."
        raise RunError(f"{path} is damaged ({error}). {mend}") from error


def read_lines(path: Path, way_out: str) -> list[str]:
    """The lines of a UTF-8 data file, without line ends (LF or CRLF) and byte order mark.

    Raises `DataError` where the file is missing (the message ends with `way_out`) or is not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} is missing. {way_out}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
    # Not splitlines(): texts may hold other characters that it takes for line ends.
    return [line.rstrip("\r") for line in text.split("\n")]
