"""Files of answers: JSON lines with a `response` and, where there is one, a `reference`."""

import json
from pathlib import Path

from ctsm_lib.errors import DataError
from ctsm_lib.files import read_lines


def numbered_rows(path: Path) -> list[tuple[int, dict]]:
    """Line numbers and objects of a JSON-lines file, each object with a text `response`.

    Raises:
        DataError: the file is missing or empty, or a line (it is named) is not such an object.
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

    Raises:
        DataError: as `numbered_rows`, or a reference is not text.
    """
    rows = numbered_rows(path)
    responses = [row["response"] for _, row in rows]
    if any(row.get("reference") is None for _, row in rows):
        return responses, None
    for line, row in rows:
        if not isinstance(row["reference"], str):
            found = str(row["reference"])[:60]
            raise DataError(f'{path}:{line}: "reference" should be text, found {found!r}.')
    return responses, [row["reference"] for _, row in rows]
