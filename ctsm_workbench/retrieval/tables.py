"""Reading ATOMIC tables and Event2Mind files."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ctsm_lib.errors import DataError
from ctsm_lib.knowledge.phrases import RELATIONS, clean_phrase
from ctsm_workbench.retrieval.stems import stems_of, words_of

log = logging.getLogger(__name__)

Event = tuple[
    str, ...
]  # the stems of what happens; users say "I", so that the persons are no part of it
Tails = dict[
    Event, dict[str, Counter[str]]
]  # event -> relation -> phrase -> how many annotators wrote it
Row = tuple[str, dict[str, list[str]]]  # event, relation -> tails; both as written

WAY_OUT = "or go without with `--set knowledge=none`."
_PERSONS = re.compile(r"\b(?:person ?[xyz]|john|tom)(?:'s|s')?(?!\w)", re.IGNORECASE)


def read_atomic(folder: Path) -> tuple[Tails, list[str]]:
    """Read every ATOMIC 2019 table and every Event2Mind file of a folder.

    Args:
        folder: `*.tsv` are tables with the columns split, head, relation, tail; `*.jsonl` hold one Event2Mind event a
            line. Files of COMET's generations are passed over.

    Returns:
        Events without persons, with the phrases that annotators gave; and one sentence for every row left out.

    Raises:
        DataError: the folder is missing or a file holds nothing valid.
    """
    tails: Tails = {}
    problems: list[str] = []
    for path in atomic_paths(folder):
        valid = 0
        left_out = []
        for number, row in _rows(path):
            if isinstance(row, str):
                left_out.append((number, row))
            else:
                valid += 1
                _add(tails, *row)
        if not valid:
            first = "; line {}: {}".format(*left_out[0]) if left_out else ""
            raise DataError(f"{path} has no valid row{first}. Fetch it again, {WAY_OUT}")
        if left_out:
            found = [f"{path.name}:{number}: {reason}" for number, reason in left_out]
            log.warning(
                "%s: %d malformed rows left out, first: %s", path.name, len(found), found[0]
            )
            problems += found
    return tails, problems


def atomic_paths(folder: Path) -> list[Path]:
    """The files that `read_atomic` reads."""
    if not folder.is_dir():
        raise DataError(
            f"{folder} is missing, and knowledge=atomic reads it. Fetch the ATOMIC files, {WAY_OUT}"
        )
    events = [
        path for path in sorted(folder.glob("*.jsonl")) if "generations" not in path.name
    ]  # by a model
    paths = [*sorted(folder.glob("*.tsv")), *events]
    if not paths:
        raise DataError(
            f"{folder} holds neither an ATOMIC table (*.tsv) nor an Event2Mind file (*.jsonl). "
            f"Fetch the ATOMIC files, {WAY_OUT}"
        )
    return paths


def _add(tails: Tails, text: str, relations: dict[str, list[str]]) -> None:
    text = " ".join(re.sub(r"_+", " ", _PERSONS.sub(" ", text)).split())
    event = tuple(stems_of(words_of(text)))
    for relation, phrases in relations.items() if event else ():
        for phrase in filter(None, map(clean_phrase, phrases)):
            tails.setdefault(event, {}).setdefault(relation, Counter())[phrase] += 1


def _rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    """Line numbers with what the line says, or with what is wrong with it."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
    columns: list[str] = []
    if path.suffix == ".tsv":
        columns = lines[0].rstrip("\r").split("\t")
        if not {"head", "relation", "tail"} <= set(columns):
            raise DataError(
                f"{path}:1: expected the columns split, head, relation, tail, found {lines[0][:100]!r}."
            )
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r")
        if line.strip() and not (columns and number == 1):
            yield number, _table_row(line, columns) if columns else _json_row(line)


def _table_row(line: str, columns: list[str]) -> Row | str:
    fields = line.split("\t")
    if len(fields) != len(columns):
        return f"{len(fields)} columns where {len(columns)} belong"
    row = dict(zip(columns, fields, strict=True))
    if not row["head"].strip():
        return "the head is empty"
    if not re.fullmatch(r"[ox][A-Z][a-z]+", row["relation"]):
        return f"{row['relation'][:20]!r} is not a relation of ATOMIC"
    return row["head"], {row["relation"]: [row["tail"]]} if row["relation"] in RELATIONS else {}


def _json_row(line: str) -> Row | str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON ({error})"
    if (
        not isinstance(row, dict)
        or not isinstance(row.get("event"), str)
        or not row["event"].strip()
    ):
        return "no event"
    found = {}
    for relation in ("xIntent", "xReact"):
        phrases = row.get(relation)
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
            return f"{relation} is not a list of phrases"
        found[relation] = phrases
    return row["event"], found
