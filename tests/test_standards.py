"""Both polarities against outside standards, on data with a known answer and by plain loops."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import spearmanr

from ctsm_lib.corpus import EMOTIONS, SPECIALS
from ctsm_lib.lexicon import Lexicon
from ctsm_workbench.study.intervals import auc, rank_correlation
from ctsm_workbench.study.polarity import outside_standards, standards
from ctsm_workbench.study.polarity.standards import (
    against_labels,
    against_lexicon,
    dialogue_words,
    label_sides,
)


def slow_auc(scores: list[float], positive: list[int], negative: list[int]) -> float:
    """Every pair of a positive and a negative case in turn; a tie is half a success."""
    wins = pairs = 0.0
    for a, up in zip(scores, positive, strict=True):
        for b, down in zip(scores, negative, strict=True):
            pairs += up * down
            wins += up * down * (1 if a > b else 0.5 if a == b else 0)
    return wins / pairs


def test_auc_equals_a_plain_loop_with_ties_and_weights() -> None:
    random = np.random.default_rng(0)
    scores = random.integers(0, 4, 12) / 4  # many ties
    positive, negative = random.integers(0, 3, (2, 5, 12))
    expected = [
        slow_auc(list(scores), list(p), list(n)) for p, n in zip(positive, negative, strict=True)
    ]
    np.testing.assert_allclose(auc(scores, positive, negative), expected)


def test_auc_of_the_extremes_and_of_an_empty_side() -> None:
    scores, up = np.array([1.0, 2.0, 3.0, 4.0]), np.array([[0, 0, 1, 1]])
    assert auc(scores, up, 1 - up)[0] == 1
    assert auc(-scores, up, 1 - up)[0] == 0
    assert auc(np.zeros(4), up, 1 - up)[0] == 0.5
    assert np.isnan(auc(scores, np.ones((1, 4)), np.zeros((1, 4)))[0])
    assert np.isnan(auc(np.zeros(0), np.zeros((1, 0)), np.zeros((1, 0)))[0])


def test_labels_take_their_side_from_the_lexicon_and_unrated_ones_have_none() -> None:
    ratings = {emotion: (0.9 if i % 2 else 0.1, 0.5, 0.5) for i, emotion in enumerate(EMOTIONS)}
    ratings["caring"] = (0.5, 0.5, 0.5)
    del ratings["anticipating"]
    sides = label_sides(Lexicon(ratings))
    assert sides[EMOTIONS.index("anticipating")] == -1
    assert sides[EMOTIONS.index("caring")] == 0, "the middle is negative, as in the paper's rule"
    assert sides[EMOTIONS.index("angry")] == 1
    assert sides[EMOTIONS.index("afraid")] == 0


def test_dialogue_words_equal_a_plain_loop(tiny_prepared: Any) -> None:
    corpus = tiny_prepared.corpus
    counts, labels = dialogue_words(corpus)
    split = corpus.splits["valid"]
    before = len(corpus.splits["train"].labels)
    for number in (0, 7, len(split.labels) - 1):
        turns = split.dialogue_offsets[number : number + 2]
        tokens = split.tokens[split.turn_offsets[turns[0]] : split.turn_offsets[turns[1]]]
        expected = np.zeros(len(corpus.vocabulary))
        for token in tokens:
            expected[token] += 1
        np.testing.assert_array_equal(
            counts[before + number].toarray()[0], expected[len(SPECIALS) :]
        )
        assert labels[before + number] == split.labels[number]
    assert counts.shape == (len(labels), len(corpus.vocabulary) - len(SPECIALS))


def test_labels_are_predicted_by_informative_scores_only() -> None:
    # Words 0 and 1 occur in positive dialogues, 2 and 3 in negative ones, 4 everywhere; the last
    # dialogue has no side.
    counts = sparse.csr_matrix(
        np.array(
            [[2, 1, 0, 0, 1], [1, 0, 0, 0, 3], [0, 0, 1, 2, 1], [0, 0, 0, 1, 1], [0, 0, 9, 9, 9]]
        )
    )
    sides = np.array([1, 1, 0, 0, -1])
    scores = {"blind": np.zeros(5), "telling": np.array([1.0, 0.9, 0.1, 0.0, 0.5])}
    result = against_labels(counts, sides, scores, draws=20)
    assert (result["dialogues"], result["positive_dialogues"], result["occurrences"]) == (4, 2, 14)
    assert result["by_dialogue"]["telling"]["value"] == 1
    assert result["by_dialogue"]["blind"]["value"] == 0.5
    assert result["by_dialogue"]["telling"]["minus"]["blind"]["value"] == 0.5
    cases = (
        [(1.0, 1)] * 3 + [(0.9, 1)] + [(0.5, 1)] * 4 + [(0.1, 0)] + [(0.0, 0)] * 3 + [(0.5, 0)] * 2
    )
    expected = slow_auc(
        [s for s, _ in cases], [side for _, side in cases], [1 - side for _, side in cases]
    )
    assert result["by_occurrence"]["telling"]["value"] == pytest.approx(expected, abs=1e-4)


def test_the_interval_is_over_dialogues() -> None:
    """Eight times the words in each dialogue are no more evidence; four times the dialogues are."""

    def width(dialogues: int, words: int) -> float:
        random = np.random.default_rng(0)
        sides = random.integers(0, 2, dialogues)
        own = sides + random.normal(0, 2, dialogues)  # every word of a dialogue says the same
        counts = sparse.csr_matrix(np.kron(np.eye(dialogues), np.ones((1, words))))
        row = against_labels(counts, sides, {"score": np.repeat(own, words)}, draws=200)[
            "by_occurrence"
        ]["score"]
        return row["high"] - row["low"]

    few = width(100, 1)
    assert width(100, 8) == pytest.approx(few, abs=1e-4)
    assert width(400, 1) == pytest.approx(few / 2, rel=0.35)


def test_a_second_lexicon_judges_its_own_words_only() -> None:
    scores = {"first": np.array([0.1, 0.9, 0.8, 0.2, 0.5])}
    known, positive = (
        np.array([True, True, True, False, False]),
        np.array([False, True, True, True, False]),
    )
    result = against_lexicon(scores, known, positive, draws=10)
    assert (result["words"], result["positive"]) == (3, 2)
    assert result["first"]["value"] == 1
    nobody = against_lexicon(scores, np.zeros(5, dtype=bool), positive, draws=10)
    assert nobody["first"] == {"value": None, "low": None, "high": None}


def test_rank_correlation_is_spearman_s() -> None:
    random = np.random.default_rng(1)
    a = random.integers(0, 6, 50).astype(float)
    b = a + random.normal(0, 3, 50)
    result = rank_correlation(a, b)
    assert result["value"] == pytest.approx(spearmanr(a, b).statistic, abs=1e-4)
    assert result["low"] < result["value"] < result["high"]
    assert rank_correlation(np.ones(9), np.arange(9.0))["value"] is None


def test_outside_standards_of_the_sample(tiny_prepared: Any) -> None:
    result = outside_standards(tiny_prepared, draws=10)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert outside_standards(tiny_prepared, draws=10) == result
    assert (
        len(result["positive_labels"] + result["negative_labels"] + result["left_out_labels"]) == 32
    )
    rows = {(row["split"], row["set"]): row for row in result["labels"]}
    assert rows["all", "rated words"]["dialogues"] <= 480
    assert "AUC" in result["conclusion"]


def test_without_vader_the_result_says_so(
    tiny_prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    assert standards.read_vader() is None
    assert "pip install" in outside_standards(tiny_prepared, draws=2)["vader"]["note"]


def test_vader_is_compared_where_both_lexica_know_a_word(
    tiny_prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratings = tiny_prepared.lexicon.ratings
    words = [
        word
        for word in tiny_prepared.corpus.vocabulary.words
        if word in ratings and ratings[word][0] != 0.5
    ]
    same = {word: 4 * ratings[word][0] - 2 for word in words}
    fake = SimpleNamespace(SentimentIntensityAnalyzer=lambda: SimpleNamespace(lexicon=same))
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", fake)
    vader = outside_standards(tiny_prepared, draws=2)["vader"]
    assert vader["lexica_agree"] == 100
    assert vader["rated words"]["trait"]["value"] == 1
    monkeypatch.setattr(
        fake,
        "SentimentIntensityAnalyzer",
        lambda: SimpleNamespace(lexicon={w: -v for w, v in same.items()}),
    )
    assert outside_standards(tiny_prepared, draws=2)["vader"]["lexica_agree"] == 0
