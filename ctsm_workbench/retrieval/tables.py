"""Reading ATOMIC tables and Event2Mind files."""

import csv
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ctsm_lib.dialogues import report_malformed
from ctsm_lib.errors import DataError
from ctsm_lib.files import read_lines
from ctsm_lib.knowledge import RELATIONS
from ctsm_workbench.retrieval.words import WORDS, clean_phrase, stems_of, words_of

# The stems of an event without its persons: ATOMIC has "PersonX" where users write "I".
Event = tuple[str, ...]
Tails = dict[Event, dict[str, Counter[str]]]  # relation -> phrase -> number of annotators
ENDS = (".tsv", ".csv", ".jsonl")
COLUMNS = ["head", "relation", "tail"]  # in this order where a file has no header
WAY_OUT = "or use `--set knowledge=none`."
# Columns of ATOMIC 2019 and of Event2Mind, in lower case -> relation.
CSV_NAMES = {name.lower(): name for name in RELATIONS} | {"xemotion": "xReact"}
KNOWN = set(WORDS["atomic"].split())  # relations of ATOMIC 2019 and 2020; five of them are used
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
        left_out: list[str] = []
        rows = list(_rows(path))
        for number, columns, cells in rows:
            try:
                text, found = _parsed(columns, cells)
            except ValueError as error:
                left_out.append(f"{path.name}:{number}: {error}")
                continue
            text = re.sub(r"_+", " ", _PERSONS.sub(" ", text))
            event = tuple(stems_of(words_of(" ".join(text.split()))))
            for relation in RELATIONS if event else ():
                for phrase in filter(None, map(clean_phrase, found.get(relation, ()))):
                    tails.setdefault(event, {}).setdefault(relation, Counter())[phrase] += 1
        any_valid = len(left_out) < len(rows)
        report_malformed(path, left_out, any_valid, way_out=f"Fetch it again, {WAY_OUT}")
        problems += left_out
    return tails, problems


def atomic_paths(folder: Path) -> list[Path]:
    """The files that `read_atomic` reads."""
    fetch = f"Fetch the ATOMIC files, {WAY_OUT}"
    if not folder.is_dir():
        raise DataError(f"{folder} is missing, and knowledge=atomic reads it. {fetch}")
    paths = [path for end in ENDS for path in sorted(folder.glob(f"*{end}"))]
    paths = [path for path in paths if not (path.suffix == ".jsonl" and "generations" in path.name)]
    # ATOMIC 2019 comes whole, as a whole with one row for each event, and in three parts.
    whole = [path for path in paths if path.name.startswith("v4_atomic_all")]
    paths = [p for p in paths if p in whole[-1:] or not (whole and p.name.startswith("v4_atomic"))]
    if not paths:
        kinds = "neither an ATOMIC table (*.tsv, *.csv) nor an Event2Mind file (*.jsonl, *.csv)"
        raise DataError(f"{folder} holds {kinds}. {fetch}")
    return paths


def _rows(path: Path) -> Iterator[tuple[int, list[str], list[str]]]:
    """Line number, names of the columns and cells of each row; JSON is a cell without a name."""
    lines = read_lines(path, f"Fetch it again, {WAY_OUT}")
    if path.suffix == ".jsonl":
        yield from ((n, [], [line]) for n, line in enumerate(lines, start=1) if line.strip())
        return
    tabs = path.suffix == ".tsv"
    reader = csv.reader(lines, strict=True)
    rows = ((n, line.split("\t")) for n, line in enumerate(lines, start=1))
    if not tabs:
        rows = ((reader.line_num, cells) for cells in reader)
    try:
        _, first = next(rows, (1, []))
        columns = [CSV_NAMES.get(name.lower(), name.lower()) for name in first]
        lists = "event" in columns and not set(RELATIONS).isdisjoint(columns)
        header = lists or set(COLUMNS) <= set(columns)
        if not header:
            if not (tabs and len(first) == 3 and first[1] in KNOWN):
                known = "ATOMIC 2019 (event, xNeed, ...), Event2Mind or head, relation, tail"
                found = f"found {lines[0][:100]!r}"
                way_out = f"Fetch it again, {WAY_OUT}"
                raise DataError(f"{path}:1: expected the columns of {known}, {found}. {way_out}")
            columns = COLUMNS
        for number, cells in itertools.chain([] if header else [(1, first)], rows):
            if any(map(str.strip, cells)):
                yield number, columns, cells
    except csv.Error as error:
        place = f"{path}:{reader.line_num}"
        raise DataError(f"{place}: not CSV: {error}. Mend it, {WAY_OUT}") from error


def _parsed(columns: list[str], cells: list[str]) -> tuple[str, dict[str, list[str]]]:
    """An event and its tails by relation, as written; a `ValueError` says why there is none."""
    if len(cells) != len(columns or cells):
        raise ValueError(f"{len(cells)} columns instead of {len(columns)}")
    row = dict(zip(columns, cells, strict=True)) if columns else _json(cells[0])
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    event = row.get("head", row.get("event"))
    found: dict[str, Any]
    if set(COLUMNS) <= set(columns):
        if row["relation"] not in KNOWN:
            raise ValueError(f"{row['relation'][:20]!r} is not a relation of ATOMIC")
        found = {row["relation"]: [row["tail"]]}
    elif columns:
        lists = {name: row[name] for name in RELATIONS if name in row}
        found = {name: _json(text) if text[:1] == "[" else [text] for name, text in lists.items()}
    else:
        found = {name: row.get(name) for name in ("xIntent", "xReact")}
    if not isinstance(event, str) or not event.strip():
        raise ValueError("no event")
    for name, phrases in found.items():
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
            raise ValueError(f"{name} is not a list of phrases")
    return event, found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from None
