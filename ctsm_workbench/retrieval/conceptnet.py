"""Related words from ConceptNet (Speer et al., 2017), from which emotion concepts are chosen.

Two forms are read: a table with the columns `relation`, `head` and `tail` (others may stand beside
them), and the assertions of ConceptNet 5 as downloaded, packed or not. Single English words count,
in both directions.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from ctsm_lib.errors import DataError
from ctsm_lib.files import write_text
from ctsm_workbench.retrieval.words import WORDS

COLUMNS = ("relation", "head", "tail")
UNRELATED = WORDS["unrelated"].split()
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")
_TERM = re.compile(r"^/c/en/([^/]+).*")
WAY_OUT = "See data/README.md for the forms of ConceptNet that are read."


def read_conceptnet(path: Path) -> dict[str, list[str]]:
    """Related words of each word, in the file's order, without repetitions.

    Raises a `DataError` if the file is unreadable or has neither form.
    """
    related: dict[str, dict[str, None]] = {}
    for relation, head, tail in _triples(path):
        if relation.partition("/")[0] not in UNRELATED and head != tail:
            related.setdefault(head, {})[tail] = None
            related.setdefault(tail, {})[head] = None
    if not related:
        raise DataError(f"{path} holds no pair of related English words. {WAY_OUT}")
    return {word: list(others) for word, others in related.items()}


def write_conceptnet(source: Path, target: Path, progress: bool = True) -> int:
    """Write the triples of single English words as a table; returns their number."""
    triples = dict.fromkeys(_triples(source, progress))
    if not triples:
        raise DataError(f"{source} holds no triple of single English words. {WAY_OUT}")
    write_text(target, "".join("\t".join(row) + "\n" for row in (COLUMNS, *triples)))
    return len(triples)


def _triples(path: Path, progress: bool = False) -> Iterator[tuple[str, str, str]]:
    """Relation, head and tail of every line that has two single English words."""
    opened = gzip.open if path.suffix == ".gz" else open
    columns = [1, 2, 3]  # of relation, head and tail in the assertions, which have no header
    count = 5
    prefix = "/r/"
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:
            lines = tqdm(file, path.name, unit=" lines", disable=not progress or None)
            for number, line in enumerate(lines, start=1):
                cells = line.rstrip("\r\n").split("\t")
                if number == 1 and set(COLUMNS) <= set(cells):
                    columns = [cells.index(column) for column in COLUMNS]
                    count = len(cells)
                    prefix = ""
                elif line.strip():
                    if len(cells) != count or not cells[columns[0]].startswith(prefix):
                        found = json.dumps(line.rstrip("\r\n")[:80], ensure_ascii=False)
                        expected = f"expected relation, head and tail, found {found}"
                        raise DataError(f"{path}:{number}: {expected}. {WAY_OUT}")
                    relation, *terms = (cells[column] for column in columns)
                    head, tail = (_TERM.sub(r"\1", term).strip().lower() for term in terms)
                    if _WORD.fullmatch(head) and _WORD.fullmatch(tail):
                        yield relation.removeprefix("/r/"), head, tail
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}. {WAY_OUT}") from error
