"""Reading ATOMIC tables and Event2Mind files."""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ctsm_lib.errors import DataError
from ctsm_lib.files import read_lines
from ctsm_lib.knowledge import RELATIONS
from ctsm_workbench.retrieval.phrases import clean_phrase
from ctsm_workbench.retrieval.stems import stems_of, words_of

log = logging.getLogger(__name__)

# The stems of an event without its persons: ATOMIC has "PersonX" where users write "I".
Event = tuple[str, ...]
Tails = dict[Event, dict[str, Counter[str]]]  # relation -> phrase -> number of annotators
Row = tuple[str, dict[str, list[str]]]  # event, relation -> tails; both as written

WAY_OUT = "or use `--set knowledge=none`."
_PERSONS = re.compile(r"\b(?:person ?[xyz]|john|tom)(?:'s|s')?(?!\w)", re.IGNORECASE)


def read_atomic(folder: Path) -> tuple[Tails, list[str]]:
    """Read every ATOMIC 2019 table and every Event2Mind file of a folder.

    Args:
        folder: `*.tsv` are tables with the columns split, head, relation, tail; `*.jsonl` hold one
            Event2Mind event a line. Files of COMET's generations are skipped.

    Returns:
        Events without persons, with the annotators' phrases; and a sentence for every row that was
        left out.

    Raises:
        DataError: the folder is missing or a file has no valid row.
    """
    tails: Tails = {}
    problems: list[str] = []
    for path in atomic_paths(folder):
        left_out: list[tuple[int, str]] = []
        valid = 0
        for number, row in _rows(path):
            if isinstance(row, str):
                left_out.append((number, row))
            else:
                valid += 1
                _add(tails, *row)
        if not valid:
            first = "; line {}: {}".format(*left_out[0]) if left_out else ""
            raise DataError(f"{path} has no valid row{first}. Fetch it again, {WAY_OUT}")
        found = [f"{path.name}:{number}: {reason}" for number, reason in left_out]
        if found:
            count = len(found)
            log.warning("%s: %d malformed rows left out, first: %s", path.name, count, found[0])
        problems += found
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
    for relation, phrases in relations.items() if event else ():
        for phrase in filter(None, map(clean_phrase, phrases)):
            tails.setdefault(event, {}).setdefault(relation, Counter())[phrase] += 1


def _rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    """Line numbers, each with the row or with the reason why it is left out."""
    lines = read_lines(path, f"Fetch it again, {WAY_OUT}")
    columns: list[str] = []
    if path.suffix == ".tsv":
        columns = lines[0].split("\t")
        if not {"head", "relation", "tail"} <= set(columns):
            expected = "expected the columns split, head, relation, tail"
            raise DataError(f"{path}:1: {expected}, found {lines[0][:100]!r}.")
        lines[0] = ""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, _table_row(line, columns) if columns else _json_row(line)


def _table_row(line: str, columns: list[str]) -> Row | str:
    fields = line.split("\t")
    if len(fields) != len(columns):
        return f"{len(fields)} columns instead of {len(columns)}"
    row = dict(zip(columns, fields, strict=True))
    relation = row["relation"]
    if not row["head"].strip():
        return "the head is empty"
    if not re.fullmatch(r"[ox][A-Z][a-z]+", relation):
        return f"{relation[:20]!r} is not a relation of ATOMIC"
    return row["head"], {relation: [row["tail"]]} if relation in RELATIONS else {}


def _json_row(line: str) -> Row | str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON ({error})"
    event = row.get("event") if isinstance(row, dict) else None
    if not isinstance(event, str) or not event.strip():
        return "no event"
    found = {}
    for relation in ("xIntent", "xReact"):
        phrases = row.get(relation)
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
            return f"{relation} is not a list of phrases"
        found[relation] = phrases
    return event, found
