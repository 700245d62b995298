"""Reading ATOMIC tables and Event2Mind files."""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ctsm_lib.dialogues import report_malformed
from ctsm_lib.errors import DataError
from ctsm_lib.files import read_lines
from ctsm_lib.knowledge import RELATIONS
from ctsm_workbench.retrieval.words import clean_phrase, stems_of, words_of

# The stems of an event without its persons: ATOMIC has "PersonX" where users write "I".
Event = tuple[str, ...]
Tails = dict[Event, dict[str, Counter[str]]]  # relation -> phrase -> number of annotators
Row = tuple[str, dict[str, list[str]]]  # event, relation -> tails; both as written
Parsed = Iterator[tuple[int, Callable[[], Row]]]  # line number, and what reads the row
WAY_OUT = "or use `--set knowledge=none`."
# Columns of ATOMIC 2019 and of Event2Mind, in lower case -> relation.
CSV_NAMES = {name.lower(): name for name in RELATIONS}
CSV_NAMES |= {"xintent": "xIntent", "xemotion": "xReact"}
_RELATION = re.compile(r"(?:[ox]|is)?[A-Z][A-Za-z]+")  # of ATOMIC 2020, too
_PERSONS = re.compile(r"\b(?:person ?[xyz]|john|tom)(?:'s|s')?(?!\w)", re.IGNORECASE)


def read_atomic(folder: Path) -> tuple[Tails, list[str]]:
    """Read every file of ATOMIC and Event2Mind in a folder, in the forms in which people have them.

    - `*.tsv`: tables with the columns head, relation and tail, in any order, or ATOMIC 2020 as
      downloaded, which has these three columns and no header;
    - `*.csv`: ATOMIC 2019 (`v4_atomic_*.csv`) and Event2Mind as downloaded, an event a row;
    - `*.jsonl`: one Event2Mind event a line. Files of COMET's generations are skipped.

    Returns events without persons, with the annotators' phrases; and a sentence for every row that
    was left out. Relations that are not used are no problem. A missing folder, a file of another
    form or one without a valid row raises a `DataError`.
    """
    tails: Tails = {}
    problems: list[str] = []
    for path in atomic_paths(folder):
        way_out = f"Fetch it again, {WAY_OUT}"
        left_out = []
        valid = False
        for number, parsed in FORMS[path.suffix](path, read_lines(path, way_out)):
            try:
                _add(tails, *parsed())
                valid = True
            except ValueError as error:
                left_out.append(f"{path.name}:{number}: {error}")
        report_malformed(path, left_out, valid, way_out)
        problems += left_out
    return tails, problems


def atomic_paths(folder: Path) -> list[Path]:
    """The files that `read_atomic` reads."""
    fetch = f"Fetch the ATOMIC files, {WAY_OUT}"
    if not folder.is_dir():
        raise DataError(f"{folder} is missing, and knowledge=atomic reads it. {fetch}")
    paths = [path for end in FORMS for path in sorted(folder.glob(f"*{end}"))]
    paths = [path for path in paths if not (path.suffix == ".jsonl" and "generations" in path.name)]
    # ATOMIC 2019 comes whole, as a whole with one row for each event, and in three parts.
    whole = [path for path in paths if path.name.startswith("v4_atomic_all")]
    paths = [p for p in paths if p in whole[-1:] or not (whole and p.name.startswith("v4_atomic"))]
    if not paths:
        kinds = "neither an ATOMIC table (*.tsv, *.csv) nor an Event2Mind file (*.jsonl, *.csv)"
        raise DataError(f"{folder} holds {kinds}. {fetch}")
    return paths


def _table(path: Path, lines: list[str]) -> Parsed:
    """Rows of head, relation and tail, with tabs between them."""
    columns = lines[0].split("\t")
    begin = 1
    if not {"head", "relation", "tail"} <= set(columns):
        if len(columns) != 3 or not _RELATION.fullmatch(columns[1]):
            expected = "expected the columns split, head, relation, tail, or these three alone"
            raise DataError(f"{path}:1: {expected}, found {lines[0][:100]!r}.")
        columns = ["head", "relation", "tail"]
        begin = 0
    for number, line in enumerate(lines[begin:], start=begin + 1):
        if line.strip():
            yield number, partial(_table_row, columns, line)


def _events(path: Path, lines: list[str]) -> Parsed:
    """One event a row, in CSV: a column for each relation, with a JSON list of phrases."""
    rows = csv.reader(lines, strict=True)
    try:
        names = [name.lower() for name in next(rows, [])]
        columns = {CSV_NAMES.get(name, name): place for place, name in enumerate(names)}
        if "event" not in columns or not columns.keys() & set(RELATIONS):
            expected = "expected the columns of ATOMIC 2019 (event, xNeed, ...) or of Event2Mind"
            raise DataError(f"{path}:1: {expected} (Event, Xintent), found {lines[0][:100]!r}.")
        for row in rows:
            if any(row):
                yield rows.line_num, partial(_event_row, columns, row)
    except csv.Error as error:
        raise DataError(f"{path}:{rows.line_num}: not CSV: {error}. Mend it, {WAY_OUT}") from error


def _lines(path: Path, lines: list[str]) -> Parsed:
    """One JSON object a line."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, partial(_json_row, line)


FORMS = {".tsv": _table, ".csv": _events, ".jsonl": _lines}


def _add(tails: Tails, text: str, relations: dict[str, list[str]]) -> None:
    text = re.sub(r"_+", " ", _PERSONS.sub(" ", text))
    event = tuple(stems_of(words_of(" ".join(text.split()))))
    for relation in RELATIONS if event else ():
        for phrase in filter(None, map(clean_phrase, relations.get(relation, ()))):
            tails.setdefault(event, {}).setdefault(relation, Counter())[phrase] += 1


def _table_row(columns: list[str], line: str) -> Row:
    fields = line.split("\t")
    if len(fields) != len(columns):
        raise ValueError(f"{len(fields)} columns instead of {len(columns)}")
    row = dict(zip(columns, fields, strict=True))
    if not row["head"].strip():
        raise ValueError("the head is empty")
    if not _RELATION.fullmatch(row["relation"]):
        raise ValueError(f"{row['relation'][:20]!r} is not a relation of ATOMIC")
    return row["head"], {row["relation"]: [row["tail"]]}


def _event_row(columns: dict[str, int], row: list[str]) -> Row:
    if len(row) < len(columns):
        raise ValueError(f"{len(row)} columns instead of {len(columns)}")
    found = {}
    for relation in columns.keys() & set(RELATIONS):
        cell = row[columns[relation]]
        phrases = _json(cell) if cell.startswith("[") else [cell]
        if not all(isinstance(phrase, str) for phrase in phrases):
            raise ValueError(f"{relation} is not a list of phrases")
        found[relation] = phrases
    if not row[columns["event"]].strip():
        raise ValueError("no event")
    return row[columns["event"]], found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from None


def _json_row(line: str) -> Row:
    row = _json(line)
    event = row.get("event") if isinstance(row, dict) else None
    if not isinstance(event, str) or not event.strip():
        raise ValueError("no event")
    found = {relation: row.get(relation) for relation in ("xIntent", "xReact")}
    for relation, phrases in found.items():
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
            raise ValueError(f"{relation} is not a list of phrases")
    return event, found
