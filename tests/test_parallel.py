"""One process and two take the same steps and come to the same scores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ctsm_lib import parallel
from ctsm_lib.checkpoint import newest_checkpoint

WORKER = Path(__file__).parent / "parallel_worker.py"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def work(folder: Path, processes: int, settings: list[str]) -> str:
    """Run the worker in that many processes; returns what all of them printed."""
    folder.mkdir()
    command = [sys.executable, *(TORCHRUN if processes == 2 else []), str(WORKER), str(folder), *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKER.parent.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def losses(run: Path) -> list[dict]:
    """Everything in the log that is not about time."""
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if name != "examples_per_s"} for record in records]


def written_at(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ["batch_size=7"],  # four pairs for one process, three for the other
        ["batch_size=1"],  # nothing at all for the other
    ],
    ids=["uneven", "empty"],
)
def test_two_processes_take_the_same_steps_as_one(tmp_path, settings):
    printed = [work(tmp_path / str(processes), processes, settings) for processes in (1, 2)]
    one, two = tmp_path / "1", tmp_path / "2"

    # The loss of every iteration and every dev score. One process writes, and only one speaks.
    assert written_at(one / "run") == written_at(two / "run")
    log, other = losses(one / "run"), losses(two / "run")
    assert [record["iteration"] for record in other] == [1, 2, 3, 3, 4, 5, 6, 6]
    for expected, found in zip(log, other, strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert printed[0] == printed[1]
    assert printed[0].count("dev ppl_token") == 2

    # The weights at the end, and what the optimizer remembers.
    before = load_file(one / "start.safetensors")
    for name in ("model.safetensors", "optimizer.safetensors"):
        expected, found = (load_file(newest_checkpoint(folder / "run") / name) for folder in (one, two))
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            torch.testing.assert_close(
                found[key], value, rtol=1e-5, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}"
            )
        if name == "model.safetensors":
            assert (
                expected["encoder.layers.0.ffn.first.weight"] - before["encoder.layers.0.ffn.first.weight"]
            ).abs().max() > 1e-3
            assert expected["diversity.counts"].sum() > 0

    # Scoring shared out over processes gives every pair its own score once, in every process.
    alone = np.load(one / "rank0.npz")
    assert alone["world"] == 1
    assert (alone["tokens"] > 0).all()
    for rank in (0, 1):
        shared = np.load(two / f"rank{rank}.npz")
        assert shared["world"] == 2
        np.testing.assert_array_equal(shared["tokens"], alone["tokens"])
        np.testing.assert_allclose(shared["nll"], alone["nll"], rtol=1e-5)
        np.testing.assert_allclose(shared["logits"], alone["logits"], rtol=1e-4, atol=1e-5)
        assert shared["best"] == pytest.approx(alone["best"], rel=1e-5)


def test_one_process_is_the_identity():
    rows = torch.arange(6.0).view(3, 2)
    assert parallel.world() == 1
    assert parallel.all_sum(rows) is rows
    assert parallel.gather_rows(rows, 3) is rows
    assert list(range(5))[parallel.share()] == [0, 1, 2, 3, 4]
    assert parallel.any_of(True) is True
    assert parallel.any_of(False) is False
