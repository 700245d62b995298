"""Trait and state polarity on vocabularies with a known answer, and against plain loops."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ctsm_lib import polarity as rule_of_the_paper
from ctsm_lib.corpus import EMOTIONS, SPECIALS, Vocabulary
from ctsm_lib.errors import DataError
from ctsm_lib.lexicon import Lexicon
from ctsm_lib.polarity import NO_STATE, TIE, centroids, state_polarity, trait_polarity
from ctsm_lib.vectors import Vectors
from ctsm_workbench.study.polarity import QUALITIES, Rule, Words, analyse_prepared, shuffled_shares
from ctsm_workbench.study.polarity import analyse as analyse_words

# Two good words, two bad ones, and "surprised": its valence is good, but it lies among the bad.
WORDS = ["good", "fine", "bad", "awful", "surprised"]
VALENCE = np.array([0.9, 0.8, 0.1, 0.2, 0.7])
VECTORS = np.array([[4, 0], [3, 1], [0, 4], [1, 3], [1, 3]], dtype=np.float32)


def analyse(**given: Any) -> dict:
    """`analyse` of arrays. Without `vad` only valences are known, without `kind` all are exact."""
    nothing = np.full(len(given["words"]), np.nan)
    valence = given.pop("valence")
    vad = given.pop("vad", np.stack([nothing, nothing, nothing], axis=1)).copy()
    vad[: len(valence), 0] = valence
    found = given.pop("found")
    kind = given.pop("kind", np.where(found, 0, -1))
    names = ("words", "rated", "vectors", "counts")
    data = {name: given.pop(name) for name in names}
    return analyse_words(Words(vad=vad, kind=kind, **data), **given)


def random_words(n: int = 60, dim: int = 5, seed: int = 0) -> dict[str, Any]:
    """Words without rating or vector, vectors of three qualities, and valence in the vectors."""
    random = np.random.default_rng(seed)
    valence = np.round(random.random(n), 2)
    vectors = random.normal(size=(n, dim)).astype(np.float32)
    vectors[:, 0] += 2 * (valence > 0.5) - 1
    rated, kind = random.random(n) < 0.6, random.choice([0, 1, 2], n)
    valence[~rated] = 0.5
    vectors[3], kind[4] = 0, -1
    vad = np.stack([valence, random.random(n), random.random(n)], axis=1)
    counts = random.integers(0, 9, n)
    words = [*EMOTIONS[:3], *(f"word{i}" for i in range(n - 3))]
    arrays = dict(
        valence=valence,
        rated=rated,
        vectors=vectors,
        found=kind >= 0,
        counts=counts,
        vad=vad,
        kind=kind,
    )
    return {"words": words} | arrays


def slow_state(
    vectors: np.ndarray, trait: np.ndarray, members: np.ndarray, unit: bool, leave_one_out: bool
) -> list[int]:
    """Section 5.4, one word and one group member after the other."""
    states = []
    for i in range(len(vectors)):
        cosines = []
        for side in (1, 0):
            group = [
                vectors[j].astype(float) / (np.linalg.norm(vectors[j]) if unit else 1)
                for j in range(len(vectors))
                if members[j]
                and trait[j] == side
                and vectors[j].any()
                and not (leave_one_out and i == j)
            ]
            mean = sum(group, np.zeros(vectors.shape[1])) / max(len(group), 1)
            length = np.linalg.norm(mean) * np.linalg.norm(vectors[i])
            cosines.append(float(mean @ vectors[i] / length) if length else None)
        states.append(NO_STATE if None in cosines else int(cosines[0] - cosines[1] > TIE))
    return states


def slow_rule(rule: dict, data: dict[str, Any], seed: int = 0) -> tuple[int, int, float]:
    """Words counted, words that differ, and the weight of those, one word after the other."""
    coin = np.random.default_rng(seed).integers(0, 2, len(data["words"]))
    n, trait, part, has = len(data["words"]), [], [], []
    for i in range(n):
        rated, valence = data["rated"][i], data["valence"][i]
        trait.append(
            int(valence > rule["threshold"]) if rated else int(rule["unrated"] == "positive")
        )
        neutral = rule["band"] > 0 and abs(valence - rule["threshold"]) <= rule["band"] + 1e-6
        part.append((rated or rule["unrated"] != "left out") and not neutral)
        good = data["kind"][i] in QUALITIES[rule["vectors"]]
        has.append(bool(part[i] and data["found"][i] and data["vectors"][i].any() and good))
    states = slow_state(
        data["vectors"], np.array(trait), np.array(has), rule["unit"], rule["leave_one_out"]
    )
    words = differ = 0
    weight = total = 0.0
    for i in range(n):
        state = states[i] if has[i] else NO_STATE
        if state == NO_STATE and rule["missing"] != "left out":
            fates = {"negative": 0, "random": coin[i], "agree": trait[i], "disagree": 1 - trait[i]}
            state = fates[rule["missing"]]
        counted = {"all": True, "rated": data["rated"][i], "unrated": not data["rated"][i]}[
            rule["count"]
        ]
        if part[i] and counted and state != NO_STATE:
            words, differ = words + 1, differ + (state != trait[i])
            total += data["counts"][i]
            weight += data["counts"][i] * (state != trait[i])
    return words, differ, 100 * (weight / total if rule["weighted"] else differ / words)


def small(**changes: Any) -> dict:
    """`analyse` of the five words."""
    arrays: dict[str, Any] = {
        "words": WORDS, "valence": VALENCE, "rated": np.ones(5, dtype=bool), "vectors": VECTORS,
        "found": np.ones(5, dtype=bool), "counts": np.array([5, 4, 3, 2, 6]),
    }  # fmt: skip
    return analyse(**(arrays | {"draws": 20} | changes))


def test_trait_polarity_is_positive_only_above_the_threshold() -> None:
    assert trait_polarity(np.array([0.0, 0.5, 0.501, 1.0])).tolist() == [0, 0, 1, 1]
    assert trait_polarity(np.array([0.4, 0.6], dtype=np.float32), 0.4).tolist() == [0, 1]
    assert float(np.float32(0.6)) > 0.6, "the case that the rounding is for"
    assert trait_polarity(np.array([0.6], dtype=np.float32), 0.6).tolist() == [0]


def test_centroids_are_the_means_and_leave_zero_vectors_out() -> None:
    trait = trait_polarity(VALENCE)
    positive, negative = centroids(VECTORS, trait)
    np.testing.assert_allclose(positive, VECTORS[[0, 1, 4]].mean(axis=0))
    np.testing.assert_allclose(negative, VECTORS[[2, 3]].mean(axis=0))
    with_zero = centroids(np.concatenate([VECTORS, np.zeros((1, 2))]), np.append(trait, 1))
    np.testing.assert_allclose(with_zero[0], positive)
    lengths = np.linalg.norm(VECTORS[[2, 3]], axis=1, keepdims=True)
    np.testing.assert_allclose(
        centroids(VECTORS, trait, unit=True)[1], (VECTORS[[2, 3]] / lengths).mean(axis=0)
    )


def test_the_word_among_the_others_is_the_one_that_differs() -> None:
    state = state_polarity(VECTORS, trait_polarity(VALENCE))
    assert state.tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("trait", [[1, 0, 2, 2], [0, 1, 2, 2]])  # 2: in neither group
def test_a_tie_is_negative_and_a_zero_vector_has_no_state(trait: list[int]) -> None:
    # The third word lies half-way between the groups; 0.1 and 0.3 are not exact in binary, but
    # rounding must not decide.
    vectors = np.array([[0.1, 0.3], [0.3, 0.1], [0.7, 0.7], [0.0, 0.0]])
    for dtype in (np.float64, np.float32):
        assert state_polarity(vectors.astype(dtype), np.array(trait)).tolist() == [
            *trait[:2],
            0,
            NO_STATE,
        ]


@pytest.mark.parametrize(
    ("trait", "name"), [([1, 1], "negative"), ([0, 0], "positive"), ([1, 0], "negative")]
)
def test_an_empty_group_is_named(trait: list[int], name: str) -> None:
    vectors = (
        np.array([[1.0, 0.0], [0.0, 0.0]]) if trait == [1, 0] else np.eye(2)
    )  # a zero vector fills no group
    for function in (centroids, state_polarity):
        with pytest.raises(DataError, match=f"The {name} group is empty"):
            function(vectors, np.array(trait))


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("leave_one_out", [False, True])
def test_state_polarity_equals_a_plain_loop(
    unit: bool, leave_one_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = random_words()
    trait = trait_polarity(data["valence"])
    expected = slow_state(data["vectors"], trait, np.ones(60, dtype=bool), unit, leave_one_out)
    assert state_polarity(data["vectors"], trait, unit, leave_one_out).tolist() == expected
    monkeypatch.setattr(
        rule_of_the_paper, "ROWS", 7
    )  # blocks that do not divide the number of words
    assert state_polarity(data["vectors"], trait, unit, leave_one_out).tolist() == expected


def test_leave_one_out_takes_the_own_vote_away() -> None:
    # Each positive word is positive by its own vote alone.
    vectors = np.array([[5, 0, 0], [0, 5, 0.0], [0, 0, 5], [1, 1, 5]])
    trait = np.array([1, 1, 0, 0])
    assert state_polarity(vectors, trait).tolist() == [1, 1, 0, 0]
    assert state_polarity(vectors, trait, leave_one_out=True).tolist() == [0, 0, 0, 0]
    # A word alone in its group has no centroid to be compared with, and neither has one whose
    # rest cancels out.
    assert state_polarity(vectors, np.array([1, 0, 0, 0]), leave_one_out=True)[0] == NO_STATE
    cancel = np.array([[1.0, 2.0], [-1.0, -2.0], [0.5, 0.1], [3.0, 1.0]])
    assert state_polarity(cancel, np.array([1, 1, 1, 0]), leave_one_out=True)[2] == NO_STATE


@pytest.mark.parametrize("seed", [0, 1])
def test_every_choice_and_sweep_equals_a_plain_loop(seed: int) -> None:
    data = random_words(seed=seed)
    analysis = analyse(**data, draws=5)
    rows = analysis["choices"] + analysis["sweep"]
    kinds = {
        (row["unrated"], row["missing"], row["count"], row["vectors"], row["unit"], row["weighted"])
        for row in rows
    }
    assert len(kinds) >= 20
    for row in rows:
        words, differ, share = slow_rule(row, data)
        assert (row["words"], row["differ"]) == (words, differ), row["label"]
        assert row["share"] == pytest.approx(share, abs=1e-4)
        assert 0 <= row["low"] <= row["share"] <= row["high"] <= 100


def test_the_five_words_give_the_known_answer() -> None:
    analysis = small(labels=("surprised", "good", "absent"))
    assert json.loads(json.dumps(analysis, allow_nan=False)) == analysis
    assert analysis["choices"][0] | {"low": 0, "high": 0} == {
        "label": "the paper's rule",
        "unrated": "negative",
        "missing": "left out",
        "count": "all",
        "vectors": "all",
        "unit": False,
        "leave_one_out": False,
        "weighted": False,
        "threshold": 0.5,
        "band": 0.0,
        "words": 5,
        "differ": 1,
        "share": 20.0,
        "low": 0,
        "high": 0,
        "positive_trait": 60.0,
        "positive_state": 40.0,
        "reason": "",
    }
    by_label = {row["label"]: row for row in analysis["choices"]}
    assert by_label["all words, by frequency"]["share"] == pytest.approx(100 * 6 / 20)
    assert analysis["labels_differ"] == ["surprised"]
    assert analysis["labels_missing"] == ["absent"]
    surprised = analysis["labels"][0]
    assert (surprised["trait"], surprised["state"], surprised["differ"]) == (1, 0, True)
    assert surprised["valence"] == 0.7
    assert surprised["arousal"] is None
    positive = VECTORS[[0, 1, 4]].sum(axis=0)
    cosine = VECTORS[4] @ positive / np.linalg.norm(VECTORS[4]) / np.linalg.norm(positive)
    assert surprised["cos_positive"] == pytest.approx(cosine, abs=1e-6)
    assert "20.0 % of 5 words differ" in analysis["conclusion"]
    assert "of 2 by the paper's rule 1: surprised" in analysis["labels_note"]
    assert "0.0 % of them have no rating" in analysis["conclusion"]


def test_unrated_words_and_words_without_a_vector_are_counted_as_asked() -> None:
    words = [*WORDS, "unrated", "vectorless"]
    analysis = small(
        words=words,
        valence=np.append(VALENCE, [0.5, 0.9]),
        rated=np.array([True] * 5 + [False, True]),
        vectors=np.concatenate(
            [VECTORS, [[4, 0], [0, 0]]]
        ),  # among the good ones, but negative for want of a rating
        found=np.ones(7, dtype=bool),
        counts=np.ones(7),
        labels=("vectorless", "unrated"),
    )
    rows = {row["label"]: (row["words"], row["differ"]) for row in analysis["choices"]}
    assert rows["the paper's rule"] == (6, 2)
    assert rows["rated words only"] == (5, 1)
    assert rows["unrated words positive"] == (6, 1)
    assert rows["unrated words, all centroids"] == (1, 1)
    assert rows["words without vector: agree"] == (7, 2)
    assert rows["words without vector: disagree"] == (7, 3)
    assert rows["words without vector: negative"] == (7, 3)
    vectorless, unrated = analysis["labels"]
    assert (vectorless["state"], vectorless["differ"], vectorless["cos_positive"]) == (
        None,
        None,
        None,
    )
    assert (unrated["rated"], unrated["differ"], unrated["differ_rated_only"]) == (
        False,
        True,
        None,
    )
    assert (analysis["with_vector"], analysis["rated_with_vector"]) == (6, 5)


def test_a_sweep_that_runs_out_of_words_says_so() -> None:
    analysis = small()
    widest = next(
        row for row in analysis["sweep"] if row["threshold"] == 0.4 and row["band"] == 0.3
    )
    assert (widest["share"], widest["words"]) == (None, 0)  # only "good" and "fine" are left
    assert "one of the groups is empty" in widest["reason"]
    one_sided = small(valence=np.array([0.9, 0.8, 0.45, 0.44, 0.7]))
    row = next(row for row in one_sided["sweep"] if row["threshold"] == 0.4)
    assert row["share"] is None
    assert "one of the groups is empty" in row["reason"]


def test_the_paper_s_rule_needs_both_groups() -> None:
    with pytest.raises(DataError, match="The positive group is empty"):
        small(rated=np.zeros(5, dtype=bool))
    with pytest.raises(DataError, match="The negative group is empty"):
        small(valence=np.full(5, 0.8))
    only_positive = small(
        valence=np.array([0.9, 0.8, 0.5, 0.5, 0.7]),
        rated=np.array([True, True, False, False, True]),
    )
    assert only_positive["choices"][1]["share"] is None
    assert "rated words alone cannot be compared" in only_positive["conclusion"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": ["good", "fine", "bad", "bad", "surprised"]}, "The word 'bad' is there twice"),
        ({"valence": np.array([0.9, 0.8, -0.1, 0.2, 0.7])}, r"not in \[0, 1\]"),
        ({"valence": np.array([0.9, np.nan, 0.1, 0.2, 0.7])}, r"not in \[0, 1\]"),
        ({"counts": np.ones(4)}, r"counts has the shape \(4,\), but there are 5 words"),
        ({"vectors": np.ones(5)}, r"vectors has the shape \(5,\)"),
        (
            {"vectors": np.where(np.arange(5)[:, None] == 2, np.nan, VECTORS)},
            "The vector of 'bad' is not finite",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        small(**changes)


def test_shuffled_shares_equal_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_words(40)
    vectors = data["vectors"] + 0.01  # none is zero
    trait, free = trait_polarity(data["valence"]), data["rated"]
    monkeypatch.setattr(rule_of_the_paper, "ROWS", 7)
    shares = shuffled_shares(vectors, trait, free, draws=12, seed=3)
    random, expected = np.random.default_rng(3), []
    for _ in range(12):
        dealt = trait.astype(bool)
        dealt[free] = random.permutation(dealt[free])
        states = slow_state(vectors, dealt, np.ones(40, dtype=bool), False, False)
        expected.append(100 * np.mean(np.array(states) != dealt))
    np.testing.assert_allclose(shares, expected)
    fixed = shuffled_shares(vectors, trait, np.zeros(40, dtype=bool), draws=2, seed=0)
    np.testing.assert_allclose(fixed, 100 * np.mean(state_polarity(vectors, trait) != trait))


def test_chance_is_told_from_valence() -> None:
    telling, random = random_words(600, 20), np.random.default_rng(5)
    assert analyse(**telling)["permutation"]["rated words"]["p"] == pytest.approx(1 / 101, abs=1e-4)
    blind = analyse(**(telling | {"vectors": random.normal(size=(600, 20))}))
    assert blind["permutation"]["rated words"]["p"] > 0.05
    assert ", no fewer than by chance" in blind["conclusion"]
    assert ", fewer than by chance" in analyse(**telling)["conclusion"]


def test_results_are_repeatable_and_the_seed_moves_only_what_is_drawn() -> None:
    data = random_words()
    first = analyse(**data, draws=10)
    assert analyse(**data, draws=10) == first
    other = analyse(**data, draws=10, seed=1)
    assert other["permutation"] != first["permutation"]
    for row, same in zip(other["choices"], first["choices"], strict=True):
        assert row["share"] == same["share"] or row["missing"] == "random"


def test_the_bootstrap_interval_is_as_wide_as_it_should_be() -> None:
    row = analyse(**random_words(2000))["choices"][0]
    p = row["share"] / 100
    half = 100 * 1.96 * (p * (1 - p) / row["words"]) ** 0.5
    assert row["share"] - row["low"] == pytest.approx(half, rel=0.1)
    assert row["high"] - row["share"] == pytest.approx(half, rel=0.1)


def test_half_precision_and_draws_of_none() -> None:
    data = random_words()
    single = analyse(
        **(data | {"vectors": data["vectors"].astype(np.float16).astype(np.float32)}), draws=0
    )
    half = analyse(**(data | {"vectors": data["vectors"].astype(np.float16)}), draws=0)
    assert half == single
    assert half["permutation"] == {"draws": 0, "seed": 0}


def prepared_stub(data: dict[str, Any]) -> Any:
    """What `analyse_prepared` needs of prepared data."""
    pad = len(SPECIALS)
    vocabulary = Vocabulary([*SPECIALS, *data["words"]])
    ratings = {
        w: tuple(v)
        for w, v, yes in zip(data["words"], data["vad"].tolist(), data["rated"], strict=True)
        if yes
    }
    matrix = np.concatenate(
        [np.full((pad, data["vectors"].shape[1]), 9, dtype=np.float32), data["vectors"]]
    )
    kind = np.concatenate([np.full(pad, -1), data["kind"]]).astype(np.int8)
    corpus = SimpleNamespace(
        vocabulary=vocabulary, counts=np.concatenate([np.full(pad, 10**6), data["counts"]])
    )
    vectors = Vectors(matrix, kind, "stub")
    description = {"data": "stub", "lexicon": "stub", "vectors": vectors.describe()}
    return SimpleNamespace(
        corpus=corpus, lexicon=Lexicon(ratings), vectors=vectors, description=description
    )


def test_prepared_data_are_analysed_without_the_special_tokens() -> None:
    data = random_words()
    vad = data["vad"].astype(np.float32)
    vad[~data["rated"]] = [0.5, 0.0, 0.5]
    expected = analyse(**(data | {"vad": vad, "valence": vad[:, 0]}), draws=5)
    result = analyse_prepared(prepared_stub(data), draws=5)
    assert result.pop("description") == {
        "data": "stub",
        "lexicon": "stub",
        "vectors": prepared_stub(data).vectors.describe(),
        "neutral_vad": "standard",
    }
    assert result == expected
    printed = analyse_prepared(prepared_stub(data), neutral="printed", draws=5)
    assert printed["choices"] == expected["choices"], (
        "both neutral triples make unrated words negative"
    )


def test_a_rule_of_one_s_own_stands_among_the_choices() -> None:
    own = Rule("mine", unrated="left out", unit=True, threshold=0.55, band=0.1, leave_one_out=True)
    data = random_words()
    analysis = analyse(**data, own=own, draws=0)
    (row,) = [row for row in analysis["choices"] if row["label"] == "mine"]
    assert (row["words"], row["differ"]) == slow_rule(row, data)[:2]
    without = analyse(**data, draws=0)
    assert [r["share"] for r in analysis["choices"] if r is not row] == [
        r["share"] for r in without["choices"]
    ]


def test_random_vectors_toss_a_coin() -> None:
    """Why `missing="random"` tosses a coin: N(0, 0.01^2) vectors are near to neither centroid."""
    random = np.random.default_rng(1)
    vectors = random.normal(size=(4000, 50))
    trait = (random.random(4000) < 0.4).astype(int)
    vectors[:, 0] += 2 * trait + 3  # the centroids are alike, as real ones are
    vectors[2000:] = random.normal(0, 0.01, (2000, 50))
    state = state_polarity(vectors, trait)[2000:]
    assert np.mean(state != trait[2000:]) == pytest.approx(0.5, abs=0.04)


def test_the_defaults_are_the_paper_s_rule() -> None:
    rule = Rule()
    assert (rule.unrated, rule.missing, rule.count, rule.threshold, rule.band) == (
        "negative",
        "left out",
        "all",
        0.5,
        0.0,
    )
    assert [rule.unit, rule.leave_one_out, rule.weighted] == [False] * 3


@pytest.mark.real
@pytest.mark.slow
def test_section_5_4_on_the_real_data(request: pytest.FixtureRequest) -> None:
    """Numbers that were computed independently, with approximate vectors."""
    if "real" not in request.config.getoption("markexpr"):
        pytest.skip("tokenises the whole corpus, for a minute: run it with -m real")
    real_data = request.getfixturevalue("real_data")
    from ctsm_lib.config import preset
    from ctsm_lib.prepare import prepare
    from ctsm_lib.sources import find_sources

    sources = find_sources(real_data)
    if sources.vectors is None or not sources.vectors.name.endswith("extended.npz"):
        pytest.skip("the numbers are those of glove.6B.300d.extended.npz")
    rows = analyse_prepared(prepare(preset("paper", ["knowledge=none"]), sources, progress=False))[
        "choices"
    ]
    shares = {row["label"]: (row["words"], row["share"]) for row in rows}
    assert shares["the paper's rule"] == (23_652, pytest.approx(35.4, abs=0.5))
    assert shares["rated words only"] == (9_443, pytest.approx(27.1, abs=0.5))
    assert shares["published vectors"] == (8_937, pytest.approx(30.8, abs=0.5))
    assert shares["published vectors, rated words"][1] == pytest.approx(23.8, abs=0.5)
