"""Word vectors for a vocabulary: from GloVe text, from `.npz`, or learned from the corpus itself.

Paper: Sec. 4.2 (300-dimensional GloVe) and 5.4 (state polarity). The readers and the learner give
a pair: [V, dim] float32 vectors, zero where there is none, and [V] int8 kinds, keys of `KINDS`.
A malformed file raises a `DataError` that says what was expected and what was found.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ctsm_lib.cache import Built, cached, file_fingerprint
from ctsm_lib.corpus import SPECIALS, Corpus, Vocabulary
from ctsm_lib.errors import DataError

KINDS = {-1: "none", 0: "exact", 1: "mapped", 2: "mapped from features", 3: "learned"}
CACHE_VERSION = 1
_LEARNED = "learned from the corpus"
_NOT_FINITE = "has a value that is not a finite number"


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
        """[V] bool: True for words that have a vector."""
        return self.kind >= 0

    def describe(self) -> dict:
        """The part of a run's description about vectors: name, coverage, share of exact ones."""
        words = self.kind[len(SPECIALS) :]
        exact = float((words == 0).sum() / max((words >= 0).sum(), 1))
        note = "exact" if exact == 1 else "approximate vectors" if exact else _LEARNED
        covered = round(float((words >= 0).mean()), 4) if len(words) else 0.0
        return {"name": self.name, "note": note, "exact_share": round(exact, 4), "covered": covered}


def load_vectors(path: Path | None, corpus: Corpus, cache_folder: Path, dim: int = 300) -> Vectors:
    """Vectors for a corpus's vocabulary, cached as a memory-mapped matrix.

    `path` is GloVe text or `.npz`; None: learn the vectors from the corpus. `dim` is the width of
    learned vectors, and the width that a file must have.
    """
    key: dict = dict(version=CACHE_VERSION, corpus=corpus.fingerprint, vocab=corpus.vocab, dim=dim)
    if path is None:
        key["learned"] = True
    elif path.is_file():
        key["file"] = file_fingerprint(path)
    else:
        way_out = "Choose another with --vectors, or fetch GloVe with `ctsm data fetch`."
        raise DataError(f"{path} is missing. {way_out}")

    def build() -> Built:
        read = read_npz if path and path.suffix == ".npz" else read_glove
        matrix, kind = read(path, corpus.vocabulary, dim) if path else learn_vectors(corpus, dim)
        return {"matrix": matrix, "kind": kind}, {}

    arrays, _ = cached(cache_folder, "vectors", key, build)
    return Vectors(arrays["matrix"], arrays["kind"], path.name if path else _LEARNED)


