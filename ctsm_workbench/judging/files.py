"""The files of a judging: the blind sheet, the sealed key, a file of judgements for each judge.

A folder of `ctsm judge make` holds

```
sheet.csv        what judges see: item, context, A, B, an empty column for each aspect. Hand this out
key.json         which system is A, which item is an attention check. Keep this back
judges/NAME.csv  judgements: written by the page, or a copy of sheet.csv that was filled in by hand
```

Every row carries the sheet's number, a digest of all items and of the key: judgements made on another sheet, and a key
that was made for another sheet, are refused.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctsm_lib.errors import ConfigError, DataError

ASPECTS = ("empathy", "relevance", "fluency")  # Paper: Sec. 4.3.2
QUESTIONS = {
    "empathy": "Which answer better understands what the speaker feels, and responds to it?",
    "relevance": "Which answer fits better with what was said?",
    "fluency": "Which answer reads better, as grammatical, natural English?",
}
CHOICES = ("A", "tie", "B")
SHEET, KEY, JUDGES = "sheet.csv", "key.json", "judges"
ROLES = ("Speaker", "Listener")

_COLUMNS = ("sheet", "item", "context", "A", "B", *ASPECTS)
_FORMULA = tuple("=+-@\t\r")  # a spreadsheet computes a cell that begins with one of these


@dataclass(frozen=True)
class Item:
    """What a judge sees at once: a conversation and two answers to it, of nobody knows whom.

    `turns` are the turns of the context, the speaker's first; `a` and `b` the answers.
    """

    name: str
    turns: tuple[str, ...]
    a: str
    b: str


@dataclass(frozen=True)
class Sheet:
    """All items of a judging in the order in which they are shown, and the sheet's number."""

    number: str
    items: tuple[Item, ...]


Answers = dict[tuple[str, str], str]  # (item, aspect) -> one of CHOICES


def clean(text: str) -> str:
    """Text on one line without control characters and halves of surrogate pairs: what every CSV reader reads alike."""
    text = "".join(
        " " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter for letter in text
    )
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def sheet_number(items: Sequence[Item], payload: dict) -> str:
    """The sheet's number: begins with letters, so that no spreadsheet takes it for a quantity."""
    rows = [[item.name, *item.turns, item.a, item.b] for item in items]
    text = json.dumps([rows, payload], sort_keys=True, ensure_ascii=False)
    return "sheet-" + hashlib.sha256(text.encode()).hexdigest()[:16]


# --- CSV ---


def _guard(cell: str) -> str:
    # An apostrophe before what would be computed, and before what looks as if it had been guarded already.
    return "'" + cell if cell.lstrip("'").startswith(_FORMULA) else cell


def _unguard(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Rows as CSV that spreadsheets show and do not compute."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_guard(cell) for cell in row] for row in rows)
    return out.getvalue()


def _read_csv(path: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows with the line on which each begins; comma, semicolon or tab, as spreadsheets of all countries write it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} is missing. `ctsm judge make` makes sheets.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read as UTF-8 text: {error}. Export it as CSV in UTF-8."
        ) from error
    header = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=header.count), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    names: list[str] = []
    begin = 1
    try:
        for cells in reader:
            line, begin = begin, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = [cell.strip() for cell in cells]
                lacking = [name for name in needed if names.count(name) != 1]
                if lacking:
                    raise DataError(
                        f"{path}:{line}: needs one column {', one '.join(lacking)}; found {names}."
                    )
            elif len(cells) != len(names):
                raise DataError(
                    f"{path}:{line}: {len(cells)} cells where the header has {len(names)}."
                )
            else:
                rows.append((line, dict(zip(names, map(_unguard, cells), strict=True))))
    except csv.Error as error:
        raise DataError(f"{path}:{begin}: not CSV: {error}.") from error
    if not rows:
        raise DataError(f"{path} holds no row.")
    return rows


def write_whole(path: Path, text: str) -> None:
    """Write text beside its place, make sure that it is on the disk, and rename it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    side = path.with_name(f".{path.name}.{os.getpid()}")
    with side.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(side, path)


# --- the sheet ---


def write_sheet(folder: Path, sheet: Sheet) -> Path:
    """Write `sheet.csv`, its aspects' columns empty."""
    rows = [list(_COLUMNS)]
    for item in sheet.items:
        context = "\n".join(f"{ROLES[turn % 2]}: {text}" for turn, text in enumerate(item.turns))
        rows.append([sheet.number, item.name, context, item.a, item.b, *[""] * len(ASPECTS)])
    write_whole(folder / SHEET, csv_text(rows))
    return folder / SHEET


def read_sheet(folder: Path) -> Sheet:
    """Read `sheet.csv`.

    Raises:
        DataError: it is missing or not such a sheet, an item is there twice, or rows bear different numbers.
    """
    path = folder / SHEET
    rows = _read_csv(path, _COLUMNS[:5])
    items: dict[str, Item] = {}
    for line, row in rows:
        if row["sheet"] != rows[0][1]["sheet"]:
            raise DataError(
                f"{path}:{line}: {row['sheet']!r} among the rows of {rows[0][1]['sheet']!r}."
            )
        if row["item"] in items:
            raise DataError(f"{path}:{line}: item {row['item']} is there twice.")
        turns = []
        for turn, text in enumerate(row["context"].replace("\r\n", "\n").split("\n")):
            role = f"{ROLES[turn % 2]}:"
            if not text.startswith(role):
                raise DataError(
                    f'{path}:{line}: line {turn + 1} of the context should begin with "{role}".'
                )
            turns.append(text.removeprefix(role).strip())
        items[row["item"]] = Item(row["item"], tuple(turns), row["A"], row["B"])
    return Sheet(rows[0][1]["sheet"], tuple(items.values()))


