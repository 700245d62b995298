"""The loop: schedules, resume bit for bit, kill in mid-write, logs, refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ctsm_lib import training
from ctsm_lib.checkpoint import load_weights, newest_checkpoint
from ctsm_lib.config import preset
from ctsm_lib.errors import RunError
from ctsm_lib.files import write_json
from ctsm_lib.run_folder import read_run
from ctsm_lib.runs import load_run
from ctsm_lib.training import build_model, learning_rate, make_optimizer
from ctsm_workbench.running import train as running
from ctsm_workbench.running.checkpoints import save_checkpoint
from ctsm_workbench.running.log import read_log
from ctsm_workbench.running.train import train

ROOT = Path(__file__).resolve().parent.parent


def weights(folder: Path) -> dict:
    return load_file(newest_checkpoint(folder) / "model.safetensors")


def test_noam_and_linear_by_hand():
    noam = preset("paper")
    assert learning_rate(noam, 1) == pytest.approx(300**-0.5 * 8000**-1.5)
    assert learning_rate(noam, 8000) == pytest.approx(300**-0.5 * 8000**-0.5)
    assert learning_rate(noam, 32000) == pytest.approx(300**-0.5 * 32000**-0.5)
    linear = replace(preset("improved"), warmup=10, max_iterations=110, learning_rate=0.5)
    assert learning_rate(linear, 5) == pytest.approx(0.25)
    assert learning_rate(linear, 10) == pytest.approx(0.5)
    assert learning_rate(linear, 60) == pytest.approx(0.25)
    assert learning_rate(linear, 110) == 0


def test_a_second_training_in_a_folder_is_refused_until_the_first_has_ended(
    tiny_config, tiny_prepared, tmp_path, monkeypatch
):
    """Also when the first ended with an error; nothing of the lock stays behind."""
    out, score = tmp_path / "run", training.score_pairs
    said = []

    def meanwhile(*arguments):
        with pytest.raises(RunError) as refused:
            train(tiny_config, tiny_prepared, out, resume=True, cpu=True, progress=False)
        said.append(str(refused.value))
        if len(said) == 1:
            raise ZeroDivisionError
        return score(*arguments)

    monkeypatch.setattr(training, "score_pairs", meanwhile)
    with pytest.raises(ZeroDivisionError):
        train(tiny_config, tiny_prepared, out, cpu=True, progress=False)
    assert not (out / ".lock").exists()
    assert train(tiny_config, tiny_prepared, out, resume=True, cpu=True, progress=False)["finished"]
    assert set(said) == {
        f"{out} is being trained by another process. Wait for its end, or choose another --out."
    }
    assert not (out / ".lock").exists()


def test_a_run_folder_is_json_and_safetensors_and_tells_its_story(tiny_run, tiny_config):
    names = {path.name for path in tiny_run.iterdir()}
    assert names == {
        "run.json",
        "vocabulary.json",
        "log.jsonl",
        "best.safetensors",
        "checkpoint-000012",
    }
    config, _, description = read_run(tiny_run)
    assert config == tiny_config
    assert description["data"] == "sample"
    assert description["knowledge"] == "atomic"
    log = [json.loads(line) for line in (tiny_run / "log.jsonl").read_text().splitlines()]
    dev = [record for record in log if "dev_ppl_token" in record]
    assert [record["iteration"] for record in dev] == [6, 12]
    losses = next(record for record in log if "total" in record)
    assert {
        "generation",
        "teacher",
        "student",
        "contrast",
        "diversity",
        "lr",
        "examples_per_s",
    } <= losses.keys()
    state = json.loads((tiny_run / "checkpoint-000012" / "state.json").read_text())
    assert state["best"]["ppl_token"] == min(record["dev_ppl_token"] for record in dev)


def test_training_lowers_the_loss(tiny_config, tiny_prepared, tmp_path):
    config = replace(
        tiny_config, max_iterations=200, check_every=200, check_from=200, learning_rate=5e-3
    )
    train(config, tiny_prepared, tmp_path / "run", cpu=True, progress=False)
    records = [
        json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    ]
    losses = [record["generation"] for record in records if "generation" in record]
    assert losses[-1] < losses[0] - 0.5


def test_tensorboard_gets_the_log_of_a_new_run(tiny_config, tiny_prepared, tmp_path, monkeypatch):
    """Its folder is made inside the run folder, which must not exist before."""
    written = []

    class SummaryWriter:
        def __init__(self, folder):
            Path(folder).mkdir()

        def add_scalar(self, name, value, iteration):
            written.append((name, value, iteration))

    stand_in = ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    monkeypatch.setattr(running, "find_spec", lambda name: None)
    with pytest.raises(RunError, match="pip install tensorboard"):
        train(tiny_config, tiny_prepared, tmp_path / "run", cpu=True, tensorboard=True)
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(running, "find_spec", lambda name: name)
    train(tiny_config, tiny_prepared, tmp_path / "run", cpu=True, progress=False, tensorboard=True)
    records = read_log(tmp_path / "run")
    assert written == [(n, v, row["iteration"]) for row in records for n, v in row.items()]


@pytest.mark.parametrize("at", [3, 7])
def test_resume_continues_bit_for_bit(tiny_config, tiny_prepared, tmp_path, at):
    """n steps, resume, and the rest equal all steps at once: weights, counts, optimizer, log."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(tiny_config, tiny_prepared, whole, cpu=True, progress=False)
    first = train(tiny_config, tiny_prepared, parts, cpu=True, progress=False, stop_after=at)
    assert first["interrupted"]
    assert first["iteration"] == at
    torch.manual_seed(99)
    torch.rand(7)  # whatever happens between must not matter
    last = train(tiny_config, tiny_prepared, parts, cpu=True, progress=False, resume=True)
    assert last["finished"]
    for name in ("model.safetensors", "optimizer.safetensors"):
        one, two = (load_file(newest_checkpoint(folder) / name) for folder in (whole, parts))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert one["exp_avg/encoder.norm.weight"].abs().sum() > 0
    assert torch.equal(
        load_file(whole / "best.safetensors")["embed.words.weight"],
        load_file(parts / "best.safetensors")["embed.words.weight"],
    )


