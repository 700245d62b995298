"""Word vectors: GloVe text, .npz, learned."""

import numpy as np
import pytest

from ctsm_lib.corpus import SPECIALS, Vocabulary
from ctsm_lib.errors import DataError
from ctsm_lib.vectors import load_vectors, read_glove
from ctsm_workbench.retrieval.learned_vectors import learn_vectors
from ctsm_workbench.retrieval.vector_archives import exact_share, read_npz

WORDS = Vocabulary([*SPECIALS, "cat", "dog", ". . .", "bird"])


def glove(tmp_path, text):
    path = tmp_path / "glove.txt"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text", ["cat 1 2 3\ndog 4 5 6\n", "2 3\ncat 1 2 3\ndog 4 5 6\n", "cat 1 2 3\r\ndog 4 5 6\r\n"]
)
def test_glove_with_header_and_crlf(tmp_path, text):
    matrix, kind = read_glove(glove(tmp_path, text), WORDS, 3)
    assert matrix[7].tolist() == [1, 2, 3]
    assert matrix[8].tolist() == [4, 5, 6]
    assert kind.tolist() == [-1] * 7 + [0, 0, -1, -1]
    assert not matrix[10].any()


def test_tokens_with_spaces_and_the_first_of_two_rows(tmp_path):
    matrix, _ = read_glove(
        glove(tmp_path, ". . . 1 2 3\ncat 1 1 1\ncat 9 9 9\n<pad> 5 5 5\n"), WORDS, 3
    )
    assert matrix[9].tolist() == [1, 2, 3]
    assert matrix[7].tolist() == [1, 1, 1]
    assert not matrix[:7].any()  # a special token is no word


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cat 1 2 3\ndog 4 5\n", r":2: expected a word and 3 values, found 2 values"),
        ("cat 1 x 3\n", r":1: the vector of b'cat' has a value that is not a finite number"),
        ("cat 1 nan 3\n", r":1: .*not a finite"),
        ("<!DOCTYPE html>\n", r":1|none of the"),
        ("horse 1 2 3\n", "none of the"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, text, reason):
    with pytest.raises(DataError, match=rf"glove\.txt.*{reason}|{reason}"):
        read_glove(glove(tmp_path, text), WORDS, 3)


def archive(tmp_path, **arrays):
    path = tmp_path / "v.npz"
    np.savez(path, **arrays)
    return path


def test_npz_keeps_what_each_vector_is(tmp_path):
    arrays = dict(
        words=np.array(["dog", "bird", "x"]),
        vectors=np.eye(3, dtype=np.float16),
        kind=np.array([0, 2, 1]),
    )
    path = archive(tmp_path, **arrays)
    matrix, kind = read_npz(path, WORDS, 3)
    assert matrix.dtype == np.float32
    assert matrix[8].tolist() == [1, 0, 0]
    assert kind.tolist() == [-1] * 8 + [0, -1, 2]
    assert exact_share(path) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "arrays",
    [
        {"words": np.array(["dog"])},
        {"words": np.array(["dog"]), "vectors": np.eye(2)},
        {"words": np.array(["dog"]), "vectors": np.full((1, 3), np.nan)},
        {"words": np.array([{"a": 1}], dtype=object), "vectors": np.ones((1, 3))},
        {"words": np.array(["dog"]), "vectors": np.ones((1, 3)), "kind": np.array([0, 0])},
        {"words": np.array(["horse"]), "vectors": np.ones((1, 3))},
    ],
)
def test_a_bad_npz_is_refused(tmp_path, arrays):
    with pytest.raises(DataError, match=r"v\.npz"):
        read_npz(archive(tmp_path, **arrays), WORDS, 3)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"\x80\x04pickle"])
def test_what_is_no_npz_is_refused(tmp_path, content):
    path = tmp_path / "v.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"v\.npz is not an \.npz"):
        read_npz(path, WORDS, 3)
    with pytest.raises(DataError, match="is not an"):
        exact_share(path)


def test_learned_vectors_are_seeded_and_know_their_words(tiny_prepared):
    corpus = tiny_prepared.corpus
    matrix, kind = learn_vectors(corpus, 50)
    again, _ = learn_vectors(corpus, 50)
    np.testing.assert_array_equal(matrix, again)
    assert matrix.shape == (len(corpus.vocabulary), 50)
    assert not matrix[: len(SPECIALS)].any()
    assert set(kind.tolist()) == {-1, 3}
    assert np.linalg.norm(matrix[kind == 3], axis=1).mean() == pytest.approx(6, rel=1e-4)


def test_vectors_are_cached_and_described(tmp_path, tiny_prepared):
    path = tmp_path / "glove.txt"
    path.write_text("the 1 2 3\nand 3 2 1\n")
    first = load_vectors(path, tiny_prepared.corpus, tmp_path / "cache", 3)
    path_time = path.stat().st_mtime_ns
    second = load_vectors(path, tiny_prepared.corpus, tmp_path / "cache", 3)
    assert path.stat().st_mtime_ns == path_time
    assert isinstance(second.matrix, np.memmap)
    np.testing.assert_array_equal(first.matrix, second.matrix)
    assert second.describe()["note"] == "exact"
    assert second.found.sum() == 2
    with pytest.raises(DataError, match=r"missing\.txt is missing.*--vectors"):
        load_vectors(tmp_path / "missing.txt", tiny_prepared.corpus, tmp_path / "cache", 3)
    with pytest.raises(DataError, match="expected a word and 4 values"):
        load_vectors(path, tiny_prepared.corpus, tmp_path / "cache", 4)


def test_glove_is_streamed(tmp_path):
    """Memory depends on the vocabulary, not on the file: GloVe has 400,000 rows, a gigabyte."""
    import tracemalloc

    path = tmp_path / "glove.txt"
    row = " ".join(["0.12345"] * 300)
    path.write_text("".join(f"word{i} {row}\n" for i in range(4_000)))
    assert path.stat().st_size > 9_000_000
    tracemalloc.start()
    try:
        _, kind = read_glove(path, Vocabulary([*SPECIALS, "word3999"]), 300)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kind[-1] == 0
    assert peak < 1_000_000
