"""Answers on disk: a sqlite file that outlives interruptions, damage and a second process."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from ctsm_lib.knowledge.phrases import RELATIONS, Inference

if TYPE_CHECKING:
    from sqlite3 import Connection

    from ctsm_lib.knowledge import Provider

log = logging.getLogger(__name__)

FIRST_CHUNK, LAST_CHUNK, CHUNK_SECONDS = 64, 4096, 5.0  # chunks grow until one takes so long
LOCK_SECONDS = 60.0  # how long to wait for a second process

T = TypeVar("T")


def infer_cached(
    provider: Provider, texts: Sequence[str], cache_folder: Path, progress: bool = True
) -> list[Inference]:
    """Infer what is not on disk yet, and keep it there.

    Args:
        provider: whom to ask.
        texts: a text that occurs twice is asked about once.
        cache_folder: holds `knowledge.sqlite`; made when missing.
        progress: show a bar where there is a terminal.

    Returns:
        One inference a text, in the order of the texts.

    What was inferred is written every few seconds, so that an interruption costs little. A damaged database is put
    aside and begun anew; a folder that cannot be written costs only the caching. Both are logged. Several processes must
    ask for the same texts at the same point: each infers its share, and the main one alone reads and writes the file.
    """
    if provider.name == "none" or not texts:
        return provider.infer(texts, progress=progress)
    from ctsm_lib import parallel  # torch, which a look at what is on disk need not wait for

    store = (
        _Store(cache_folder / "knowledge.sqlite", provider.fingerprint)
        if parallel.rank() == 0
        else None
    )
    found: dict[str, Inference] = parallel.from_main(store.get(set(texts)) if store else None)
    missing = sorted(set(texts) - found.keys(), key=lambda text: (len(text), text))
    size, begin = FIRST_CHUNK * parallel.world(), 0
    with tqdm(
        total=len(missing), desc=provider.name, unit="text", disable=None if progress else True
    ) as bar:
        while begin < len(missing):
            chunk = missing[begin : begin + size]
            started = time.monotonic()
            own = chunk[parallel.share()]
            shares = parallel.gather(
                dict(zip(own, provider.infer(own, progress=False), strict=True))
            )
            new = {text: inference for share in shares for text, inference in share.items()}
            if store:
                store.put(new)
            found |= new
            begin += len(chunk)
            bar.update(len(chunk))
            if (
                parallel.from_main(time.monotonic() - started) < CHUNK_SECONDS
            ):  # clocks differ, and so would the chunks
                size = min(2 * size, LAST_CHUNK * parallel.world())
    # Nobody who changes one answer shall change another.
    return [{relation: list(found[text][relation]) for relation in RELATIONS} for text in texts]


class _Store:
    """Inferences of one provider in a sqlite file; whatever goes wrong with the file is logged, not raised."""

    _TABLE = (
        "CREATE TABLE IF NOT EXISTS inferences (provider TEXT NOT NULL, text BLOB NOT NULL, crc INTEGER NOT NULL, "
        "phrases TEXT NOT NULL, PRIMARY KEY (provider, text)) WITHOUT ROWID"
    )

    def __init__(self, path: Path, fingerprint: str):
        self.path, self.fingerprint = path, fingerprint
        self.usable = True

    def get(self, texts: Iterable[str]) -> dict[str, Inference]:
        """What is known of these texts."""
        keys = {_text_key(text): text for text in texts}
        wanted = list(keys)

        def read(db: Connection) -> dict[str, Inference]:
            found: dict[str, Inference] = {}
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'inferences'").fetchone():
                return found
            for begin in range(0, len(wanted), 500):  # sqlite takes so many question marks for sure
                part = wanted[begin : begin + 500]
                marks = ",".join("?" * len(part))
                query = f"SELECT text, crc, phrases FROM inferences WHERE provider = ? AND text IN ({marks})"
                for key, crc, phrases in db.execute(query, (self.fingerprint, *part)):
                    if (
                        isinstance(phrases, bytes) and zlib.crc32(phrases) == crc
                    ):  # a rotten row is inferred again
                        found[keys[key]] = dict(zip(RELATIONS, json.loads(phrases), strict=True))
            return found

        return self._try(read, "read") or {}

    def put(self, inferences: dict[str, Inference]) -> None:
        """Keep these, all or none."""
        rows = []
        for text, inference in inferences.items():
            phrases = json.dumps([inference[relation] for relation in RELATIONS])
            rows.append((self.fingerprint, _text_key(text), zlib.crc32(phrases.encode()), phrases))

        def write(db: Connection) -> None:
            db.execute("BEGIN IMMEDIATE")  # a second process waits here, not halfway
            db.execute(self._TABLE)
            db.executemany("INSERT OR REPLACE INTO inferences VALUES (?, ?, ?, ?)", rows)
            db.execute("COMMIT")

        self._try(write, "write")

    def _try(self, action: Callable[[Connection], T], verb: str) -> T | None:
        if not self.usable:
            return None
        import sqlite3

        for attempt in (1, 2):
            try:
                inode = _inode(self.path)
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with closing(
                    sqlite3.connect(self.path, timeout=LOCK_SECONDS, isolation_level=None)
                ) as db:
                    db.text_factory = bytes  # a rotten row need not be UTF-8
                    return action(db)
            except (OSError, sqlite3.Error) as error:
                if attempt == 1 and _is_damage(error) and self._put_aside(inode, error):
                    continue
                log.warning("cannot %s %s (%s); going on without", verb, self.path, error)
                self.usable = "locked" in str(error)  # the other process will be done some day
                break
        return None

    def _put_aside(self, inode: int | None, error: Exception) -> bool:
        if _inode(self.path) != inode:
            return True  # a second process was quicker: the file is a new one already
        aside = self.path.with_name(
            f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        )
        log.warning(
            "%s is damaged (%s); it is now %s, and a new one is begun", self.path, error, aside.name
        )
        try:
            for suffix in (
                "",
                "-journal",
                "-wal",
                "-shm",
            ):  # a journal left behind would be played into the new file
                with suppress(FileNotFoundError):
                    os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")
        except OSError as problem:
            log.warning("cannot rename %s (%s)", self.path, problem)
            return False
        return True


def _is_damage(error: Exception) -> bool:
    import sqlite3

    # sqlite calls a full or read-only disk "operational", too; only a table with other columns is for us to mend.
    if isinstance(error, sqlite3.OperationalError):
        return "column" in str(error)
    return isinstance(error, sqlite3.DatabaseError)


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def _text_key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
