"""The real data gives the numbers of the specification; skipped where it is absent."""

import numpy as np
import pytest

from ctsm_lib.corpus import SPECIALS, prepare_corpus
from ctsm_lib.lexicon import read_lexicon
from ctsm_lib.vectors import load_vectors

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def corpus(real_data, tmp_path_factory):
    return prepare_corpus(real_data / "empatheticdialogues", tmp_path_factory.mktemp("real"))


def test_counts_are_those_of_the_specification(corpus):
    assert {name: len(split.pairs) for name, split in corpus.splits.items()} == {
        "train": 40_252,
        "valid": 5_736,
        "test": 5_257,
    }
    assert {name: len(split.labels) for name, split in corpus.splits.items()} == {
        "train": 19_532,
        "valid": 2_769,
        "test": 2_546,
    }
    assert len(corpus.vocabulary) - len(SPECIALS) == 23_652
    assert corpus.problems == []


def test_lengths_are_those_of_the_specification(corpus):
    pairs = np.concatenate([split.pairs for split in corpus.splits.values()])
    context, target = pairs[:, 1] - pairs[:, 0], pairs[:, 2] - pairs[:, 1]
    assert np.median(context) == pytest.approx(31, abs=1)
    assert np.median(target) == pytest.approx(13, abs=1)
    assert context.max() == pytest.approx(373, abs=2)
    assert target.max() == pytest.approx(116, abs=2)


def test_the_strict_vocabulary_leaves_few_test_words_unknown(real_data, tmp_path):
    strict = prepare_corpus(real_data / "empatheticdialogues", tmp_path, vocab="train")
    split = strict.splits["test"]
    begin, end = split.pairs[:, 1], split.pairs[:, 2]
    unknown = sum((split.tokens[b:e] == 0).sum() for b, e in zip(begin, end, strict=True))
    assert 100 * unknown / (end - begin + 1).sum() == pytest.approx(0.64, abs=0.1)


def test_40_percent_of_the_words_are_rated(corpus, real_data):
    lexicon = read_lexicon(real_data / "NRC-VAD-Lexicon.txt")
    assert len(lexicon) == 20_007
    _, rated = lexicon.table(corpus.vocabulary)
    assert rated.sum() == 9_443


def test_vectors_cover_the_vocabulary_and_are_described_as_approximate(corpus, real_data, tmp_path):
    vectors = load_vectors(real_data / "glove.6B.300d.extended.npz", corpus, tmp_path)
    assert vectors.describe()["note"] == "approximate vectors"
    assert vectors.describe()["covered"] == pytest.approx(1, abs=0.01)
    exact = load_vectors(real_data / "glove.6B.300d.txt", corpus, tmp_path)
    assert exact.describe()["note"] == "exact"
    both = exact.found
    np.testing.assert_allclose(vectors.matrix[both], exact.matrix[both], atol=2e-3)
