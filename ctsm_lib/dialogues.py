"""EmpatheticDialogues as text: reading the official CSV, and splitting turns into tokens.

Paper: Sec. 4.2. The tokenizer is that of the baselines' released code.
"""

import logging
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ctsm_lib.errors import DataError
from ctsm_lib.files import read_lines

log = logging.getLogger(__name__)

WAY_OUT = "Fetch it with `ctsm data fetch`, or set CTSM_DATA."
_PROTOCOL = tomllib.loads(Path(__file__).with_name("protocol.toml").read_text(encoding="utf-8"))
COLUMNS: tuple[str, ...] = tuple(_PROTOCOL["columns"].split())
EMOTIONS: tuple[str, ...] = tuple(_PROTOCOL["emotions"].split())
CONTRACTIONS: dict[str, str] = _PROTOCOL["contractions"]


@dataclass(frozen=True)
class Dialogue:
    """One conversation; the speaker, who feels the emotion, has the first, third, ... turn."""

    conv_id: str
    emotion: str
    situation: str
    turns: tuple[str, ...]


def read_dialogues(path: Path) -> tuple[list[Dialogue], list[str]]:
    """Read one split of the official CSV, which has no quoting: `_comma_` stands for a comma.

    Returns the dialogues in the order of the file, and "file:line: reason" for each row that was
    left out. A `DataError` says if the file is not UTF-8, lacks the header or has no valid row.
    """
    lines = read_lines(path, WAY_OUT)
    if tuple(lines[0].split(",")[:8]) != COLUMNS:
        expected = ",".join(COLUMNS)
        raise DataError(f"{path}:1: expected the columns {expected}, found {lines[0][:100]!r}.")
    rows: dict[str, list[list[str]]] = {}  # conv_id -> the fields of its turns
    problems: list[str] = []
    for number, line in enumerate(lines[1:], start=2):
        if line:
            row = line.split(",")
            if reason := _problem(row, len(rows.get(row[0], ()))):
                problems.append(f"{path.name}:{number}: {reason}")
            else:
                fields = [field.replace("_comma_", ",").strip() for field in row[:6]]
                rows.setdefault(row[0], []).append(fields)
    dialogues = [
        Dialogue(name, turns[0][2], turns[0][3], tuple(fields[5] for fields in turns))
        for name, turns in rows.items()
    ]
    report_malformed(path, problems, bool(dialogues), "Fetch it again with `ctsm data fetch`.")
    return dialogues, problems


def report_malformed(path: Path, problems: list[str], any_valid: bool, way_out: str) -> None:
    """Log the rows of a file that were left out; a `DataError` if no valid one remains."""
    first = f", first: {problems[0]}" if problems else ""
    if not any_valid:
        raise DataError(f"{path} has no valid row{first}. {way_out}")
    if problems:
        log.warning("%s: %d malformed rows left out%s", path.name, len(problems), first)


def _problem(row: list[str], turns: int) -> str | None:
    """The reason to leave out a row whose dialogue has so many turns already, or None."""
    if len(row) < len(COLUMNS):
        return f"{len(row)} columns instead of {len(COLUMNS)}"
    conv_id, index, emotion, _, _, utterance = row[:6]
    if not re.fullmatch(r"[1-9][0-9]{0,3}", index):
        return f"utterance_idx is {index[:20]!r}, not a number from 1"
    if emotion not in EMOTIONS:
        return f"{emotion[:20]!r} is not one of the 32 emotions"
    if not conv_id.strip():
        return "conv_id is empty"
    if not utterance.strip():
        return "the utterance is empty"
    if int(index) != turns + 1:
        found = f"turn {index} of {conv_id} follows turn {turns}"
        return f"{found}; the rest of this dialogue is left out"
    return None


@cache
def tokenizers() -> tuple[Any, Any]:
    """NLTK's sentence and word tokenizers, which need no NLTK download."""
    # Importing NLTK takes seconds, and a start from the cache does not need it.
    from nltk.tokenize import NLTKWordTokenizer, PunktSentenceTokenizer

    return PunktSentenceTokenizer(), NLTKWordTokenizer()


def normalize(text: str) -> str:
    """Text in lower case, with the baselines' contractions written out."""
    text = text.lower()
    for short, long in CONTRACTIONS.items():
        text = text.replace(short, long)
    return text


def tokenize(text: str) -> list[str]:
    """Normalise text and split it into sentences and words."""
    sentences, words = tokenizers()
    return [word for part in sentences.tokenize(normalize(text)) for word in words.tokenize(part)]


def quotation(text: str, words: int = 12) -> str:
    """The last words of a turn: short, since reports must not publish the data set once more."""
    spoken = text.split()
    return text if len(spoken) <= words else "... " + " ".join(spoken[-words:])
