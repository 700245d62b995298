"""The files of a judging. A folder that `ctsm judge make` wrote holds

    sheet.csv        for judges: item, context, A, B, and an empty column for each aspect
    instructions.md  for judges: the questions and how to answer them
    key.json         which system is A, and which items are attention checks: not for judges
    judges/NAME.csv  judgements: written by the page, or a copy of sheet.csv filled in by hand

Every row carries the sheet's number, a digest of all items and of the key. Judgements made on
another sheet, and a key made for another sheet, are refused.
"""

import base64
import csv
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctsm_lib.cache import digest
from ctsm_lib.errors import ConfigError, DataError
from ctsm_lib.files import beside, read_lines, write_json, write_text

INSTRUCTIONS = Path(__file__).with_name("instructions.md").read_text(encoding="utf-8")
QUESTIONS: dict[str, str] = dict(re.findall(r"^- \*\*(\w+)\*\*: (.+)$", INSTRUCTIONS, re.M))
ASPECTS = tuple(QUESTIONS)  # empathy, relevance and fluency. Paper: Sec. 4.3.2
CHOICES = ("A", "tie", "B")
SHEET = "sheet.csv"
KEY = "key.json"
JUDGES = "judges"

_ROLES = ("Speaker:", "Listener:")
_COLUMNS = ("sheet", "item", "context", "A", "B")
_EXPORT = "Export it as CSV in UTF-8."
_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # a spreadsheet would compute such a cell

Answers = dict[tuple[str, str], str]  # (item, aspect) -> one of CHOICES


@dataclass(frozen=True)
class Item:
    """The turns of a conversation, the speaker's first, and two answers to it, `a` and `b`."""

    name: str
    turns: tuple[str, ...]
    a: str
    b: str


@dataclass(frozen=True)
class Sheet:
    """The sheet's number and all items of a judging, in the order in which they are shown."""

    number: str
    items: tuple[Item, ...]


def clean(text: str) -> str:
    """Put text on one line without control characters: programs read such CSV differently."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def sheet_number(items: Sequence[Item], payload: dict) -> str:
    """The sheet's number. It begins with letters, so that no spreadsheet reads it as a number."""
    rows = [[item.name, *item.turns, item.a, item.b] for item in items]
    return "sheet-" + digest([rows, payload])[:16]


