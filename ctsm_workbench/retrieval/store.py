"""Inferences on disk: a sqlite file that survives interruptions, damage and a second process."""

import hashlib
import json
import logging
import os
import sqlite3
import time
import zlib
from collections import ChainMap
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ctsm_lib.knowledge import RELATIONS, Inference, Provider
from ctsm_lib.parallel import rank, share, world
from ctsm_workbench.running.processes import from_main, gather

log = logging.getLogger(__name__)

FIRST_CHUNK = 64
LAST_CHUNK = 4096
CHUNK_SECONDS = 5.0  # chunks grow until one takes so long
LOCK_SECONDS = 60.0  # time to wait for a second process
TABLE = (
    "CREATE TABLE IF NOT EXISTS inferences (provider TEXT NOT NULL, text BLOB NOT NULL, "
    "crc INTEGER NOT NULL, phrases TEXT NOT NULL, PRIMARY KEY (provider, text)) WITHOUT ROWID"
)


def infer_cached(
    provider: Provider, texts: Sequence[str], folder: Path, progress: bool = True
) -> list[Inference]:
    """Infer the texts that are not on disk yet, and keep their inferences there.

    `knowledge.sqlite` in the folder is written every few seconds, so that an interruption costs
    little. A damaged file is renamed and a new one is begun; a folder that cannot be written costs
    only the caching. Both are logged. Several processes must ask for the same texts at the same
    point: each infers its share, and the main one alone reads and writes the file.
    """
    if not texts:
        return []
    store = None if rank() else _Store(folder / "knowledge.sqlite", provider.fingerprint)
    found: dict[str, Inference] = from_main(store.get(set(texts)) if store else None)
    missing = sorted(set(texts) - found.keys(), key=lambda text: (len(text), text))
    size = FIRST_CHUNK * world()
    hide = None if progress else True
    with tqdm(total=len(missing), desc=provider.name, unit="text", disable=hide) as bar:
        while missing:
            started = time.monotonic()
            own = missing[:size][share()]
            inferred = zip(own, provider.infer(own, progress=False), strict=True)
            new = dict(ChainMap(*gather(dict(inferred))))
            if store:
                store.put(new)
            found |= new
            bar.update(len(new))
            del missing[:size]
            # The main process's clock decides, so that the chunks are the same in all processes.
            if from_main(time.monotonic() - started) < CHUNK_SECONDS:
                size = min(2 * size, LAST_CHUNK * world())
    # Copies: a caller that changes one inference must not change another.
    return [{relation: list(found[text][relation]) for relation in RELATIONS} for text in texts]


@dataclass
class _Store:
    """Inferences of one provider in a sqlite file; problems with it are logged, not raised."""

    path: Path
    fingerprint: str
    usable: bool = True

    def get(self, texts: Iterable[str]) -> dict[str, Inference]:
        """The inferences on disk for these texts; a row with damaged bytes is left out."""
        query = "SELECT text, crc, phrases FROM inferences WHERE provider = ?"
        rows = self._try("read", lambda db: db.execute(query, [self.fingerprint]).fetchall())
        keys = {_key(text): text for text in texts}
        return {
            keys[key]: dict(zip(RELATIONS, json.loads(phrases), strict=True))
            for key, crc, phrases in rows or ()
            if key in keys and isinstance(phrases, bytes) and zlib.crc32(phrases) == crc
        }

    def put(self, inferences: dict[str, Inference]) -> None:
        """Keep these, all or none."""
        rows = []
        for text, found in inferences.items():
            phrases = json.dumps([found[relation] for relation in RELATIONS])
            rows.append((self.fingerprint, _key(text), zlib.crc32(phrases.encode()), phrases))
        query = "INSERT OR REPLACE INTO inferences VALUES (?, ?, ?, ?)"
        self._try("write", lambda db: db.executemany(query, rows))

    def _try(self, verb: str, action: Callable[..., Any], *, anew: bool = False) -> Any:
        """The action's result, or None. A damaged file is renamed, and the action begins `anew`."""
        if not self.usable:
            return None
        inode = 0
        try:
            inode = self.path.stat().st_ino if self.path.exists() else 0
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=LOCK_SECONDS)) as db, db:
                db.text_factory = bytes  # a damaged row need not be UTF-8
                db.execute(TABLE)
                return action(db)
        except (OSError, sqlite3.Error) as error:
            # sqlite calls a full or read-only disk "operational", too; of those errors only one
            # about the table's columns means that the file must be replaced.
            operational = isinstance(error, (OSError, sqlite3.OperationalError))
            if not anew and inode and (not operational or "column" in str(error)):
                # A second process may have put a new file there already: that one stays.
                if not self.path.exists() or self.path.stat().st_ino != inode:
                    return self._try(verb, action, anew=True)
                aside = f"{self.path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
                log.warning("%s is damaged; it is renamed to %s", self.path, aside)
                # A journal that stayed behind would be applied to the new file.
                for suffix in ("", "-journal"):
                    with suppress(FileNotFoundError):
                        os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")
                return self._try(verb, action, anew=True)
            log.warning("cannot %s %s (%s); going on without", verb, self.path, error)
            self.usable = "locked" in str(error)  # another process's lock will end
            return None


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
