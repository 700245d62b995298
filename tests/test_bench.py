"""Bounds, growth, and that what was measured is kept. How quick anything is, no test says."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ctsm_lib.corpus import CLS, EOS, SPECIALS, SPLITS, read_dialogues
from ctsm_lib.errors import ConfigError, RunError
from ctsm_workbench.bench import PARTS, limits, measure, parts, peak_memory
from ctsm_workbench.bench.limits import (
    Task,
    Work,
    beside_limit,
    count,
    matrix_rate,
    memory_rate,
    training_bytes,
)
from ctsm_workbench.pictures.runs import bench_figure

# ----------------------------------------------------------------------------------------- bounds


def test_the_bound_is_what_takes_longer():
    products = beside_limit(Work(flops=100, bytes=20), done=1, per_s=1, matrix=10, memory=10)
    assert (1 / products["limit"], products["bound"]) == (10, "matrix products")
    memory = beside_limit(Work(flops=100, bytes=200), done=1, per_s=1, matrix=10, memory=10)
    assert (1 / memory["limit"], memory["bound"]) == (20, "memory")


def test_a_rate_beside_its_limit():
    found = beside_limit(
        Work(100, 0), done=5, per_s=1, matrix=50, memory=1
    )  # 5 examples in 2 s at best
    assert found == {"limit": 2.5, "share_of_limit": 0.4, "bound": "matrix products"}


def test_products_and_weights_are_counted_each_once():
    layer = nn.Linear(3, 4)
    work = count(lambda: layer(layer(torch.ones(5, 3))[:, :3]), layer)
    assert work == Work(2 * (2 * 5 * 3 * 4), 4 * (3 * 4 + 4))


def test_of_a_word_table_only_the_rows_looked_up_are_counted():
    table = nn.Embedding(100, 8)
    assert count(lambda: table(torch.tensor([3, 5])), table) == Work(0, 2 * 8 * 4)


def test_a_step_of_adam_moves_ten_times_the_weights_that_are_trained():
    layers = nn.ModuleList([nn.Linear(3, 4, bias=False), nn.Linear(9, 9).requires_grad_(False)])
    assert training_bytes(layers) == 10 * 4 * 12


def test_the_rates_of_this_machine_are_those_of_a_computer():
    assert 1e8 < matrix_rate(size=128, seconds=0.05) < 1e15
    assert 1e8 < memory_rate(1e6, seconds=0.05) < 1e14


def test_peak_memory_is_a_process_s_own_and_does_not_sink():
    before = peak_memory()
    big = np.ones(int(before + 50) << 17)  # 8 bytes each: 50 MB more than there ever was
    assert peak_memory() > before + 40
    del big
    assert peak_memory() > before + 40
    code = "from ctsm_workbench.bench import peak_memory; print(peak_memory())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1 < float(child.stdout) < 100  # it inherits nothing of ours, and imports no torch


# ----------------------------------------------------------------------------------------- growth


def test_the_slope_is_the_power_of_growth():
    sizes = [10, 40, 160]
    assert limits.grown(sizes, [3 * size**1.5 for size in sizes])["slope"] == pytest.approx(1.5)
    assert limits.grown([7], [1.0])["slope"] is None


def test_three_sizes_and_fewer_where_there_is_little():
    assert limits.thirds(1600) == [100, 400, 1600]
    assert limits.thirds(1) == [1]


def test_each_size_is_prepared_before_it_is_timed():
    seen = []
    found = limits.growth(lambda size: lambda: seen.append(size), [1, 2, 4], 0)
    assert seen == [1, 1, 2, 4]
    assert found["sizes"] == [1, 2, 4] and all(seconds > 0 for seconds in found["seconds"])


def test_a_part_of_a_corpus_is_its_first_dialogues(tiny_prepared):
    corpus = tiny_prepared.corpus
    part = limits.part_of(corpus, 48)
    total = sum(len(split.labels) for split in corpus.splits.values())
    assert 48 <= sum(len(split.labels) for split in part.splits.values()) <= 48 + len(SPLITS)
    for name in SPLITS:
        some, whole = part.splits[name], corpus.splits[name]
        assert 0 < len(some.pairs) < len(whole.pairs)
        assert (some.pairs == whole.pairs[: len(some.pairs)]).all()
        last = len(some.pairs) - 1
        assert some.context_texts(last) == whole.context_texts(last)
        assert some.response_text(last) == whole.response_text(last)
    everything = limits.part_of(corpus, total)
    assert all(
        (everything.splits[name].tokens == corpus.splits[name].tokens).all() for name in SPLITS
    )


def test_cut_files_hold_whole_dialogues(sample_sources, tmp_path):
    count = limits.cut_files(sample_sources.dialogues, tmp_path, 7)
    found = 0
    for name in SPLITS:
        cut, problems = read_dialogues(tmp_path / f"{name}.csv")
        whole, _ = read_dialogues(sample_sources.dialogues / f"{name}.csv")
        assert cut == whole[: len(cut)] and not problems
        assert len(whole) / 8 < len(cut) < len(whole) / 5
        found += len(cut)
    assert count == found


def test_made_up_batches_have_the_size_asked_for_and_no_padding():
    batch = limits.made_up_batch(words=50, batch=3, length=9)
    assert batch.context.shape == batch.speaker.shape == (3, 9)
    assert (batch.context[:, 0] == CLS).all() and (batch.speaker[:, 0] == CLS).all()
    assert (batch.knowledge[..., 0] == CLS).all()
    assert (batch.context[:, 1:] >= len(SPECIALS)).all() and batch.context.max() < 50
    assert (batch.target[:, -1] == EOS).all() and batch.total_tokens == batch.target.numel()


# ------------------------------------------------------------------------------------------ parts


@pytest.fixture(scope="module")
def task(tiny_config, sample_sources, tiny_prepared):
    """The tiny model on the sample, a moment each."""
    return Task(tiny_config.override(["max_response=6"]), sample_sources, seconds=0.1)


@pytest.mark.parametrize(
    ("part", "rows"),
    [
        (parts.training, {"training": {"batch", "context", "vocabulary"}}),
        (parts.scoring, {"scoring": {"batch", "context", "vocabulary"}}),
        (parts.decoding, {"decoding": {"batch", "context", "vocabulary"}, "one answer": set()}),
        (parts.contextual, {"contextual": {"corpus"}}),
    ],
)
def test_what_a_network_computes_has_rate_memory_limit_and_growth(task, part, rows):
    measured, _ = part(task)
    assert measured.keys() == rows.keys()
    for name, axes in rows.items():
        row = measured[name]
        assert row["value"] > 0 and row["unit"].endswith("/s")
        assert row["peak_mb"] >= row["before_mb"] > 0
        assert row["share_of_limit"] == pytest.approx(row["value"] / row["limit"])
        assert row["bound"] in ("matrix products", "memory")
        assert row.get("growth", {}).keys() == axes
        assert all(len(found["sizes"]) == 3 for found in row.get("growth", {}).values())


@pytest.mark.parametrize("part", [parts.retrieval, parts.polarity])
def test_what_is_text_has_no_limit_that_somebody_invented(task, part):
    (row,) = part(task)[0].values()
    assert (
        row["value"] > 0
        and row["growth"]["corpus"]["sizes"]
        and row["growth"]["corpus"]["slope"] is not None
    )
    assert not {"limit", "share_of_limit", "bound"} & row.keys()


def test_growth_of_answers_says_ten_words_however_soon_the_model_would_end(task):
    model = limits.made_up_model(task.config, 60)
    said = []
    step = model.step
    model.step = lambda cache, token: said.append(len(token)) or step(cache, token)
    parts.decoding_step(model)(limits.made_up_batch(60, 2, 8))
    assert said == [2] * parts.WORDS


def test_a_task_survives_the_way_to_another_process(task, tmp_path):
    task = replace(task, run=tmp_path, grow=False)
    assert Task.from_json(task.as_json()) == task


# -------------------------------------------------------------------------------------- all parts


@pytest.fixture
def in_turn(monkeypatch):
    """Parts that measure nothing; the second fails, the fourth is interrupted."""

    def play(part, task):
        if part == PARTS[1]:
            raise RunError("the disk is full")
        if part == PARTS[3]:
            raise KeyboardInterrupt
        return {
            "rows": {part: {"value": 1.23456789, "unit": "s", "peak_mb": len(part)}},
            "facts": {f"{part}_s": 1.0},
        }

    monkeypatch.setattr(measure, "_in_own_process", play)


def test_a_part_that_fails_is_named_and_the_others_go_on(task, in_turn):
    kept = []
    result = measure.measure(task, PARTS[:3], keep=lambda found: kept.append(json.dumps(found)))
    assert result["failed"] == {PARTS[1]: "the disk is full"}
    assert result["parts"].keys() == {PARTS[0], PARTS[2]}
    assert result["parts"][PARTS[0]]["value"] == 1.2346
    assert result["peak_rss_mb"] == max(len(PARTS[0]), len(PARTS[2]))
    assert len(kept) == 3 and json.loads(kept[-1]) == result


def test_after_ctrl_c_what_was_finished_is_kept(task, in_turn):
    kept = []
    with pytest.raises(KeyboardInterrupt):
        measure.measure(task, keep=kept.append)
    assert kept[-1]["parts"].keys() == {PARTS[0], PARTS[2]}
    assert kept[-1]["failed"][PARTS[3]] == "interrupted"


def test_an_interrupted_part_does_not_live_on(task, monkeypatch):
    begun = []

    class Interrupted(subprocess.Popen):
        def communicate(self, *arguments, **options):
            begun.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(measure.subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure._in_own_process("start", task)
    assert begun[0].wait(timeout=10) == -9


def test_a_part_in_its_own_process(task):
    result = measure.measure(replace(task, grow=False), ["scoring"])
    assert not result["failed"] and result["parts"]["scoring"]["value"] > 0


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("echo 'no run folder x' >&2; exit 1", "no run folder x"),
        ("exit 3", "without a message"),
        ("kill -9 $$", "signal 9"),
    ],
)
def test_why_a_process_failed_is_told(task, tmp_path, monkeypatch, does, reason):
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\ncat > /dev/null\n{does}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(RunError, match=reason):
        measure._in_own_process("scoring", task)


@pytest.mark.parametrize(
    ("settings", "seconds", "parts", "reason"),
    [
        ([], 1.0, ["moon"], "no part 'moon'"),
        ([], 0.0, PARTS, "must be above 0"),
        (["model=tfidf"], 1.0, ["training"], "training cannot be measured with model=tfidf"),
        (["state=false"], 1.0, ["contextual"], "contextual cannot be measured"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(task, settings, seconds, parts, reason):
    with pytest.raises(ConfigError, match=reason):
        measure.measure(Task(task.config.override(settings), task.sources, seconds), parts)


def test_by_default_the_parts_that_a_model_has(task):
    assert measure.fitting(task.config) == list(PARTS)
    assert "contextual" not in measure.fitting(task.config.override(["model=moel"]))
    assert not set(measure.NETWORK) & set(measure.fitting(task.config.override(["model=tfidf"])))


# -------------------------------------------------------------------------------- shown and drawn

RESULT = {
    "threads": 2,
    "preset": "paper",
    "parts": {
        "ctsm --help": {"value": 0.25, "unit": "s", "target": 0.5},
        "training": {
            "value": 50.0, "unit": "examples/s", "peak_mb": 900, "before_mb": 400, "limit": 100.0,
            "share_of_limit": 0.5, "bound": "matrix products",
            "growth": {"batch": {"sizes": [4, 16, 64], "seconds": [0.1, 0.2, 0.4], "slope": 0.5}},
        },
    },
    "failed": {},
}  # fmt: skip


def test_the_table_has_a_line_for_each_part_and_for_each_growth():
    lines = measure.table(RESULT).splitlines()
    assert len(lines) == 4
    assert " ".join(lines[2].split()) == "training 50 examples/s 900 50 % matrix products"
    assert "batch (4, 16, 64)" in lines[3] and "0.50" in lines[3]


def test_the_picture_shows_shares_rates_and_growth():
    figure = bench_figure(RESULT)
    bar = next(trace for trace in figure.data if trace.type == "bar")
    assert list(bar.x) == [50.0] and list(bar.y) == ["training"]
    rates = next(
        trace for trace in figure.data if trace.type == "scatter" and trace.mode == "markers+text"
    )
    assert sorted(rates.text) == ["0.25 s", "50 examples/s"]
    line = next(
        trace for trace in figure.data if trace.name == "training" and trace.mode == "lines+markers"
    )
    assert list(line.x) == [1, 4, 16] and list(line.y) == pytest.approx([1, 2, 4])
    assert "● training 0.50" in [note.text for note in figure.layout.annotations]
    assert {trace.type for trace in figure.data} <= {"bar", "scatter"}


def test_a_picture_without_growth_and_without_limits():
    assert (
        len(bench_figure(RESULT | {"parts": {"ctsm --help": {"value": 0.25, "unit": "s"}}}).data)
        == 1
    )


# ------------------------------------------------------------------------------------------ start


def test_a_start_from_the_cache_imports_neither_nltk_nor_scikit_learn(tiny_config, tiny_prepared):
    code = """
import json, sys
from ctsm_lib.config import Config
from ctsm_lib.prepare import prepare
from ctsm_lib.sources import SAMPLE, find_sources
prepare(Config.from_dict(json.loads(sys.argv[1])), find_sources(SAMPLE), progress=False)
print(*sorted({"nltk", "sklearn", "scipy"} & sys.modules.keys()))
"""
    command = [sys.executable, "-c", code, json.dumps(tiny_config.asdict())]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == []


def test_the_command_line_s_help_needs_no_torch_and_no_numpy():
    code = "import sys, ctsm_workbench.cli; print(*sorted({'torch', 'numpy'} & sys.modules.keys()))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        == []
    )