def read_glove(path: Path, vocabulary: Vocabulary, dim: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Read GloVe or word2vec text, a line at a time: only the vocabulary's rows are kept in memory.

    A first line of two numbers (word2vec's header) is skipped. A token may contain spaces: the last
    `dim` fields are the vector. The first of two rows of a word counts.
    """
    matrix, kind = _nothing(vocabulary, dim)
    wanted = {word.encode("utf-8"): i for word, i in vocabulary.index.items() if i >= len(SPECIALS)}
    with path.open("rb") as file:
        rows = enumerate(tqdm(file, desc=path.name, unit=" rows", disable=None), start=1)
        for number, line in rows:
            line = line.rstrip(b"\r\n")
            spaces = line.count(b" ")
            if (number == 1 and spaces == 1) or not line:
                continue
            if spaces < dim:
                found = f"{spaces} values" if spaces else repr(line[:40])
                expected = f"expected a word and {dim} values"
                raise DataError(f"{path}:{number}: {expected}, found {found}.")
            # Most words are not wanted: their vectors are not even split.
            word = line.partition(b" ")[0] if spaces == dim else line.rsplit(b" ", dim)[0]
            i = wanted.get(word)
            if i is None or kind[i] == 0:
                continue
            try:
                matrix[i] = np.array(line.rsplit(b" ", dim)[1:], dtype=np.float32)
            except ValueError:
                matrix[i] = np.nan
            if not np.isfinite(matrix[i]).all():
                raise DataError(f"{path}:{number}: the vector of {word[:40]!r} {_NOT_FINITE}.")
            kind[i] = 0
    return _some(path, matrix, kind)


def read_npz(path: Path, vocabulary: Vocabulary, dim: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Read an `.npz` with `words` [n], `vectors` [n, dim] and optionally `kind` [n]."""
    found = _read_archive(path, ["words", "vectors", "kind"])
    words = found.get("words", np.zeros(0))
    vectors = found.get("vectors", np.zeros(0))
    kinds = found.get("kind", np.zeros(words.shape, dtype=np.int8))
    shapes = words.ndim == 1 and vectors.shape == (len(words), dim) and kinds.shape == words.shape
    types = words.dtype.kind == "U" and vectors.dtype.kind in "fiu"
    if not shapes or not types or not np.isin(kinds, list(KINDS)).all():
        expected = f"expected words, vectors [{dim}], kind from {min(KINDS)} to {max(KINDS)}"
        arrays = ", ".join(f"{name} {array.dtype}{array.shape}" for name, array in found.items())
        raise DataError(f"{path}: {expected}; found {arrays or 'none of them'}.")
    with np.errstate(over="ignore"):  # a value too large for float32 becomes infinite: see below
        vectors = vectors.astype(np.float32, copy=False)
    if not np.isfinite(vectors).all():
        word = words[~np.isfinite(vectors).all(axis=1)][0]
        raise DataError(f"{path}: the vector of {word!r} {_NOT_FINITE}.")
    matrix, kind = _nothing(vocabulary, dim)
    ids = np.array([vocabulary.index.get(word, -1) for word in words.tolist()], dtype=np.int64)
    wanted = ids >= len(SPECIALS)
    matrix[ids[wanted]] = vectors[wanted]
    kind[ids[wanted]] = kinds[wanted]
    return _some(path, matrix, kind)


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


def _nothing(vocabulary: Vocabulary, dim: int) -> tuple[np.ndarray, np.ndarray]:
    size = len(vocabulary)
    return np.zeros((size, dim), dtype=np.float32), np.full(size, -1, dtype=np.int8)


def _some(path: Path, matrix: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if (kind < 0).all():
        raise DataError(f"{path} has a vector for none of the {len(kind)} words of the vocabulary.")
    return matrix, kind


def learn_vectors(corpus: Corpus, dim: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Learn vectors from the training turns: positive PMI of near words, then truncated SVD.

    Two words of a turn that are at most 5 words apart count 1 / distance. Words that occur once get
    no vector. The vectors are scaled like GloVe's (mean length about 6). Where the vocabulary is
    smaller than `dim`, the remaining columns are zero. Source: Levy, Goldberg and Dagan (2015).
    """
    from scipy import sparse
    from sklearn.decomposition import TruncatedSVD

    split = corpus.splits["train"]
    tokens = split.tokens.astype(np.int64)
    turn = np.repeat(np.arange(len(split.turn_offsets) - 1), np.diff(split.turn_offsets))
    size = len(corpus.vocabulary)
    pairs = sparse.csr_matrix((size, size), dtype=np.float64)
    for distance in range(1, 6):
        near = turn[:-distance] == turn[distance:]
        words = (tokens[:-distance][near], tokens[distance:][near])
        weights = np.full(near.sum(), 1 / distance)
        pairs = pairs + sparse.csr_matrix((weights, words), shape=(size, size))
    pairs = (pairs + pairs.T).tocoo()
    marginal = np.asarray(pairs.sum(axis=1)).ravel()
    context = marginal**0.75  # smoothing keeps rare context words from dominating
    pmi = np.log(pairs.data * context.sum() / (marginal[pairs.row] * context[pairs.col]))
    keep = (pmi > 0) & (corpus.counts[pairs.row] > 1)
    ppmi = sparse.csr_matrix((pmi[keep], (pairs.row[keep], pairs.col[keep])), shape=(size, size))
    if ppmi.nnz == 0:
        raise DataError("The training dialogues are too few to learn word vectors from.")
    rank = min(dim, int((np.diff(ppmi.indptr) > 0).sum()) - 1, size - 1)
    svd = TruncatedSVD(max(rank, 1), algorithm="randomized", n_iter=5, random_state=0)
    learned = svd.fit_transform(ppmi) / np.sqrt(np.maximum(svd.singular_values_, 1e-9))
    matrix, kind = _nothing(corpus.vocabulary, dim)
    matrix[:, : learned.shape[1]] = learned
    found = np.linalg.norm(matrix, axis=1) > 1e-6
    found[: len(SPECIALS)] = False
    matrix[~found] = 0
    matrix *= 6 / np.linalg.norm(matrix[found], axis=1).mean()
    kind[found] = 3
    return matrix, kind
