"""Word vectors for a vocabulary: GloVe text, the `.npz` form, or learned from the corpus itself.

Paper: Sec. 4.2 (300-dimensional GloVe) and 5.4 (state polarity).
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ctsm_lib.cache import Arrays, cached, file_fingerprint
from ctsm_lib.corpus import SPECIALS, Corpus, Vocabulary
from ctsm_lib.errors import DataError

log = logging.getLogger(__name__)

KINDS = {-1: "none", 0: "exact", 1: "mapped", 2: "mapped from features", 3: "learned"}
CACHE_VERSION = 1


@dataclass(frozen=True)
class Vectors:
    """Vectors of a vocabulary.

    Attributes:
        matrix: [V, d] float32; rows of words without a vector are zero.
        kind: [V] int8, a key of `KINDS`; -1 where there is no vector.
        name: the file's name, or "learned from the corpus".
    """

    matrix: np.ndarray
    kind: np.ndarray
    name: str

    @property
    def found(self) -> np.ndarray:
        """[V] bool, whether a word has a vector."""
        return self.kind >= 0

    def describe(self) -> dict:
        """What results say about the vectors: name, coverage, and whether they are exact."""
        words = self.kind[len(SPECIALS) :]
        exact = float((words == 0).sum() / max((words >= 0).sum(), 1))
        note = (
            "exact"
            if exact == 1
            else "approximate vectors"
            if (words == 0).any()
            else "learned from the corpus"
        )
        covered = float((words >= 0).mean()) if len(words) else 0.0
        return {
            "name": self.name,
            "note": note,
            "exact_share": round(exact, 4),
            "covered": round(covered, 4),
        }


def exact_share(path: Path) -> float:
    """Share of an `.npz` file's vectors that are exact.

    Raises:
        DataError: the file cannot be read.
    """
    kind = _read_archive(path, ["kind"]).get("kind")
    return 1.0 if kind is None else float((kind == 0).mean()) if kind.size else 0.0


def _read_archive(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Those arrays of an `.npz` that it has.

    Raises:
        DataError: it is missing, damaged, holds pickled objects, or unpacks to a hundred times its size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > max(100 * path.stat().st_size, 10**8):
            raise ValueError(f"it says that it holds {unpacked:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names if name in arrays.files}
    except (
        Exception
    ) as error:  # there is no end to what zipfile, zlib and numpy raise where a byte is wrong
        raise DataError(f"{path} is not an .npz with `words` and `vectors`: {error}") from error


def load_vectors(path: Path | None, corpus: Corpus, cache_folder: Path, dim: int = 300) -> Vectors:
    """Vectors for a corpus's vocabulary, cached as a memory-mapped matrix.

    Args:
        path: GloVe text or `.npz`; None: learn them from the corpus (PPMI and truncated SVD).
        dim: width of learned vectors, and the width that a file must have.

    Raises:
        DataError: the file is missing or malformed (with the line), or has another width.
    """
    key: dict = {
        "version": CACHE_VERSION,
        "corpus": corpus.fingerprint,
        "vocab": corpus.vocab,
        "dim": dim,
    }
    if path is None:
        key["learned"] = True
        name = "learned from the corpus"
    else:
        if not path.is_file():
            raise DataError(
                f"{path} is missing. Choose another with --vectors, or fetch GloVe with `ctsm data fetch`."
            )
        key["file"] = file_fingerprint(path)
        name = path.name

    def build() -> tuple[Arrays, dict]:
        if path is None:
            matrix, kind = learn_vectors(corpus, dim)
        elif path.suffix == ".npz":
            matrix, kind = read_npz(path, corpus.vocabulary, dim)
        else:
            matrix, kind = read_glove(path, corpus.vocabulary, dim)
        return {"matrix": matrix, "kind": kind}, {}

    arrays, _ = cached(cache_folder, "vectors", key, build)
    return Vectors(arrays["matrix"], arrays["kind"], name)


def read_glove(path: Path, vocabulary: Vocabulary, dim: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Read vectors of a vocabulary from GloVe or word2vec text, a line at a time.

    A first line of two numbers (word2vec's header) is skipped; a token may contain spaces (the last `dim` fields are
    the vector); CRLF is accepted. Only the vocabulary's rows are kept, so that 400,000 rows need no memory.

    Returns:
        [V, dim] float32 and [V] int8 kinds (0 exact, -1 none).

    Raises:
        DataError: a line is too short, a value is not a finite number, or nothing of the vocabulary is there.
    """
    matrix = np.zeros((len(vocabulary), dim), dtype=np.float32)
    kind = np.full(len(vocabulary), -1, dtype=np.int8)
    wanted = {word.encode("utf-8"): i for word, i in vocabulary.index.items() if i >= len(SPECIALS)}
    size = path.stat().st_size
    with (
        path.open("rb") as file,
        tqdm(total=size, unit="B", unit_scale=True, desc=path.name, disable=None) as bar,
    ):
        for number, line in enumerate(file, start=1):
            bar.update(len(line))
            line = line.rstrip(b"\r\n")
            spaces = line.count(b" ")
            if (number == 1 and spaces == 1) or not line:
                continue
            if spaces < dim:
                found = f"{spaces} values" if spaces else f"{line[:40]!r}"
                raise DataError(
                    f"{path}:{number}: expected a word and {dim} values, found {found}."
                )
            word, _, _ = (
                line.partition(b" ") if spaces == dim else (line.rsplit(b" ", dim)[0], b"", b"")
            )
            i = wanted.get(word)
            if i is None or kind[i] == 0:
                continue
            try:
                row = np.array(line.rsplit(b" ", dim)[1:], dtype=np.float32)
            except ValueError:
                raise DataError(
                    f"{path}:{number}: the vector of {word[:40]!r} has a value that is no number."
                ) from None
            if not np.isfinite(row).all():
                raise DataError(
                    f"{path}:{number}: the vector of {word[:40]!r} has a value that is not finite."
                )
            matrix[i], kind[i] = row, 0
    if not (kind >= 0).any():
        raise DataError(
            f"{path} has a vector for none of the {len(vocabulary)} words. Is it a GloVe file in text form?"
        )
    return matrix, kind


