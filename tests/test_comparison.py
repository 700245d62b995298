"""Tables 1 and 3: what is run, what is gone on with, and what the tables say of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ctsm_lib.config import ABLATIONS, preset
from ctsm_lib.errors import ConfigError, DataError, RunError
from ctsm_lib.files import write_json
from ctsm_lib.knowledge import provider_for
from ctsm_lib.registry import model_class
from ctsm_lib.run_folder import read_run
from ctsm_lib.runs import load_run
from ctsm_lib.settings import AnswerBias
from ctsm_workbench.cli import app
from ctsm_workbench.pictures.runs import tradeoff_figure
from ctsm_workbench.study.comparison import (
    ROWS,
    SCORES,
    TABLES,
    Plan,
    collect,
    markdown,
    run_missing,
)
from ctsm_workbench.study.comparison.runs import missing
from ctsm_workbench.study.comparison.tradeoff import measure, points, table
from ctsm_workbench.study.evaluation import evaluate

PAIRS = 400


def plan(tmp_path: Path, **changes) -> Plan:
    given: dict = {"rows": ["transformer", "tfidf"], "seeds": [0], "budget": 4, "preset": "sample"}
    return Plan(
        **(given | {"out": tmp_path / "out", "runs": tmp_path / "runs", "device": "cpu"} | changes)
    )


def result(
    folder: Path, key: str, seed: int, right: np.ndarray | None, nll: np.ndarray | None, **changes
) -> None:
    """A result as `run_missing` leaves it; unless told otherwise, each pair is a dialogue."""
    arrays = {"right": right, "nll": nll, "dialogue": np.arange(PAIRS)}
    names = ("dialogue", "dist1_without", "dist2_without")
    arrays |= {name: changes.pop(name) for name in names if name in changes}
    arrays = {name: value for name, value in arrays.items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{key}-seed{seed}.npz", **arrays)
    scores = {
        "row": key,
        "budget": 4,
        "n": PAIRS,
        "examples": f"{key}-seed{seed}.npz",
        "acc": None if right is None else 100 * float(right.mean()),
        "ppl_peer": None if nll is None else float(np.exp(nll.mean())),
        "ppl_token": 50.0,
        "dist1": 1.0 + seed,
        "dist2": 2.0,
        "mean_length": 9.0,
        "distinct_responses": 30.0,
        "config": {"batch_size": 8, "preset": "sample"},
        "run": {
            "seed": seed,
            "data": "sample",
            "fingerprint": "f",
            "vectors": {"name": "v"},
            "vocab": "protocol",
            "precision": "float32",
            "knowledge": "none",
        },
    }
    write_json(folder / f"{key}-seed{seed}.json", scores | changes)


def drawn(share: float, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(PAIRS) < share).astype(np.int8)


# ----------------------------------------------------------------------------------------- the rows


def test_rows_are_those_of_the_paper() -> None:
    """Every baseline and ablation has a row that can be configured, with the paper's numbers."""
    assert [row.key for row in TABLES["table3"]] == ["ctsm", *ABLATIONS]
    assert {row.model for row in TABLES["table1"]} >= {
        "moel",
        "mime",
        "empdg",
        "kemp",
        "cem",
        "case",
        "tfidf",
    }
    assert ROWS["ctsm"].paper == (43.41, 34.56, 2.00, 7.34)
    assert ROWS["wo-egm-ccl"].paper == (41.88, 36.35, 1.57, 5.42)
    for row in TABLES["variants"]:  # each changes one setting of a system of Table 1
        assert (row in TABLES["table1"]) != bool(row.variant)
        assert len(row.settings) == bool(row.variant)
    assert len({row.key for row in TABLES["variants"]}) == len(TABLES["variants"])