def test_another_seed_is_another_run_and_the_same_seed_the_same(
    tiny_config, tiny_prepared, tmp_path
):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(
            replace(tiny_config, seed=seed),
            tiny_prepared,
            tmp_path / name,
            cpu=True,
            progress=False,
            stop_after=3,
        )
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(
        a["encoder.layers.0.ffn.first.weight"], c["encoder.layers.0.ffn.first.weight"]
    )


def test_kill_in_mid_write_leaves_the_older_checkpoint(
    tiny_config, tiny_prepared, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    train(tiny_config, tiny_prepared, folder, cpu=True, progress=False, stop_after=3)
    before = weights(folder)
    model = build_model(tiny_config, tiny_prepared)
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(SystemExit("killed")))
    with pytest.raises(SystemExit):
        save_checkpoint(folder, 4, model, make_optimizer(tiny_config, model), {})
    monkeypatch.undo()
    assert newest_checkpoint(folder).name == "checkpoint-000003"
    assert all(torch.equal(before[key], value) for key, value in weights(folder).items())
    assert train(tiny_config, tiny_prepared, folder, cpu=True, progress=False, resume=True)[
        "finished"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_can_be_resumed(tmp_path, number):
    """The real command can be resumed after kill -9 and Ctrl-C.

    The log of the resumed run has every iteration once.
    """
    folder = tmp_path / "run"
    small = (
        "dim=24 heads=2 key_depth=24 ffn_dim=24 small_key_depth=8 small_ffn_dim=8 "
        "max_iterations=200 check_every=20 check_from=200"
    )
    command = [sys.executable, "-m", "ctsm_lib", "train", "--out", str(folder), "--quiet"]
    settings = [part for setting in small.split() for part in ("--set", setting)]
    environment = os.environ | {"CTSM_ALLOCATOR": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("CTSM_DATA", None)
    process = subprocess.Popen(
        [*command, *settings], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    end = time.monotonic() + 90
    while newest_checkpoint(folder) is None and time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    output = process.communicate(timeout=60)[0].decode()
    assert newest_checkpoint(folder) is not None, output
    if number == signal.SIGINT:
        assert process.returncode == 130, output
        assert "--resume" in output
    load_run(folder)
    done = subprocess.run(
        [*command, "--resume"], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    iterations = [record["iteration"] for record in log if "total" in record]
    assert iterations == sorted(set(iterations))
    assert iterations[-1] == 200


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings(
    tiny_run, tiny_config, tiny_prepared, tmp_path
):
    with pytest.raises(RunError, match=r"exists.*--resume"):
        train(tiny_config, tiny_prepared, tiny_run, cpu=True, progress=False)
    with pytest.raises(RunError, match=f"dropout={tiny_config.dropout};"):
        train(
            replace(tiny_config, dropout=0.5),
            tiny_prepared,
            tiny_run,
            cpu=True,
            progress=False,
            resume=True,
        )
    with pytest.raises(RunError, match="no run folder"):
        train(tiny_config, tiny_prepared, tmp_path / "none", cpu=True, progress=False, resume=True)


def test_early_stopping_counts_checks_without_a_better_perplexity(
    tiny_config, tiny_prepared, tmp_path
):
    config = replace(
        tiny_config,
        learning_rate=1e-12,
        max_iterations=100,
        check_every=2,
        check_from=2,
        patience=3,
    )
    result = train(config, tiny_prepared, tmp_path / "run", cpu=True, progress=False)
    assert result["finished"]
    assert result["iteration"] < 100
    assert result["bad_checks"] == 3


def test_an_exploding_loss_ends_with_advice(tiny_config, tiny_prepared, tmp_path):
    config = replace(tiny_config, learning_rate=1e30, clip=0.0, max_iterations=20, check_from=100)
    with pytest.raises(RunError, match="learning_rate"):
        train(config, tiny_prepared, tmp_path / "run", cpu=True, progress=False)


def damaged(tmp_path, tiny_run, change):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(tiny_run, folder)
    change(folder)
    return folder


def swap(folder):
    tensors = load_file(folder / "best.safetensors")
    tensors["embed.words.weight"] = tensors["embed.words.weight"][:-1].contiguous()
    save_file(tensors, folder / "best.safetensors")


def drop(folder):
    tensors = load_file(folder / "best.safetensors")
    tensors.pop("encoder.norm.weight")
    save_file(tensors, folder / "best.safetensors")


def poison(folder):
    tensors = load_file(folder / "best.safetensors")
    tensors["encoder.norm.weight"][0] = float("nan")
    save_file(tensors, folder / "best.safetensors")


def setting(folder, **changes):
    run = json.loads((folder / "run.json").read_text())
    run["config"] |= changes
    write_json(folder / "run.json", run)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: (f / "best.safetensors").write_bytes(b"\x80\x04\x95pickle"), "is damaged"),
        (
            lambda f: (f / "best.safetensors").write_bytes(
                (f / "best.safetensors").read_bytes()[:-9]
            ),
            "is damaged",
        ),
        (swap, r"embed\.words\.weight is \["),
        (drop, r"lacks encoder\.norm\.weight"),
        (poison, "not finite"),
        (lambda f: (f / "run.json").write_text("{"), "is damaged"),
        (lambda f: (f / "run.json").write_text("[]"), "not of a run"),
        (lambda f: (f / "run.json").unlink(), "is missing"),
        (lambda f: (f / "vocabulary.json").write_text("[1]"), "not a list of words"),
        (lambda f: (f / "vocabulary.json").write_text('["a"]'), "begins with"),
        (lambda f: setting(f, dim="wide"), "must be a whole number"),
        (lambda f: setting(f, nonsense=1), "no setting"),
    ],
)
def test_a_damaged_run_is_one_sentence(tmp_path, tiny_run, change, reason):
    with pytest.raises(RunError, match=reason):
        load_run(damaged(tmp_path, tiny_run, change))


def test_a_run_without_a_dev_check_answers_with_its_newest_weights(
    tiny_config, tiny_prepared, tmp_path
):
    train(tiny_config, tiny_prepared, tmp_path / "run", cpu=True, progress=False, stop_after=2)
    run = load_run(tmp_path / "run")
    assert "newest weights" in run.note
    assert run.iteration == 2


def test_best_weights_carry_their_facts(tiny_run, tiny_config, tiny_prepared):
    facts = load_weights(tiny_run / "best.safetensors", build_model(tiny_config, tiny_prepared))
    assert facts["iteration"] in (6, 12)
    assert np.isfinite(facts["ppl_token"])


def test_frozen_vectors_stay_and_trained_ones_move(tiny_config, tiny_prepared, tmp_path):
    start = build_model(tiny_config, tiny_prepared).embed.words.weight.clone()
    for frozen in (True, False):
        folder = tmp_path / str(frozen)
        config = replace(tiny_config, train_vectors=not frozen)
        train(config, tiny_prepared, folder, cpu=True, progress=False, stop_after=2)
        assert torch.equal(weights(folder)["embed.words.weight"], start) is frozen
