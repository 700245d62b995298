"""Made-up files of answers and made-up judges, for the tests of judging."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ctsm_workbench.judging.files import (
    ASPECTS,
    Item,
    Sheet,
    judge_file,
    read_key,
    read_sheet,
    write_answers,
)
from ctsm_workbench.judging.sheets import make

EMOTIONS = ("sad", "joyful", "afraid", "proud")
Decide = Callable[[Item, dict, str], str]  # item, what the key says of it, aspect -> A, tie or B


def rows(system: str, count: int = 40) -> list[dict]:
    """Answers as `ctsm evaluate --responses` writes them: every second context has three turns."""
    made = []
    for number in range(count):
        context = [f"on day {number} i lost my keys ."]
        if number % 2:
            context += ["oh no , where ?", f"near house {number} , i think ."]
        help_given = f"did neighbour {number} of house {number + 1} help you"
        made.append(
            {
                "emotion": EMOTIONS[number % len(EMOTIONS)],
                "predicted": "sad",
                "context": context,
                "response": f"{system} answers to {number} .",
                "reference": f"{help_given} to look around there ?",
            }
        )
    return made


def write(path: Path, made: Sequence[object]) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return path


def files(folder: Path, *systems: str, count: int = 40) -> list[tuple[str, Path]]:
    """A file of answers for each system; the sheet does not tell which one is ours."""
    return [
        (name, write(folder / f"{name}.jsonl", rows(f"voice{place}", count)))
        for place, name in enumerate(systems)
    ]


def sheet_and_key(folder: Path) -> tuple[Sheet, dict]:
    """What `ctsm judge make` wrote, opened."""
    sheet = read_sheet(folder)
    return sheet, read_key(folder / "key.json", sheet)


def folder_of(tmp_path: Path, *systems: str, **options) -> Path:
    """A folder of `ctsm judge make`."""
    make(files(tmp_path, *(systems or ("ours", "theirs"))), tmp_path / "sheets", **options)
    return tmp_path / "sheets"


def judge(folder: Path, name: str, decide: Decide) -> None:
    """A made-up judge who answers everything."""
    sheet, key = sheet_and_key(folder)
    answers = {
        (i.name, aspect): decide(i, key["items"][i.name], aspect)
        for i in sheet.items
        for aspect in ASPECTS
    }
    write_answers(judge_file(folder, name), sheet, answers)


def prefers(system: str) -> Decide:
    """A judge who always prefers one system, and passes every attention check."""

    def decide(item: Item, secret: dict, aspect: str) -> str:
        if secret["kind"] != "comparison":
            return secret["expected"]
        return "A" if secret["A"] == system else "B" if secret["B"] == system else "tie"

    return decide


def always(choice: str) -> Decide:
    """A judge who never reads."""
    return lambda item, secret, aspect: choice