def write_instructions(folder: Path) -> Path:
    """Write `instructions.md`: what judges are asked, for those who work in a spreadsheet."""
    questions = "\n".join(f"- **{aspect}**: {question}" for aspect, question in QUESTIONS.items())
    text = f"""# Instructions for judges

Each row has a conversation and two answers, A and B, by whoever speaks next. Read all of it; then say for each aspect
which answer is better, `A` or `B`, or `tie` if neither is:

{questions}

Judge each aspect by itself: an answer can be fluent and miss the point. Judge alone, do not skip rows, and do not look
for who wrote what. Some rows have a plain right answer; they show whether the rows are read.

On a screen: `ctsm judge serve FOLDER --judge NAME`. In a spreadsheet: save a copy of sheet.csv as judges/NAME.csv, fill
in the empty columns, and leave the others as they are. NAME is best a pseudonym.
"""
    write_whole(folder / "instructions.md", text)
    return folder / "instructions.md"


# --- the key ---


def write_key(path: Path, number: str, payload: dict) -> None:
    """Write the key, sealed against a glance: base64 and a digest. Whoever wants to read it can."""
    text = json.dumps(payload, sort_keys=True, ensure_ascii=False)
    document = {
        "note": "The key of a blind judging. Judges do not open it before they are done.",
        "sheet": number,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "sealed": base64.b64encode(text.encode()).decode(),
    }
    write_whole(path, json.dumps(document, indent=1) + "\n")


def read_key(path: Path, sheet: Sheet) -> dict[str, Any]:
    """What `write_key` sealed.

    Raises:
        DataError: the key is missing, damaged, or belongs to another sheet.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        text = base64.b64decode(document["sealed"], validate=True).decode()
        digest, number = document["sha256"], document["sheet"]
        payload = json.loads(text)
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: without the key nobody knows who is A. Name it with --key."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is not a key of `ctsm judge make`: {error}") from error
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise DataError(f"{path}: the seal is broken, the key is not what `ctsm judge make` wrote.")
    if number != sheet.number:
        raise DataError(
            f"{path} is the key of {number}, but the sheet is {sheet.number}. Name the right one with --key."
        )
    if sheet_number(sheet.items, payload) != number:
        raise DataError(
            f"{path} and {sheet.number} do not fit together: texts, order or key were changed afterwards."
        )
    return payload


# --- judgements ---


def judge_file(folder: Path, judge: str) -> Path:
    """Where a judge's judgements live.

    Raises:
        ConfigError: the name holds anything but letters, digits, hyphens and underscores, or more than 40 of them.
    """
    name = unicodedata.normalize("NFC", judge)
    if not re.fullmatch(r"[^\W_][\w-]{0,39}", name):
        raise ConfigError(
            f"Judge {judge!r}: a name has up to 40 letters, digits, - or _. A pseudonym is best."
        )
    return folder / JUDGES / f"{name}.csv"


def write_answers(path: Path, sheet: Sheet, answers: Answers) -> None:
    """Write all items in the sheet's order; what is not judged yet is an empty cell."""
    rows = [["sheet", "item", *ASPECTS]]
    rows += [
        [sheet.number, item.name, *(answers.get((item.name, a), "") for a in ASPECTS)]
        for item in sheet.items
    ]
    write_whole(path, csv_text(rows))


def read_answers(path: Path, sheet: Sheet) -> tuple[Answers, dict[str, int]]:
    """Judgements of one judge.

    Returns:
        The answers that are there, and the line of each item that has a row.

    Raises:
        DataError: not such a file, another sheet's, an item that is unknown or there twice, a choice that is none.
    """
    answers: Answers = {}
    lines: dict[str, int] = {}
    known = {item.name for item in sheet.items}
    choices = {choice.casefold(): choice for choice in CHOICES}
    for line, row in _read_csv(path, ("sheet", "item", *ASPECTS)):
        item = row["item"].strip()
        if row["sheet"].strip() != sheet.number:
            raise DataError(
                f"{path}:{line}: judged on {row['sheet']!r}, but the sheet is {sheet.number}."
            )
        if item not in known:
            raise DataError(f"{path}:{line}: {sheet.number} has no item {item!r}.")
        if item in lines:
            raise DataError(
                f"{path}:{line}: item {item} is judged twice, first on line {lines[item]}. Leave one."
            )
        lines[item] = line
        for aspect in ASPECTS:
            written = row[aspect].strip()
            if not written:
                continue
            if written.casefold() not in choices:
                raise DataError(
                    f"{path}:{line}: {aspect} of {item} is {written!r}. Write A, tie or B."
                )
            answers[item, aspect] = choices[written.casefold()]
    return answers, lines
