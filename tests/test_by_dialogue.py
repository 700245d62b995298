"""Statistics whose unit is the dialogue: resampled means, Holm's correction, the jackknife."""

from __future__ import annotations

import numpy as np
import pytest

from ctsm_lib.scores import distinct
from ctsm_workbench.study.evaluation import distinct_without
from ctsm_workbench.study.intervals import (
    holm,
    jackknife_error,
    p_value,
    percentiles,
    resampled_means,
)

SIZES = np.random.default_rng(1).integers(1, 5, 60)
OF_CASE = np.repeat(np.arange(60), SIZES)
VALUES = np.random.default_rng(2).normal(size=(1, len(OF_CASE)))


def test_resampled_means_are_those_of_whole_dialogues() -> None:
    """Each sample is the mean over the pairs of the drawn dialogues, against a plain loop."""
    drawn = resampled_means(VALUES, OF_CASE, 20)
    even = np.full(60, 1 / 60)
    times = np.random.default_rng(0).multinomial(60, even, size=20)
    assert drawn[0] == pytest.approx(VALUES.mean())
    for row, value in zip(times, drawn[1:], strict=True):
        chosen = [VALUES[0, i] for i, case in enumerate(OF_CASE) for _ in range(row[case])]
        assert value == pytest.approx(np.mean(chosen))


def test_to_repeat_each_pair_narrows_nothing() -> None:
    """Copies of a pair in its own dialogue are no new evidence; as dialogues they would be."""
    low, high = percentiles(resampled_means(VALUES, OF_CASE, 2_000)[1:])
    twice = np.repeat(VALUES, 2, axis=1)
    drawn = resampled_means(twice, np.repeat(OF_CASE, 2), 2_000)
    assert percentiles(drawn[1:]) == pytest.approx((low, high))
    alone = resampled_means(twice, np.arange(twice.shape[1]), 2_000)
    assert np.diff(percentiles(alone[1:]))[0] < 0.8 * (high - low)


def test_the_interval_covers_the_mean_of_the_population() -> None:
    """In 300 studies of correlated pairs, about 95 % of the intervals hold the true mean, 0."""
    random = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        values = random.normal(size=100).repeat(3) + 0.3 * random.normal(size=300)
        drawn = resampled_means(values[None], np.arange(100).repeat(3), 400)
        low, high = percentiles(drawn[1:])
        held += low <= 0 <= high
    assert 0.90 < held / 300 < 0.98


def test_several_seeds_are_resampled_too() -> None:
    """Seeds that differ widen the interval; equal seeds leave that of dialogues."""
    one = np.ptp(percentiles(resampled_means(VALUES, OF_CASE, 2_000)[1:]))
    same = np.repeat(VALUES, 3, axis=0)
    assert np.ptp(percentiles(resampled_means(same, OF_CASE, 2_000)[1:])) == pytest.approx(one)
    apart = same + np.array([[-1.0], [0.0], [1.0]])
    drawn = resampled_means(apart, OF_CASE, 2_000)
    assert drawn[0] == pytest.approx(VALUES.mean())
    assert np.ptp(percentiles(drawn[1:])) > 3 * one


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_covers_the_mean_of_few_seeds(seeds: int) -> None:
    """Where seeds differ as much as dialogues do, at least 80 % of 300 intervals hold the truth.

    Percentiles of so few seeds have light tails: 95 % cannot be had, and the caption says so. With
    unscaled draws it would be about 75 % for three seeds.
    """
    random = np.random.default_rng(4)
    dialogue = np.arange(200).repeat(2)
    held = 0
    for _ in range(300):
        values = random.normal(size=200).repeat(2) + random.normal(0, 0.07, (seeds, 1))
        low, high = percentiles(resampled_means(values, dialogue, 300)[1:])
        held += low <= 0 <= high
    assert held / 300 > 0.8


def test_p_is_twice_the_share_of_the_rarer_sign() -> None:
    assert p_value(np.array([5.0, 1, 1, 1, -1])) == pytest.approx(0.5 + 0.25)
    assert p_value(np.array([5.0, *[1.0] * 1_000])) == pytest.approx(0.001)
    assert p_value(np.array([0.0, *[0.0] * 10])) == 1.0


def test_holm_is_that_of_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    for seed in range(5):
        values = np.random.default_rng(seed).random(8) ** 3
        expected = multitest.multipletests(values, method="holm")[1]
        np.testing.assert_allclose(holm(list(values)), expected)
    assert holm([0.01, 0.04]) == [0.02, 0.04]
    assert holm([]) == []


WORDS = [
    np.random.default_rng(case).choice(list("abcdefghijklmnopqrstuvwxyz"), 6).tolist()
    for case in range(len(OF_CASE))
]


@pytest.mark.parametrize("size", [1, 2])
def test_distinct_words_without_each_dialogue(size: int) -> None:
    found = distinct_without(WORDS, OF_CASE, size)
    for dialogue in range(60):
        kept = [words for words, case in zip(WORDS, OF_CASE, strict=True) if case != dialogue]
        assert found[dialogue] == pytest.approx(distinct(kept, size))


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = VALUES[0, :50]
    without = np.array([np.delete(values, i).mean() for i in range(50)])
    expected = values.std(ddof=1) / np.sqrt(50)
    assert jackknife_error(without[None]) == pytest.approx(expected)
    seeds = np.stack([without - 1, without, without + 1])
    between = 1 / np.sqrt(3)
    assert jackknife_error(seeds) == pytest.approx(np.hypot(expected, between))


def test_a_part_of_a_split_is_scored_by_its_own_dialogues(tmp_path) -> None:
    """`lessons.portion` keeps the first pairs of a split: only their dialogues count."""
    from ctsm_lib.config import preset
    from ctsm_lib.prepare import prepare
    from ctsm_lib.runs import Run
    from ctsm_lib.sources import SAMPLE, find_sources
    from ctsm_lib.training import build_model
    from ctsm_workbench.course import lessons
    from ctsm_workbench.study.evaluation import evaluate

    changes = ["dim=8", "heads=2", "key_depth=4", "ffn_dim=4", "knowledge=none", "max_response=3"]
    config = preset("sample", changes)
    prepared = lessons.portion(prepare(config, find_sources(SAMPLE), progress=False), test=7)
    model = build_model(config, prepared)
    run = Run(tmp_path, config, prepared.corpus.vocabulary, model, {}, prepared.description)
    kept: dict = {}
    scores, rows = evaluate(run, prepared, progress=False, on_scored=kept.update)
    assert scores["n"] == len(rows) == len(kept["dialogue"]) == 7
    assert len(kept["dist1_without"]) == kept["dialogue"].max() + 1