def _write_csv(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Write CSV. An apostrophe before a formula makes spreadsheets show it as text."""
    plain = (["'" + cell if _FORMULA.match(cell) else cell for cell in row] for row in rows)
    with beside(path) as side, side.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(plain)
        file.flush()
        os.fsync(file.fileno())  # a judgement is on the disk before it counts as given


def _read_csv(path: Path, columns: Sequence[str]) -> dict[str, tuple[str, dict[str, str]]]:
    """The place (file and line) and the cells of each item; `columns` must be there.

    The separator is a comma, a semicolon or a tab: spreadsheets choose it by country.
    """
    try:
        lines = read_lines(path, "`ctsm judge make` makes sheets.")
    except DataError as error:
        export = f". {_EXPORT}" * isinstance(error.__cause__, UnicodeError)
        raise DataError(f"{error}{export}") from error
    lines = "\n".join(lines).replace("\r", "\n").split("\n")  # old Macintosh files end lines so
    separator = max(",;\t", key=lines[0].count)
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator, strict=True)
    begins = 1  # the line where a row begins
    names: list[str] = []
    rows: dict[str, tuple[str, dict[str, str]]] = {}
    try:
        for cells in reader:
            place = f"{path}:{begins}"
            begins = reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = [cell.strip() for cell in cells]
                if lacking := ", one ".join(name for name in columns if names.count(name) != 1):
                    raise DataError(f"{place}: needs one column {lacking}; found {names}.")
                continue
            if (count := len(cells)) != len(names):
                raise DataError(f"{place}: {count} cells where the header has {len(names)}.")
            plain = [c[1:] if c.startswith("'") and _FORMULA.match(c) else c for c in cells]
            row = dict(zip(names, plain, strict=True))
            item = row["item"].strip()
            if item in rows:
                first = rows[item][0].removeprefix(f"{path}:")
                problem = f"item {item} is there twice, first on line {first}"
                raise DataError(f"{place}: {problem}. Delete one of the two rows.")
            rows[item] = (place, row)
    except csv.Error as error:
        raise DataError(f"{path}:{begins}: not CSV: {error}. {_EXPORT}") from error
    if not rows:
        raise DataError(f"{path} holds no row.")
    return rows


def write_sheet(folder: Path, sheet: Sheet) -> None:
    """Write `sheet.csv` with empty columns for the aspects, and `instructions.md`."""
    rows = [[*_COLUMNS, *ASPECTS]]
    for item in sheet.items:
        context = "\n".join(f"{_ROLES[turn % 2]} {text}" for turn, text in enumerate(item.turns))
        rows.append([sheet.number, item.name, context, item.a, item.b, *[""] * len(ASPECTS)])
    _write_csv(folder / SHEET, rows)
    write_text(folder / "instructions.md", INSTRUCTIONS)


def read_sheet(folder: Path) -> Sheet:
    """Read `sheet.csv`. DataError: it is missing, not a sheet, or has an item twice."""
    rows = _read_csv(folder / SHEET, _COLUMNS)
    number = next(row["sheet"] for _, row in rows.values())
    items = []
    for name, (place, row) in rows.items():
        if row["sheet"] != number:
            raise DataError(f"{place}: {row['sheet']!r} among the rows of {number!r}.")
        turns = []
        for turn, text in enumerate(row["context"].split("\n")):
            role = _ROLES[turn % 2]
            if not text.startswith(role):
                problem = f'line {turn + 1} of the context should begin with "{role}"'
                raise DataError(f"{place}: {problem}.")
            turns.append(text.removeprefix(role).strip())
        items.append(Item(name, tuple(turns), row["A"], row["B"]))
    return Sheet(number, tuple(items))


def write_key(path: Path, number: str, payload: dict) -> None:
    """Write the key as base64 with a digest: nobody reads it by accident. It is not encrypted."""
    text = json.dumps(payload, sort_keys=True, ensure_ascii=False)
    document = {
        "note": "The key of a blind judging. Judges do not open it before they are done.",
        "sheet": number,
        "sha256": digest(payload),
        "sealed": base64.b64encode(text.encode()).decode(),
    }
    write_json(path, document)


def read_key(path: Path, sheet: Sheet) -> dict[str, Any]:
    """Read what `write_key` wrote. DataError: it is missing, damaged, or of another sheet."""
    lines = read_lines(path, "Only the key tells which system is A. Name its place with --key.")
    try:
        document = json.loads("\n".join(lines))
        number = document["sheet"]
        payload = json.loads(base64.b64decode(document["sealed"], validate=True))
        if digest(payload) != document["sha256"]:
            raise ValueError("the seal is broken, so it was changed after it was written")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is not a key of `ctsm judge make`: {error}") from error
    if number != sheet.number:
        hint = "Name the right key with --key."
        raise DataError(f"{path} is the key of {number}, but the sheet is {sheet.number}. {hint}")
    if sheet_number(sheet.items, payload) != number:
        problem = "do not fit together: texts, order or key were changed after they were written"
        raise DataError(f"{path} and {sheet.number} {problem}. Restore the original files.")
    return payload


def judge_file(folder: Path, judge: str) -> Path:
    """The path of a judge's judgements. ConfigError: the name cannot be the name of a file."""
    name = unicodedata.normalize("NFC", judge)
    if not re.fullmatch(r"[^\W_][\w-]{0,39}", name):
        rule = "a name has up to 40 letters, digits, - or _, and begins with a letter or a digit"
        raise ConfigError(f"Judge {judge!r}: {rule}. A pseudonym is best.")
    return folder / JUDGES / f"{name}.csv"


def write_answers(path: Path, sheet: Sheet, answers: Answers) -> None:
    """Write all items in the sheet's order; a missing judgement is an empty cell."""
    rows = [["sheet", "item", *ASPECTS]]
    for item in sheet.items:
        choices = [answers.get((item.name, aspect), "") for aspect in ASPECTS]
        rows.append([sheet.number, item.name, *choices])
    _write_csv(path, rows)


def read_answers(path: Path, sheet: Sheet) -> tuple[Answers, dict[str, str]]:
    """Read the answers that a judge has given, and the place (file and line) of each item's row.

    DataError: judgements of another sheet, an unknown item, or a choice other than A, tie and B.
    """
    answers: Answers = {}
    rows = _read_csv(path, ("sheet", "item", *ASPECTS))
    known = {item.name for item in sheet.items}
    choices = {"": ""} | {choice.casefold(): choice for choice in CHOICES}
    for item, (place, row) in rows.items():
        if (number := row["sheet"].strip()) != sheet.number:
            raise DataError(f"{place}: judged on {number!r}, but the sheet is {sheet.number}.")
        if item not in known:
            raise DataError(f"{place}: {sheet.number} has no item {item!r}.")
        for aspect in ASPECTS:
            written = row[aspect].strip()
            if written.casefold() not in choices:
                raise DataError(f"{place}: {aspect} of {item} is {written!r}. Write A, tie or B.")
            if choice := choices[written.casefold()]:
                answers[item, aspect] = choice
    return answers, {item: place for item, (place, _) in rows.items()}
