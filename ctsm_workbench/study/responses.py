"""Files of answers: JSON lines with a `response` and, where there is one, a `reference`."""

import json
from pathlib import Path
from typing import Any

from ctsm_lib.errors import DataError
from ctsm_lib.files import read_lines


def numbered_rows(path: Path) -> list[tuple[int, dict]]:
    """Line numbers and objects of a JSON-lines file, each object with a text `response`.

    A missing or empty file, or a line (it is named) that is no such object, raises a `DataError`.
    """
    rows = []
    lines = read_lines(path, f"`ctsm evaluate RUN --responses {path}` makes one.")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict) or not isinstance(row.get("response"), str):
            wanted = 'an object with a text "response"'
            raise DataError(f"{path}:{number}: expected {wanted}, found {line[:60]!r}.")
        rows.append((number, row))
    if not rows:
        raise DataError(f"{path} holds no response.")
    return rows


def read_responses(path: Path) -> tuple[list[str], list[str] | None]:
    """Responses and references of a file; no references where any line lacks one.

    Raises a `DataError` as `numbered_rows`, or where a reference is not text.
    """
    rows = numbered_rows(path)
    references: list[Any] = [row.get("reference") for _, row in rows]
    found = references if None not in references else None
    for (line, _), reference in zip(rows, found or (), strict=False):
        if not isinstance(reference, str):
            wrong = str(reference)[:60]
            raise DataError(f'{path}:{line}: "reference" should be text, found {wrong!r}.')
    return [row["response"] for _, row in rows], found
