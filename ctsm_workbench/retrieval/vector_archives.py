"""Word vectors from `.npz` archives, which also say how exact each vector is."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctsm_lib.corpus import SPECIALS, Vocabulary
from ctsm_lib.errors import DataError
from ctsm_lib.vectors import KINDS, NOT_FINITE


def read_npz(path: Path, vocabulary: Vocabulary, dim: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Read an `.npz` with `words` [n], `vectors` [n, dim] and optionally `kind` [n]."""
    found = _read_archive(path, ["words", "vectors", "kind"])
    words = found.get("words", np.zeros(0))
    vectors = found.get("vectors", np.zeros(0))
    kinds = found.get("kind", np.zeros(words.shape, dtype=np.int8))
    shapes = words.ndim == 1 and vectors.shape == (len(words), dim) and kinds.shape == words.shape
    types = words.dtype.kind == "U" and vectors.dtype.kind in "fiu"
    if not (shapes and types and np.isin(kinds, list(KINDS)).all()):
        expected = f"expected words, vectors [{dim}], kind from {min(KINDS)} to {max(KINDS)}"
        arrays = ", ".join(f"{name} {array.dtype}{array.shape}" for name, array in found.items())
        raise DataError(f"{path}: {expected}; found {arrays or 'none of them'}.")
    with np.errstate(over="ignore"):  # a value too large for float32 becomes infinite: see below
        vectors = vectors.astype(np.float32, copy=False)
    if not np.isfinite(vectors).all():
        word = words[~np.isfinite(vectors).all(axis=1)][0]
        raise DataError(f"{path}: the vector of {word!r} {NOT_FINITE}.")
    matrix = np.zeros((len(vocabulary), dim), dtype=np.float32)
    kind = np.full(len(vocabulary), -1, dtype=np.int8)
    ids = np.array([vocabulary.index.get(word, -1) for word in words.tolist()], dtype=np.int64)
    wanted = ids >= len(SPECIALS)
    matrix[ids[wanted]] = vectors[wanted]
    kind[ids[wanted]] = kinds[wanted]
    if (kind < 0).all():
        raise DataError(f"{path} has a vector for none of the words of the vocabulary.")
    return matrix, kind


def exact_share(path: Path) -> float:
    """Share of an `.npz` file's vectors that are exact; a `DataError` if it cannot be read."""
    kind = _read_archive(path, ["kind"]).get("kind", np.zeros(1))
    return float((kind == 0).mean()) if kind.size else 0.0


def _read_archive(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > max(100 * path.stat().st_size, 10**8):
            raise ValueError(f"it would unpack to {unpacked:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names if name in arrays.files}
    except Exception as error:  # zipfile, zlib and numpy raise many types where a byte is wrong
        raise DataError(f"{path} is not an .npz with `words` and `vectors`: {error}") from error
