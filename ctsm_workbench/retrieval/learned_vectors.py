"""Word vectors learned from the corpus itself, for data without any."""

import numpy as np

from ctsm_lib.corpus import SPECIALS, Corpus
from ctsm_lib.errors import DataError


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
    matrix = np.zeros((size, dim), dtype=np.float32)
    matrix[:, : learned.shape[1]] = learned
    found = np.linalg.norm(matrix, axis=1) > 1e-6
    found[: len(SPECIALS)] = False
    matrix[~found] = 0
    matrix *= 6 / np.linalg.norm(matrix[found], axis=1).mean()
    return matrix, np.where(found, 3, -1).astype(np.int8)
