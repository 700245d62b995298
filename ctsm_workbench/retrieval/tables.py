"""Reading ATOMIC tables and Event2Mind files."""

import json
import re
from collections import Counter
from pathlib import Path

from ctsm_lib.dialogues import report_malformed
from ctsm_lib.errors import DataError
from ctsm_lib.files import read_lines
from ctsm_lib.knowledge import RELATIONS
from ctsm_workbench.retrieval.words import clean_phrase, stems_of, words_of

# The stems of an event without its persons: ATOMIC has "PersonX" where users write "I".
Event = tuple[str, ...]
Tails = dict[Event, dict[str, Counter[str]]]  # relation -> phrase -> number of annotators
Row = tuple[str, dict[str, list[str]]]  # event, relation -> tails; both as written
WAY_OUT = "or use `--set knowledge=none`."
_PERSONS = re.compile(r"\b(?:person ?[xyz]|john|tom)(?:'s|s')?(?!\w)", re.IGNORECASE)


def read_atomic(folder: Path) -> tuple[Tails, list[str]]:
    """Read every ATOMIC 2019 table and every Event2Mind file of a folder.

    `*.tsv` are tables with the columns split, head, relation, tail; `*.jsonl` hold one Event2Mind
    event a line. Files of COMET's generations are skipped. Returns events without persons, with
    the annotators' phrases; and a sentence for every row that was left out. A missing folder, or a
    file without a valid row, raises a `DataError`.
    """
    tails: Tails = {}
    problems: list[str] = []
    for path in atomic_paths(folder):
        way_out = f"Fetch it again, {WAY_OUT}"
        lines = read_lines(path, way_out)
        columns = None  # of a table
        if path.suffix == ".tsv":
            columns = lines[0].split("\t")
            if not {"head", "relation", "tail"} <= set(columns):
                expected = "expected the columns split, head, relation, tail"
                raise DataError(f"{path}:1: {expected}, found {lines[0][:100]!r}.")
            lines[0] = ""
        rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
        left_out = []
        for number, line in rows:
            try:
                _add(tails, *(_table_row(columns, line) if columns else _json_row(line)))
            except ValueError as error:
                left_out.append(f"{path.name}:{number}: {error}")
        report_malformed(path, left_out, len(left_out) < len(rows), way_out)
        problems += left_out
    return tails, problems


def atomic_paths(folder: Path) -> list[Path]:
    """The files that `read_atomic` reads."""
    fetch = f"Fetch the ATOMIC files, {WAY_OUT}"
    if not folder.is_dir():
        raise DataError(f"{folder} is missing, and knowledge=atomic reads it. {fetch}")
    events = [path for path in folder.glob("*.jsonl") if "generations" not in path.name]
    paths = [*sorted(folder.glob("*.tsv")), *sorted(events)]
    if not paths:
        kinds = "neither an ATOMIC table (*.tsv) nor an Event2Mind file (*.jsonl)"
        raise DataError(f"{folder} holds {kinds}. {fetch}")
    return paths


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
    if not re.fullmatch(r"[ox][A-Z][a-z]+", row["relation"]):
        raise ValueError(f"{row['relation'][:20]!r} is not a relation of ATOMIC")
    return row["head"], {row["relation"]: [row["tail"]]}


def _json_row(line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from None
    event = row.get("event") if isinstance(row, dict) else None
    if not isinstance(event, str) or not event.strip():
        raise ValueError("no event")
    found = {relation: row.get(relation) for relation in ("xIntent", "xReact")}
    for relation, phrases in found.items():
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
            raise ValueError(f"{relation} is not a list of phrases")
    return event, found
