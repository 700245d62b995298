"""VAD ratings and emotion intensity. Specification, Section 1."""

import math

import numpy as np
import pytest

from ctsm_lib.corpus import CLS, PAD, SPECIALS, Vocabulary
from ctsm_lib.errors import DataError
from ctsm_lib.lexicon import NEUTRAL_VAD, intensity, read_lexicon

WORDS = Vocabulary([*SPECIALS, "happy", "murder", "qwertz"])


def lexicon(tmp_path, text):
    path = tmp_path / "vad.txt"
    path.write_bytes(text.encode())
    return read_lexicon(path)


@pytest.mark.parametrize("header", ["Word\tValence\tArousal\tDominance\n", ""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_v1_with_and_without_header(tmp_path, header, end):
    found = lexicon(
        tmp_path, (header + "Happy\t1.0\t0.735\t0.772\nmurder\t0.01\t0.9\t0.5\n").replace("\n", end)
    )
    assert found.scale == "v1"
    assert found.ratings == {"happy": (1.0, 0.735, 0.772), "murder": (0.01, 0.9, 0.5)}


def test_v2_is_rescaled_to_0_1_with_a_warning(tmp_path, caplog):
    found = lexicon(
        tmp_path,
        "term\tvalence\tarousal\tdominance\nhappy\t1.0\t0.0\t0.5\nmurder\t-1.0\t0.8\t0.0\n",
    )
    assert found.scale == "v2"
    assert found.ratings["murder"] == pytest.approx((0.0, 0.9, 0.5))
    assert "[-1, 1]" in caplog.text


def test_comments_before_the_words_are_skipped(tmp_path):
    found = lexicon(tmp_path, "# not NRC's\nWord\tValence\tArousal\tDominance\na\t0\t1\t0.5\n")
    assert found.ratings == {"a": (0, 1, 0.5)}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("sad\t0.2\t0.3", "expected word"),
        ("sad\t0.2\tx\t0.3", "could not convert string to float: 'x'"),
        ("sad\t0.2\tnan\t0.3", r"not all in \[0, 1\]"),
        ("sad\t0.2\t1.5\t0.3", r"not all in \[0, 1\]"),
        ("sad\t-7\t0.5\t0.3", r"not all in \[0, 1\]"),
        ("\t0.2\t0.5\t0.3", r"expected word.* not '\\t0\.2"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, reason):
    with pytest.raises(DataError, match=rf"vad\.txt:2: .*{reason}"):
        lexicon(tmp_path, f"happy\t1\t1\t1\n{line}\n")


def test_empty_missing_and_binary_files(tmp_path):
    with pytest.raises(DataError, match="no rated word"):
        lexicon(tmp_path, "Word\tValence\tArousal\tDominance\n")
    with pytest.raises(DataError, match="is missing"):
        read_lexicon(tmp_path / "none.txt")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        read_lexicon(tmp_path / "b.txt")


@pytest.mark.parametrize("neutral", ["standard", "printed"])
def test_unrated_words_get_the_neutral_triple(tmp_path, neutral):
    vad, rated = lexicon(tmp_path, "happy\t1.0\t0.7\t0.8\n").table(WORDS, neutral)
    assert rated.tolist() == [False] * 7 + [True, False, False]
    np.testing.assert_allclose(vad[7], [1.0, 0.7, 0.8], rtol=1e-6)
    np.testing.assert_allclose(vad[9], NEUTRAL_VAD[neutral])
    assert NEUTRAL_VAD["standard"] == (0.5, 0.0, 0.5)


def test_intensity_by_the_formula(tmp_path):
    """I(w) = (||[V, A/2] - [0.5, 0]||_2 - 0.06467) / 0.607468; unrated, CLS and PAD exactly 0."""
    vad, rated = lexicon(tmp_path, "happy\t1.0\t0.7\t0.8\nmurder\t0.0\t0.9\t0.5\n").table(WORDS)
    values = intensity(vad, rated)
    for word, (v, a) in {"happy": (1.0, 0.7), "murder": (0.0, 0.9)}.items():
        expected = (math.sqrt((v - 0.5) ** 2 + (a / 2) ** 2) - 0.06467) / 0.607468
        assert values[WORDS.index[word]] == pytest.approx(expected, rel=1e-5)
    assert values[[PAD, CLS, WORDS.index["qwertz"]]].tolist() == [0, 0, 0]
