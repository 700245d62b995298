"""Word vectors for a vocabulary: from GloVe text, from `.npz`, or learned from the corpus itself.

Paper: Sec. 4.2 (300-dimensional GloVe) and 5.4 (state polarity). The readers and the learner give
a pair: [V, dim] float32 vectors, zero where there is none, and [V] int8 kinds, keys of `KINDS`.
A malformed file raises a `DataError` that says what was expected and what was found.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ctsm_lib.cache import Built, cached, file_fingerprint
from ctsm_lib.corpus import SPECIALS, Corpus, Vocabulary
from ctsm_lib.errors import DataError
from ctsm_lib.registry import extension

KINDS = {-1: "none", 0: "exact", 1: "mapped", 2: "mapped from features", 3: "learned"}
CACHE_VERSION = 1
_LEARNED = "learned from the corpus"
NOT_FINITE = "has a value that is not a finite number"


@dataclass(frozen=True)
class Vectors:
    """Vectors of a vocabulary."""

    matrix: np.ndarray  # [V, d] float32; rows of words without a vector are zero
    kind: np.ndarray  # [V] int8, a key of `KINDS`; -1 where there is no vector
    name: str  # the file's name, or "learned from the corpus"

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
        if path is None:
            matrix, kind = extension("vectors", "learned")(corpus, dim)
        else:
            read = extension("vectors", "npz") if path.suffix == ".npz" else read_glove
            matrix, kind = read(path, corpus.vocabulary, dim)
        return {"matrix": matrix, "kind": kind}, {}

    arrays, _ = cached(cache_folder, "vectors", key, build)
    return Vectors(arrays["matrix"], arrays["kind"], path.name if path else _LEARNED)


def read_glove(path: Path, vocabulary: Vocabulary, dim: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Read GloVe or word2vec text, a line at a time: only the vocabulary's rows are kept in memory.

    A first line of two numbers (word2vec's header) is skipped. A token may contain spaces: the last
    `dim` fields are the vector. The first of two rows of a word counts.
    """
    matrix = np.zeros((len(vocabulary), dim), dtype=np.float32)
    kind = np.full(len(vocabulary), -1, dtype=np.int8)
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
                raise DataError(f"{path}:{number}: the vector of {word[:40]!r} {NOT_FINITE}.")
            kind[i] = 0
    if (kind < 0).all():
        raise DataError(f"{path} has a vector for none of the words of the vocabulary.")
    return matrix, kind
