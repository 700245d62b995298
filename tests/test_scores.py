"""Scores: exact on constructed cases. Specification, Section 5."""

import math

import numpy as np
import pytest

from ctsm_lib.scores import (
    distinct,
    emotion_scores,
    perplexities,
    response_tokens,
    score_pairs,
    teacher_forced,
)
from ctsm_workbench.study.evaluation import expectation_adjusted, loops, response_scores, self_bleu


def test_the_two_perplexities_of_a_constructed_case():
    """ppl_peer averages examples' means, ppl_token averages tokens."""
    nll, tokens = np.array([2.0, 12.0]), np.array([2.0, 4.0])  # means 1 and 3
    scores = perplexities(nll, tokens)
    assert scores["ppl_peer"] == pytest.approx(math.exp(2.0))
    assert scores["ppl_token"] == pytest.approx(math.exp(14 / 6))


def test_perplexity_of_an_untrained_giant_is_infinite_not_an_error():
    assert perplexities(np.array([1e6]), np.array([1.0]))["ppl_token"] == math.inf


def test_emotion_scores_by_counting():
    logits = np.full((4, 32), -1.0)
    logits[0, 3] = 5  # right
    logits[1, [4, 5]] = [5, 4]  # label 5 is second
    logits[2, [1, 2, 6, 7, 8]] = [9, 8, 7, 6, 5]  # label 8 is fifth
    logits[3, 3] = 5  # label 9 is nowhere
    logits[3, 9] = -9
    scores = emotion_scores(logits, np.array([3, 5, 8, 9]))
    assert (scores["acc"], scores["acc_top3"], scores["acc_top5"]) == (25, 50, 75)
    # F1: class 3 has one hit and one false alarm, 2/3; labels 5, 8, 9 and predictions 4, 1 have 0.
    # Six classes occur.
    assert scores["macro_f1"] == pytest.approx(100 * (2 / 3) / 6)


def test_macro_f1_equals_scikit_learn():
    from sklearn.metrics import f1_score

    random = np.random.default_rng(0)
    logits, label = random.normal(size=(200, 32)), random.integers(0, 32, 200)
    expected = f1_score(label, logits.argmax(1), average="macro", zero_division=0)
    assert emotion_scores(logits, label)["macro_f1"] == pytest.approx(100 * expected)


def test_distinct_by_counting():
    responses = [["a", "b", "a"], ["a", "b"], [], ["c"]]
    assert distinct(responses, 1) == pytest.approx(100 * 3 / 6)
    assert distinct(responses, 2) == pytest.approx(100 * 2 / 3)  # ab ba ab
    assert distinct([[]], 1) == 0


@pytest.mark.parametrize(
    ("text", "looping"),
    [
        ("7th 7th 7th", True),
        ("i am so i am so i am so sad", True),
        ("no no , not that", False),
        ("! ! ! !", False),
        ("a b c d a b c d a b c d", True),
        ("that is that", False),
    ],
)
def test_loops_are_found(text, looping):
    assert loops(text.split()) is looping


def test_response_scores_of_a_constructed_case():
    scores = response_scores(
        ["I am sad.", "i am sad .", "Oh no"], ["I am sad.", "i am sad.", "Oh no"]
    )
    assert scores["mean_length"] == pytest.approx((4 + 4 + 2) / 3)
    assert scores["distinct_responses"] == pytest.approx(200 / 3)
    assert scores["dist1"] == pytest.approx(100 * 6 / 10)
    assert scores["bleu"] == pytest.approx(100)
    assert scores["n"] == 3
    assert response_scores([])["dist1"] == 0
    assert response_scores(["a"])["bleu"] is None


def test_dist_retokenises_text():
    assert response_tokens("I'm fine, thanks!") == ["i", "'m", "fine", ",", "thanks", "!"]


def test_score_pairs_is_the_same_for_every_batch_size_and_leaves_the_mode(tiny_run, tiny_prepared):
    from ctsm_lib.runs import load_run

    model, pairs = load_run(tiny_run).model, tiny_prepared.pairs["valid"]
    model.train()
    one, many = score_pairs(model, pairs, batch_size=1), score_pairs(model, pairs, batch_size=50)
    assert model.training
    for name in ("nll", "tokens", "logits"):
        np.testing.assert_allclose(one[name], many[name], rtol=1e-4, atol=1e-5)
    assert one["tokens"].tolist() == (pairs.target_length + 1).tolist()
    scores = teacher_forced(one)
    by_hand = [math.exp(np.mean([n / t for n, t in zip(one["nll"], one["tokens"], strict=True)]))]
    assert scores["ppl_peer"] == pytest.approx(by_hand[0])


def test_distinct_words_beside_those_of_random_words() -> None:
    """EAD-1: V (1 - (1 - 1/V)^C) distinct words are expected of C random ones out of V."""
    words = [["a", "b", "a"], ["c", "a"]]
    expected = 10 * (1 - (1 - 1 / 10) ** 5)
    assert expectation_adjusted(words, 10) == pytest.approx(100 * 3 / expected)
    many = np.random.default_rng(0).integers(0, 500, (400, 10)).astype(str).tolist()
    assert expectation_adjusted(many, 500) == pytest.approx(100, abs=3)
    assert expectation_adjusted([[]], 10) == 0


def test_self_bleu_is_the_likeness_of_answers_to_each_other() -> None:
    """Equal answers have 100, answers without a common word next to 0; one answer has none."""
    same = [["i", "am", "so", "sorry", "to", "hear", "that"]] * 5
    assert self_bleu(same) == pytest.approx(100)
    apart = [[f"{answer}-{word}" for word in range(6)] for answer in range(5)]
    assert self_bleu(apart) < 1
    half = [same[0], [*same[0][:4], "x", "y", "z"]]
    assert 1 < self_bleu(half) < 100
    assert self_bleu(same[:1]) is None
