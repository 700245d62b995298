"""Files of answers: JSON lines with `response` and, where there is one, `reference`."""

from __future__ import annotations

import json
from pathlib import Path

from ctsm_lib.errors import DataError


def read_rows(path: Path) -> list[dict]:
    """Objects of a JSON-lines file, each with a text `response`.

    Raises:
        DataError: the file is missing, empty, or a line is not such an object (with its number).
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise DataError(f"{path} is missing. `ctsm evaluate RUN --responses {path}` makes one.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict) or not isinstance(row.get("response"), str):
            raise DataError(f'{path}:{number}: expected an object with a text "response", found {line[:60]!r}.')
        rows.append(row)
    if not rows:
        raise DataError(f"{path} holds no response.")
    return rows


def read_responses(path: Path) -> tuple[list[str], list[str] | None]:
    """Responses and references of a file; no references where any line lacks one.

    Raises:
        DataError: as `read_rows`, or a reference is not text.
    """
    rows = read_rows(path)
    references = [row.get("reference") for row in rows]
    if any(reference is None for reference in references):
        return [row["response"] for row in rows], None
    for number, reference in enumerate(references, start=1):
        if not isinstance(reference, str):
            raise DataError(f"{path}: reference {number} is not text.")
    return [row["response"] for row in rows], [str(reference) for reference in references]