def test_every_run_of_a_plan_has_the_same_budget_and_data_settings(tmp_path: Path) -> None:
    """Model, seed and what an ablation leaves out are all that differs."""
    made = plan(tmp_path, rows=list(ROWS), budget=40, settings=["dropout=0.3"])
    whole = made.config("ctsm", 0).asdict()
    assert (whole["max_iterations"], whole["check_from"], whole["patience"], whole["dropout"]) == (
        40,
        40,
        0,
        0.3,
    )
    for key in ROWS:
        own = made.config(key, 3).asdict()
        differing = {name for name, value in own.items() if value != whole[name]}
        left_out = set(ABLATIONS.get(key, {}))
        own_model = {"model"} if ROWS[key].model != "ctsm" else set()
        changed = {text.partition("=")[0] for text in ROWS[key].settings}
        allowed = {"seed"} | own_model | ({"preset"} | left_out if left_out else set())
        assert differing == allowed | changed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": ["gpt"]}, "no row 'gpt'"),
        ({"budget": 0}, "--budget 0"),
        ({"workers": 0}, "--workers 0"),
        ({"preset": "big"}, "no preset 'big'"),
        ({"preset": "paper-wo-see"}, "leaves a part out"),
        ({"settings": ["colour=red"]}, "colour"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_before_anything_runs(
    tmp_path: Path, changes: dict, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        plan(tmp_path, **changes)


# ------------------------------------------------------------------------------------------ running


def test_runs_what_is_missing_goes_on_after_a_failure_and_repeats_nothing(tmp_path: Path) -> None:
    """A row that fails is named, the others have results; a second call runs that row alone."""
    made = plan(tmp_path, rows=["transformer", "moel", "tfidf"])
    broken = made.folder("moel", 0)
    broken.mkdir(parents=True)
    (broken / "run.json").write_text("{")  # damaged: it can neither be gone on with nor begun
    told: list[str] = []
    (failed,) = run_missing(made, progress=False, report=told.append)
    assert (
        failed.startswith("moel, seed 0: ") and "run.json" in failed and "moel-seed0.log" in failed
    )
    assert [line.partition(":")[0] for line in told] == [
        "transformer, seed 0",
        "moel, seed 0",
        "tfidf, seed 0",
    ]
    assert missing(made) == [("moel", 0)]
    scores = json.loads(made.result("transformer", 0).read_text())
    assert (
        scores["acc"] is None and scores["ppl_peer"] > 1 and scores["config"]["max_iterations"] == 4
    )
    assert read_run(made.folder("transformer", 0))[0].model == "transformer"
    log = (made.folder("transformer", 0) / "log.jsonl").read_text()
    assert (
        "dev_ppl_token" in log and "acc" not in log
    )  # it hears no emotion, so no record speaks of one
    with np.load(made.result("transformer", 0).with_suffix(".npz")) as examples:
        assert set(examples.files) == {"nll", "dialogue", "dist1_without", "dist2_without"}
        assert len(examples["nll"]) == scores["n"]
        assert np.exp(examples["nll"].mean()) == pytest.approx(scores["ppl_peer"], rel=1e-5)
    with np.load(made.result("tfidf", 0).with_suffix(".npz")) as examples:
        bag = json.loads(made.result("tfidf", 0).read_text())
        assert set(examples.files) == {"right", "dialogue"} and 100 * examples[
            "right"
        ].mean() == pytest.approx(bag["acc"])
    runs = {key: load_run(made.folder(key, 0)) for key in ("transformer", "tfidf")}
    answers = {
        key: run.respond([["I lost my dog ."]], provider_for("none", None))[0]
        for key, run in runs.items()
    }
    assert not answers["transformer"].emotions and answers["transformer"].words
    assert len(answers["tfidf"].emotions) == 32 and answers["tfidf"].text == ""
    with pytest.raises(RunError, match="is a run of transformer; this needs one of ctsm"):
        runs["transformer"].ctsm()
    about = runs["transformer"].about("cpu")
    assert about["knowledge"] == about["concepts"] == "not read" and about["model"] == "transformer"
    table = collect(TABLES["table1"], made.result("ctsm", 0).parent)
    assert "MoEL" in table["not_run"] and "Transformer" not in table["not_run"]


def test_a_result_of_other_settings_is_not_taken_for_this_one(tmp_path: Path) -> None:
    made = plan(tmp_path)
    config = made.config("transformer", 0).asdict()
    write_json(made.result("transformer", 0), {"config": config | {"dropout": 0.5}})
    with pytest.raises(ConfigError, match=r"dropout=0\.5"):
        missing(made)
    write_json(
        made.result("transformer", 0), {"config": config | {"check_every": 1}}
    )  # changes no result
    assert missing(made) == [("tfidf", 0)]
    early = {
        "config": config | {"check_from": 1}
    }  # changes which weights are the best, but not which are the last
    write_json(made.result("transformer", 0), early | {"run": {"iterations": made.budget}})
    assert missing(made) == [("tfidf", 0)]
    write_json(made.result("transformer", 0), early | {"run": {"iterations": 1}})
    with pytest.raises(ConfigError, match="check_from=1"):
        missing(made)
    for damaged in ({"config": 5}, early | {"run": 7}):
        write_json(made.result("transformer", 0), damaged)
        with pytest.raises(ConfigError, match="is not a result of `ctsm compare`"):
            missing(made)


def test_a_run_that_somebody_stops_ends_the_comparison(tmp_path: Path, monkeypatch) -> None:
    """Exit code 130 is no failure of the row, and the rows behind it are not begun."""
    from ctsm_workbench.study.comparison import runs

    calls: list[str] = []

    class Stopped(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, command, **how):  # type: ignore[no-untyped-def]
            calls.append(command[3])
            super().__init__([sys.executable, "-c", "raise SystemExit(130)"], **how)

    monkeypatch.setattr(runs.subprocess, "Popen", Stopped)
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_missing(plan(tmp_path), progress=False, report=told.append)
    assert told == [] and calls == ["train"]


def test_workers_have_a_gpu_each_and_all_of_them_work(tmp_path: Path, monkeypatch) -> None:
    """Two runs at a time, never two on one of the visible GPUs; and the cores are shared."""
    from ctsm_workbench.study.comparison import runs

    both, now, seen = threading.Barrier(2, timeout=20), set(), []

    def started(command, env, output, stopped):  # type: ignore[no-untyped-def]
        place = env["CUDA_VISIBLE_DEVICES"]
        assert place not in now
        now.add(place)
        both.wait()  # breaks, and this run fails otherwise, where one worker has to do all
        now.remove(place)
        seen.append(
            (place, env["OMP_NUM_THREADS"], command[command.index("--out") + 1].rpartition("/")[2])
        )
        both.wait()
        return 1

    monkeypatch.setattr(runs, "_exit_code", started)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr(runs.os, "cpu_count", lambda: 6)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.delenv("OMP_NUM_THREADS")
    rows = ["transformer", "moel", "cem", "ctsm"]
    failed = run_missing(
        plan(tmp_path, rows=rows, workers=2, device="auto"),
        progress=False,
        report=lambda text: None,
    )
    assert len(failed) == 4 and all("exit code 1" in text for text in failed)
    assert sorted(place for place, _, _ in seen) == ["4", "4", "7", "7"]
    assert {threads for _, threads, _ in seen} == {"3"}
    assert sorted(name for _, _, name in seen) == sorted(f"{row}-seed0" for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["terminal", "scheduler"])
def test_an_interrupted_comparison_goes_on_from_its_checkpoint(tmp_path: Path, who: str) -> None:
    """Ctrl-C or SIGTERM in the middle of a run: exit code 130, no run is left behind, and the same
    command ends with one unbroken log."""
    options = "compare --models transformer --budget 120 --preset sample --device cpu --quiet"
    command = [sys.executable, "-m", "ctsm_lib", *options.split()]
    command += ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    log = tmp_path / "runs" / "sample-120" / "transformer-seed0" / "log.jsonl"
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") >= 2) and time.monotonic() < deadline:
        time.sleep(0.1)
    if who == "terminal":
        os.killpg(running.pid, signal.SIGINT)  # to the whole group
    else:
        running.terminate()
    assert running.wait(60) == 130
    with pytest.raises(ProcessLookupError):  # nobody is left in the group
        os.killpg(running.pid, 0)
    assert not (tmp_path / "out" / "table1.md").exists()
    assert subprocess.run(command, capture_output=True).returncode == 0
    iterations = [
        json.loads(line)["iteration"] for line in log.read_text().splitlines() if "lr" in line
    ]
    assert iterations == sorted(set(iterations)) and iterations[-1] == 120
    assert (tmp_path / "out" / "table1.md").is_file() and not (
        tmp_path / "out" / "table3.md"
    ).exists()


# ------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("name", ["knowledge", "concepts"])
def test_rows_that_read_other_commonsense_do_not_stand_in_one_table(
    tmp_path: Path, name: str
) -> None:
    """Those that do not read it may stand beside either."""
    nll = np.full(PAIRS, 3.0)
    for key, value in (("transformer", "not read"), ("ctsm", "atomic"), ("cem", "atomic")):
        result(tmp_path, key, 0, None, nll)
        path = tmp_path / f"{key}-seed0.json"
        made = json.loads(path.read_text())
        write_json(path, made | {"run": made["run"] | {name: value}})
    table = collect(TABLES["table1"], tmp_path)
    assert table[name] == "atomic" and "atomic" in markdown(table)
    write_json(path, made | {"run": made["run"] | {name: "none"}})
    with pytest.raises(DataError, match=f"ctsm, seed 0 has {name} atomic, others none"):
        collect(TABLES["table1"], tmp_path)


def test_means_and_intervals_over_seeds_and_dialogues(tmp_path: Path) -> None:
    """The interval names what it covers: seeds, dialogues, or both."""
    for seed in (0, 1):
        result(tmp_path, "ctsm", seed, drawn(0.5, seed), np.full(PAIRS, 3.0))
    spread = np.random.default_rng(0).normal(3.2, 1, PAIRS)
    without = 3 + np.random.default_rng(1).normal(0, 0.01, PAIRS)
    result(tmp_path, "cem", 0, drawn(0.4, 5), spread, dist2_without=without)
    rows = {row["key"]: row for row in collect(TABLES["table1"], tmp_path)["rows"]}
    two = rows["ctsm"]["scores"]["dist1"]  # 1 and 2: mean 1.5, s = 0.7071, t(1) = 12.706
    assert (two["mean"], two["interval_over"]) == (1.5, "seeds")
    assert two["high"] - 1.5 == pytest.approx(12.706 * 0.70711 / np.sqrt(2), rel=1e-3)
    assert rows["ctsm"]["scores"]["acc"]["interval_over"] == "seeds and dialogues"
    one = rows["cem"]["scores"]["acc"]
    share = one["mean"] / 100
    half = 196 * np.sqrt(share * (1 - share) / PAIRS)  # each pair is a dialogue here
    assert one["interval_over"] == "dialogues" and one["low"] < one["mean"] < one["high"]
    assert (one["high"] - one["low"]) / 2 == pytest.approx(half, rel=0.1)
    perplexity = rows["cem"]["scores"]["ppl_peer"]
    assert perplexity["low"] < perplexity["mean"] < perplexity["high"]
    assert rows["cem"]["scores"]["dist1"]["low"] is None  # one value: no interval is claimed
    dist = rows["cem"]["scores"]["dist2"]
    half = 1.96 * np.sqrt((PAIRS - 1) ** 2 / PAIRS) * without.std(ddof=1)
    assert dist["interval_over"] == "dialogues"
    assert dist["high"] - dist["mean"] == pytest.approx(half, rel=1e-6)


def test_pairs_of_one_dialogue_are_not_independent(tmp_path: Path) -> None:
    """Every pair twice, in its own dialogue: the interval is as wide as before."""
    right = drawn(0.4, 5)
    result(tmp_path / "a", "cem", 0, right, None)
    result(tmp_path / "b", "cem", 0, right.repeat(2), None, dialogue=np.arange(PAIRS).repeat(2))
    once, twice = (
        collect([ROWS["cem"]], tmp_path / name)["rows"][0]["scores"]["acc"] for name in "ab"
    )
    assert (twice["low"], twice["high"]) == pytest.approx((once["low"], once["high"]))


def test_examples_that_do_not_name_dialogues_give_no_interval(tmp_path: Path) -> None:
    """Results of earlier versions: an interval over pairs would be too narrow, so there is none."""
    result(tmp_path, "ctsm", 0, drawn(0.5, 0), None, dialogue=None)
    result(tmp_path, "cem", 0, drawn(0.4, 5), None, dialogue=None)
    table = collect([ROWS["ctsm"], ROWS["cem"]], tmp_path)
    assert table["rows"][1]["scores"]["acc"]["low"] is None
    assert table["rows"][1]["against_ctsm"] == {"seeds": [0]}


def test_p_values_are_corrected_for_all_rows(tmp_path: Path) -> None:
    """With Holm's correction a difference that is clear alone may not be clear in a table."""
    mine = drawn(0.5, 0)
    result(tmp_path, "ctsm", 0, mine, None)
    for number, key in enumerate(("moel", "mime", "empdg", "kemp", "cem", "case")):
        theirs = mine.copy()
        theirs[np.flatnonzero(mine)[: 8 + number]] = 0
        theirs[np.flatnonzero(1 - mine)[:4]] = 1
        result(tmp_path, key, 0, theirs, None)
    rows = {row["key"]: row for row in collect(TABLES["table1"], tmp_path)["rows"]}
    found = [row["against_ctsm"]["acc"] for row in rows.values() if row.get("against_ctsm")]
    assert len(found) == 6
    least = min(found, key=lambda difference: difference["p"])
    assert least["p_holm"] == pytest.approx(min(1.0, 6 * least["p"]))
    assert all(difference["p_holm"] >= difference["p"] for difference in found)


def test_paired_difference_sees_what_unpaired_intervals_hide(tmp_path: Path) -> None:
    """Systems that are correct on nearly the same examples differ clearly although their intervals
    overlap; sign and unit are right."""
    mine, base = drawn(0.5, 0), np.random.default_rng(1).normal(3, 1, PAIRS)
    theirs = mine.copy()
    theirs[np.flatnonzero(mine)[:12]] = 0  # 12 of 400: 3 points less
    result(tmp_path, "ctsm", 0, mine, base)
    result(tmp_path, "cem", 0, theirs, base + 0.1)
    result(tmp_path, "case", 0, drawn(0.5, 9), base)
    result(tmp_path, "transformer", 0, None, base)
    result(tmp_path, "tfidf", 0, mine, None, ppl_peer=None, dist1=None)
    rows = {row["key"]: row for row in collect(TABLES["table1"], tmp_path)["rows"]}
    accuracy = rows["cem"]["against_ctsm"]["acc"]
    assert (
        accuracy["difference"] == pytest.approx(3.0)
        and accuracy["low"] > 0
        and accuracy["p"] < 0.01
    )
    perplexity = rows["cem"]["against_ctsm"]["ppl_peer"]
    assert (
        perplexity["difference"] == pytest.approx(100 * (np.exp(-0.1) - 1))
        and perplexity["high"] < 0
    )
    chance = rows["case"]["against_ctsm"]["acc"]
    assert chance["low"] < 0 < chance["high"] and chance["p"] > 0.05
    assert (
        "acc" not in rows["transformer"]["against_ctsm"]
        and "ppl_peer" not in rows["tfidf"]["against_ctsm"]
    )
    text = markdown(collect(TABLES["table1"], tmp_path))
    assert (
        "+3.00 points, p <= 0.0015" in text
        and "not clear" in text
        and "| TF-IDF + logistic regression |" in text
    )
    assert "4 iterations x 8" in text and "Not run: " in text and "MoEL" in text


@pytest.mark.parametrize(
    "changes", [{"budget": 5}, {"n": 3}, {"config": {"batch_size": 16, "preset": "sample"}}]
)
def test_rows_of_unlike_runs_do_not_stand_in_one_table(tmp_path: Path, changes: dict) -> None:
    result(tmp_path, "ctsm", 0, drawn(0.5, 0), np.full(PAIRS, 3.0))
    result(tmp_path, "cem", 0, drawn(0.5, 0), np.full(PAIRS, 3.0), **changes)
    with pytest.raises(DataError, match="seed 0 has"):
        collect(TABLES["table1"], tmp_path)


def test_the_figure_has_a_mark_for_every_number(tmp_path: Path) -> None:
    from ctsm_workbench.pictures.runs import comparison_figure

    result(tmp_path, "ctsm", 0, drawn(0.5, 0), np.full(PAIRS, 3.0))
    table = collect(TABLES["table3"], tmp_path)
    figure = comparison_figure(table, "Table 3")
    ours = [trace for trace in figure.data if trace.name.startswith("here")]
    paper = [trace for trace in figure.data if trace.name == "the paper"]
    assert [len(trace.x) for trace in paper] == [6] * 4 and [len(trace.x) for trace in ours] == [
        1
    ] * 4
    assert "4 iterations x 8" in figure.layout.annotations[-1].text.replace("<br>", " ")


@pytest.mark.parametrize(
    ("part", "student", "teacher"),
    [
        ("", 357, 357),
        ("wo-tee", 343, 343),
        ("wo-see", 314, 314),
        ("wo-egm", 357, None),
        ("wo-ccl", 357, 357),
        ("wo-egm-ccl", 357, None),
    ],
)
def test_ablations_have_the_widths_of_the_specification(
    part: str, student: int, teacher: int | None
) -> None:
    """Widths 343 and 43 without TEE, 314 and 14 without SEE; no teacher without EGM, no Encoder_Y
    without CCL."""
    from helpers import tiny_tables

    config = preset(f"paper-{part}" if part else "paper")
    model = model_class(config)(config, tiny_tables(dim=300))
    assert model.student.attend.in_features == student
    assert model.emotion.width == student - 300
    assert (model.teacher.attend.in_features if hasattr(model, "teacher") else None) == teacher
    assert hasattr(model, "target_encoder") == ("ccl" not in part)
    assert model.student.intensity == ("egm" not in part)
    names = [name for name, _ in model.named_parameters()]
    assert any("trait_encoder" in name for name in names) == (part != "wo-tee")
    assert any("inclination" in name for name in names) == (part != "wo-see")


# ------------------------------------------------------------------------------ settings of answers


def test_answers_of_a_trained_run_can_be_biased_otherwise(sample_run) -> None:
    """`biased` and `load_run` give the scores of a model made with these settings, and back."""
    run, prepared = sample_run
    bias = AnswerBias(copy_bias=2.0, tilt=0.3, repeat_bias=-1.5)
    before, _ = evaluate(run, prepared, "valid", progress=False)
    assert before["run"]["leaning"] == {"copy_bias": 0.5}
    biased = run.biased(bias)
    after, answers = evaluate(biased, prepared, "valid", progress=False)
    assert after["run"]["leaning"] == {"copy_bias": 2.0, "tilt": 0.3, "repeat_bias": -1.5}
    loaded = load_run(run.folder, bias=bias)
    again, same = evaluate(loaded, prepared, "valid", progress=False)
    assert again == after and same == answers
    assert after["ppl_peer"] != before["ppl_peer"] and after["acc"] == before["acc"]
    assert evaluate(run, prepared, "valid", progress=False)[0] == before
    back = biased.biased(AnswerBias(copy_bias=0.5))
    assert evaluate(back, prepared, "valid", progress=False)[0] == before


def test_runs_that_were_trained_with_another_leaning_are_scored_anew_and_not_trained_again(
    tmp_path: Path,
) -> None:
    made = plan(tmp_path, rows=["transformer"])
    run_missing(made, progress=False, report=lambda text: None)
    first, trained = (
        json.loads(made.result("transformer", 0).read_text()),
        made.folder("transformer", 0) / "log.jsonl",
    )
    log = trained.read_text()
    leaning = plan(
        tmp_path,
        rows=["transformer"],
        settings=["copy_bias=1.5", "repeat_bias=-2"],
        out=tmp_path / "other",
    )
    assert run_missing(leaning, progress=False, report=lambda text: None) == []
    assert missing(leaning) == [] and trained.read_text() == log
    second = json.loads(leaning.result("transformer", 0).read_text())
    assert second["config"]["copy_bias"] == 1.5 and second["run"]["leaning"] == {
        "copy_bias": 1.5,
        "repeat_bias": -2.0,
    }
    assert second["ppl_peer"] != first["ppl_peer"]


# ---------------------------------------------------------------------------- the cost of diversity


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    """A CTSM after a few steps on the sample, and its data."""
    from ctsm_lib.prepare import prepare
    from ctsm_lib.sources import find_sources
    from ctsm_workbench.running.train import train

    config = preset(
        "sample", ["max_iterations=6", "check_every=6", "check_from=6", "copy_bias=0.5"]
    )
    prepared = prepare(config, find_sources(), progress=False)
    folder = tmp_path_factory.mktemp("tradeoff") / "run"
    train(config, prepared, folder, cpu=True, progress=False)
    return load_run(folder), prepared


def test_copying_and_tilt_cost_perplexity_a_penalty_does_not_and_none_moves_accuracy(
    sample_run,
) -> None:
    """Every point is `evaluate` with that copying and penalty; the run is unchanged afterwards."""
    run, prepared = sample_run
    told: list[dict] = []
    wanted = points([0.0, 3.0], [0.0, 0.3], [0.2], run.config.copy_bias, run.config.tilt)
    assert [(p.copy_bias, p.tilt, p.penalty) for p in wanted] == [
        (0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.5, 0.0, 0.2), (0.5, 0.3, 0.0), (3.0, 0.0, 0.0),
    ]  # fmt: skip
    rows = measure(run, prepared, wanted, progress=False, report=told.append)
    assert rows == told
    tilted = next(row for row in rows if row["tilt"])
    by = {(row["copy_bias"], row["penalty"]): row for row in rows if row != tilted}
    assert len({row["acc"] for row in rows}) == 1
    assert tilted["ppl_peer"] != by[0.5, 0.0]["ppl_peer"]
    assert by[0.5, 0.2]["ppl_peer"] == by[0.5, 0.0]["ppl_peer"]
    assert len({by[bias, 0.0]["ppl_peer"] for bias in (0.0, 0.5, 3.0)}) == 3
    assert by[3.0, 0.0]["copy_rate"] > by[0.0, 0.0]["copy_rate"]
    assert run.config.answer_bias() == AnswerBias(copy_bias=0.5)
    expected, _ = evaluate(run, prepared, "valid", progress=False)
    assert {name: by[0.5, 0.0][name] for name in SCORES} == {
        name: expected[name] for name in SCORES
    }
    again = measure(
        run,
        prepared,
        wanted,
        known=rows,
        progress=False,
        report=lambda row: pytest.fail("measured twice"),
    )
    assert again == rows
    assert table(rows).count("\n") == 2 + len(rows) + 1


def test_the_figure_of_a_trade_off_shows_every_point(sample_run) -> None:
    """Copying, tilt and penalty are a line each, in both panels; a run of one point is a point."""
    rows = measure(*sample_run, points([0.0, 3.0], [0.3], [0.2], 0.5, 0.0), progress=False)
    figure = tradeoff_figure(rows)
    lines = [trace for trace in figure.data if trace.name != "the paper (test)"]
    assert [(trace.name, list(trace.text)) for trace in lines[:3]] == [
        ("run: copying", ["0", "0.5", "3"]), ("run: tilt", ["0", "0.3"]),
        ("run: penalty on frequent words", ["0", "0.2"]),
    ]  # fmt: skip
    assert len(lines) == 6
    assert {trace.mode for trace in lines[:3]} == {
        "lines+markers"
    }  # accuracy is one: labels would lie on each other
    assert {trace.mode for trace in lines[3:]} == {"lines+markers+text"}
    assert lines[3].y[0] == rows[0]["ppl_peer"]
    only = tradeoff_figure(rows[:1])
    assert [trace.name for trace in only.data] == ["run: copying", "the paper (test)"] * 2


def test_runs_that_differ_in_the_diversity_loss_alone_are_a_line(sample_run) -> None:
    (row,) = measure(*sample_run, points([], [], [], 0.5, 0.0), progress=False)
    others = [
        row | {"run": f"w{weight}", "weight_diversity": weight, "acc": weight}
        for weight in (3.0, 0.0)
    ]
    elsewhere = row | {"run": "longer", "iteration": 7, "weight_diversity": 2.0}
    names = {trace.name: trace for trace in tradeoff_figure([row, *others, elsewhere]).data[:3]}
    line = names["preset sample, 6 iterations: L_div in training"]
    assert (list(line.text), list(line.y)) == (["0", "0.3", "3"], [0.0, row["acc"], 3.0])
    assert list(names) == ["longer: copying", line.name, "the paper (test)"]


def test_a_table_is_written_where_it_has_a_row_besides_ctsm(tmp_path: Path, monkeypatch) -> None:
    """CTSM stands in all three tables, CEM in two; their runs must not make the other tables."""
    monkeypatch.setattr("ctsm_workbench.pictures.house.write_stills", lambda *_: [])
    folder = tmp_path / "comparison" / "sample-4"
    arguments = ["compare", "--only-tables", "--preset", "sample", "--budget", "4", "--quiet"]
    for key, written in (
        ("ctsm", {"table1"}),
        ("cem", {"table1"}),
        ("cem-joint", {"table1", "variants"}),
        ("wo-see", {"table1", "variants", "table3"}),
    ):
        result(folder, key, 0, drawn(0.5, 0), np.ones(PAIRS))
        done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
        assert done.exit_code == 0, done.output
        assert {path.stem for path in tmp_path.glob("*.md")} == written
    text = (tmp_path / "variants.md").read_text(encoding="utf-8")
    assert f"| CEM, joint fusion | - | {100 * drawn(0.5, 0).mean():.2f}" in text
