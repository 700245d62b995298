"""Arrays on disk, keyed by what they were made from: memory-mapped, verified, never trusted blindly.

A cache entry is a folder `<name>-<key>` that holds one `.npy` file an array and a `manifest.json` with every file's
sha256. It is written to the side and renamed, so that it is either whole or absent, also when two processes
prepare the same entry at once.
"""

from __future__ import annotations

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
Built = tuple[Arrays, dict]  # arrays, and whatever else can be said in JSON

# Above this, a file is known by its size, its time and its two ends: hashing GloVe's gigabyte at every start costs more
# than the start itself.
WHOLE_FILE_BYTES = 64 << 20


def digest(value: object) -> str:
    """sha256 of a JSON-able value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_fingerprint(path: Path) -> str:
    """Short identity of a file's content (of its size, time and ends where it is very large)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE_FILE_BYTES:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
        head = file.read(1 << 16)
        file.seek(-(1 << 16), os.SEEK_END)
        ends = head + file.read() + f"{size} {path.stat().st_mtime_ns}".encode()
        return hashlib.sha256(ends).hexdigest()[:16]


def cached(folder: Path, name: str, key: dict, build: Callable[[], Built]) -> Built:
    """Return what `build()` returns, from disk when an undamaged entry for `key` is there.

    Args:
        folder: where entries live; made when missing.
        name: what the entry is, for people who look into the folder.
        key: everything that the result depends on (inputs' fingerprints, settings, a version of the code).
        build: makes `(arrays, meta)`; `meta` must survive JSON.

    A damaged entry is rebuilt. A folder that cannot be written costs only the caching: that is logged, not raised.
    """
    entry = _entry(folder, name, key)
    found = _load(entry, key)
    if found is not None:
        return found
    arrays, meta = build()
    try:
        _store(entry, key, arrays, meta)
    except OSError as error:
        log.warning("cannot cache %s in %s (%s); going on without", name, folder, error)
        return arrays, meta
    return _load(entry, key) or (arrays, meta)


def is_whole(folder: Path, name: str, key: dict) -> bool:
    """Whether an undamaged entry for `key` is there."""
    return _load(_entry(folder, name, key), key) is not None


def _entry(folder: Path, name: str, key: dict) -> Path:
    return folder / f"{name}-{digest(key)[:20]}"


def _load(entry: Path, key: dict) -> Built | None:
    try:
        document = json.loads((entry / "manifest.json").read_text(encoding="utf-8"))
        payload = document["payload"]
        if document["sha256"] != digest(payload) or payload["key"] != json.loads(json.dumps(key)):
            raise ValueError("manifest is damaged")
        arrays = {}
        for array_name, sha256 in payload["files"].items():
            path = entry / f"{array_name}.npy"
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise ValueError(f"{path.name} is damaged")
            empty = path.stat().st_size <= 128  # numpy cannot map an array without elements
            arrays[array_name] = np.load(path, mmap_mode=None if empty else "r", allow_pickle=False)
        return arrays, payload["meta"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("cache entry %s is not usable (%s); rebuilding it", entry, error)
        return None


def _store(entry: Path, key: dict, arrays: Arrays, meta: dict) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    side = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    try:
        files = {}
        for array_name, array in arrays.items():
            path = side / f"{array_name}.npy"
            np.save(path, array, allow_pickle=False)
            with path.open("rb") as file:
                files[array_name] = hashlib.file_digest(file, "sha256").hexdigest()
        payload = json.loads(json.dumps({"key": key, "files": files, "meta": meta}))
        document = {"sha256": digest(payload), "payload": payload}
        (side / "manifest.json").write_text(
            json.dumps(document, ensure_ascii=False), encoding="utf-8"
        )
        if (
            entry.exists()
        ):  # damaged, or a second process was quicker: both are replaced by a whole one
            shutil.rmtree(entry, ignore_errors=True)
        try:
            os.replace(side, entry)
        except OSError:
            if _load(entry, key) is None:  # nobody else finished it either
                raise
    finally:
        shutil.rmtree(side, ignore_errors=True)
