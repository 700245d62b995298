"""Arrays on disk, identified by everything that they were made from.

An entry is a folder with a memory-mapped `.npy` file for each array, and a manifest with the sha256
of every file. It is written beside its place and renamed: two processes may prepare it at once.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]
Built = tuple[Arrays, dict]  # arrays, and a dictionary that JSON can hold
# A larger file is identified by its size, time and ends: hashing GloVe's gigabyte takes too long.
WHOLE_FILE_BYTES = 64 << 20


def digest(value: object) -> str:
    """sha256 of a value that JSON can hold, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_fingerprint(path: Path) -> str:
    """Short identity of a file's content (of its size, time and ends where it is very large)."""
    facts = path.stat()
    if facts.st_size <= WHOLE_FILE_BYTES:
        return _sha256(path)[:16]
    with path.open("rb") as file:
        head = file.read(1 << 16)
        file.seek(-(1 << 16), os.SEEK_END)
        ends = head + file.read() + f"{facts.st_size} {facts.st_mtime_ns}".encode()
    return hashlib.sha256(ends).hexdigest()[:16]


def cached(folder: Path, name: str, key: dict, build: Callable[[], Built]) -> Built:
    """The arrays and the dictionary of `build()`, from disk when an undamaged entry is there.

    `key` names everything that they depend on: fingerprints of the input, settings, a version of
    the code. A folder that cannot be written costs only the caching: that is logged, not raised.
    """
    entry = _entry(folder, name, key)
    found = _load(entry, key)
    if found is None:
        found = build()
        try:
            _store(entry, key, *found)
            found = _load(entry, key) or found
        except OSError as error:
            log.warning("cannot cache %s in %s (%s); going on without", name, folder, error)
    return found


def is_whole(folder: Path, name: str, key: dict) -> bool:
    """True if an undamaged entry for `key` is on disk."""
    return _load(_entry(folder, name, key), key) is not None


def _entry(folder: Path, name: str, key: dict) -> Path:
    return folder / f"{name}-{digest(key)[:20]}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(entry: Path, key: dict) -> Built | None:
    try:
        document = json.loads((entry / "manifest.json").read_text(encoding="utf-8"))
        payload = document["payload"]
        if document["sha256"] != digest(payload) or payload["key"] != json.loads(json.dumps(key)):
            raise ValueError("manifest is damaged")
        arrays = {}
        for name, sha256 in payload["files"].items():
            path = entry / f"{name}.npy"
            if _sha256(path) != sha256:
                raise ValueError(f"{path.name} is damaged")
            empty = path.stat().st_size <= 128  # numpy cannot map an array without elements
            arrays[name] = np.load(path, mmap_mode=None if empty else "r", allow_pickle=False)
        return arrays, payload["meta"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("cache entry %s is not usable (%s); making it again", entry, error)
        return None


def _store(entry: Path, key: dict, arrays: Arrays, meta: dict) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    side = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    try:
        for name, array in arrays.items():
            np.save(side / f"{name}.npy", array, allow_pickle=False)
        files = {name: _sha256(side / f"{name}.npy") for name in arrays}
        payload = json.loads(json.dumps({"key": key, "files": files, "meta": meta}))
        manifest = json.dumps({"sha256": digest(payload), "payload": payload}, ensure_ascii=False)
        (side / "manifest.json").write_text(manifest, encoding="utf-8")
        # An entry that is there is damaged, or a second process was quicker: both are replaced.
        shutil.rmtree(entry, ignore_errors=True)
        try:
            os.replace(side, entry)
        except OSError:
            if _load(entry, key) is None:  # no other process has finished it either
                raise
    finally:
        shutil.rmtree(side, ignore_errors=True)