def read_npz(path: Path, vocabulary: Vocabulary, dim: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Read vectors of a vocabulary from an `.npz` with `words`, `vectors` [n, dim] and optionally `kind` [n].

    Returns:
        [V, dim] float32 and [V] int8 kinds.

    Raises:
        DataError: the archive is damaged, lacks an array, holds pickled objects, or has another width.
    """
    found = _read_archive(path, ["words", "vectors", "kind"])
    if lacking := {"words", "vectors"} - found.keys():
        raise DataError(
            f"{path} is not an .npz with `words` and `vectors`: it lacks {' and '.join(sorted(lacking))}."
        )
    words, vectors = found["words"], found["vectors"]
    kinds = found.get("kind", np.zeros(len(words) if words.ndim else 0, dtype=np.int8))
    if words.ndim != 1 or vectors.shape != (len(words), dim) or kinds.shape != words.shape:
        raise DataError(
            f"{path}: expected {words.size} vectors of width {dim}, found the shapes {words.shape} of words, "
            f"{vectors.shape} of vectors and {kinds.shape} of kinds."
        )
    if (
        words.dtype.kind != "U"
        or vectors.dtype.kind not in "fiu"
        or not np.isin(kinds, list(KINDS)).all()
    ):
        raise DataError(
            f"{path}: words should be text, vectors numbers and kinds from {min(KINDS)} to {max(KINDS)}; found "
            f"{words.dtype}, {vectors.dtype}, {kinds.dtype}."
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused
        vectors = vectors.astype(np.float32, copy=False)
    if not np.isfinite(vectors).all():
        raise DataError(
            f"{path}: the vector of {words[~np.isfinite(vectors).all(1)][0]!r} is not finite."
        )
    matrix = np.zeros((len(vocabulary), dim), dtype=np.float32)
    kind = np.full(len(vocabulary), -1, dtype=np.int8)
    ids = np.array([vocabulary.index.get(word, -1) for word in words.tolist()])
    ids[ids < len(SPECIALS)] = -1
    matrix[ids[ids >= 0]] = vectors[ids >= 0]
    kind[ids[ids >= 0]] = kinds[ids >= 0]
    if not (kind >= 0).any():
        raise DataError(f"{path} has a vector for none of the {len(vocabulary)} words.")
    return matrix, kind


def learn_vectors(
    corpus: Corpus, dim: int = 300, window: int = 5, min_count: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Learn vectors from the training turns: positive PMI of words within a window, then truncated SVD.

    Args:
        dim: width; where the vocabulary is smaller, the remaining columns are zero.
        window: how many words apart two words may be, within a turn; a pair counts 1 / distance.
        min_count: rarer words get no vector.

    Returns:
        [V, dim] float32 scaled like GloVe (mean length about 6), [V] int8 kinds (3 learned, -1 none).

    Source: Levy, Goldberg and Dagan (2015).
    """
    from scipy import sparse
    from sklearn.decomposition import TruncatedSVD

    split = corpus.splits["train"]
    tokens = split.tokens.astype(np.int64)
    turn = np.repeat(np.arange(len(split.turn_offsets) - 1), np.diff(split.turn_offsets))
    size = len(corpus.vocabulary)
    pairs = sparse.csr_matrix((size, size), dtype=np.float64)
    for distance in range(1, window + 1):
        near = turn[:-distance] == turn[distance:]
        left, right = tokens[:-distance][near], tokens[distance:][near]
        pairs = pairs + sparse.csr_matrix(
            (np.full(len(left), 1 / distance), (left, right)), shape=(size, size)
        )
    pairs = (pairs + pairs.T).tocoo()
    total = pairs.data.sum()
    marginal = np.asarray(pairs.sum(axis=1)).ravel()
    context = marginal**0.75  # smoothing keeps rare context words from dominating
    pmi = np.log(pairs.data * context.sum() / (marginal[pairs.row] * context[pairs.col]))
    keep = (pmi > 0) & (corpus.counts[pairs.row] >= min_count)
    ppmi = sparse.csr_matrix((pmi[keep], (pairs.row[keep], pairs.col[keep])), shape=(size, size))
    if total == 0 or ppmi.nnz == 0:
        raise DataError("The training dialogues are too few to learn word vectors from.")
    rank = min(dim, int((np.diff(ppmi.indptr) > 0).sum()) - 1, size - 1)
    svd = TruncatedSVD(max(rank, 1), algorithm="randomized", n_iter=5, random_state=0)
    learned = svd.fit_transform(ppmi) / np.sqrt(np.maximum(svd.singular_values_, 1e-9))
    matrix = np.zeros((size, dim), dtype=np.float32)
    matrix[:, : learned.shape[1]] = learned
    found = np.linalg.norm(matrix, axis=1) > 1e-6
    found[: len(SPECIALS)] = False
    matrix[~found] = 0
    matrix *= 6 / np.linalg.norm(matrix[found], axis=1).mean()
    return matrix, np.where(found, 3, -1).astype(np.int8)
