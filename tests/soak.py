"""How hard the survival tests try, and what came of it.

A fault is tried a few times in every run of the tests, and many times with `CTSM_SOAK=1`; `CTSM_SOAK_SHARE=0.1` tries a
tenth of that. Where `CTSM_SOAK_JSON` names a file, each fault leaves there how often it was tried and what came of it.
`python tests/soak.py FILE` puts that file's table into CONTRIBUTING.md.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from ctsm_lib.files import write_json, write_text

ROOT = Path(__file__).resolve().parent.parent
TABLE = ("<!-- what it survives: begin, by `make soak` -->", "<!-- what it survives: end -->")
LONG = os.environ.get("CTSM_SOAK") == "1"


@dataclass
class Fault:
    """Something that is made to go wrong: how often it is to be tried, how often it was, and what came of it."""

    tries: int
    done: int = 0
    result: str = "survived"


def tries(few: int, many: int) -> int:
    """How often a fault is tried."""
    share = float(os.environ.get("CTSM_SOAK_SHARE", "1"))
    return max(1, round(many * share)) if LONG else few


@contextmanager
def fault(name: str, few: int, many: int) -> Iterator[Fault]:
    """Try a fault `few` times in the quick tests and `many` times in a soak; the test counts in `done`.

    Args:
        name: of the fault, as the table has it.
    """
    tried = Fault(tries(few, many))
    try:
        yield tried
    except BaseException as error:
        tried.result = f"FAILED at try {tried.done + 1}: {type(error).__name__}"
        raise
    finally:
        _keep(name, tried)


def _keep(name: str, tried: Fault) -> None:
    if not (chosen := os.environ.get("CTSM_SOAK_JSON")):
        return
    path = Path(chosen).resolve()
    test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0].split("::")[-1].split("[")[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    share = os.environ.get("CTSM_SOAK_SHARE")
    command = f"{f'CTSM_SOAK_SHARE={share} ' if share else ''}make soak ONLY={test}"
    with FileLock(
        Path(tempfile.gettempdir()) / f"{path.name}.lock"
    ):  # tests run in several processes
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        row = {"tries": tried.done, "result": tried.result, "command": command}
        write_json(path, dict(sorted((found | {name: row}).items())))


def table(found: dict) -> str:
    """The faults of a file as Markdown."""
    lines = ["| Fault | Tries | Result | Command |", "|---|---:|---|---|"]
    lines += [
        f"| {name} | {row['tries']:,} | {row['result']} | `{row['command']}` |"
        for name, row in found.items()
    ]
    return "\n".join(lines)


def with_table(document: str, found: dict) -> str:
    """The document with the table between its two marks."""
    before, _, rest = document.partition(TABLE[0])
    _, _, after = rest.partition(TABLE[1])
    return f"{before}{TABLE[0]}\n\n{table(found)}\n\n{TABLE[1]}{after}"


if __name__ == "__main__":
    page = ROOT / "CONTRIBUTING.md"
    results = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    write_text(page, with_table(page.read_text(encoding="utf-8"), results))
