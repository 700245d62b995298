"""Training and use by one, two and four processes.

All take the same steps, reach the same scores and answers, and write each file once.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import parallel_worker as worker
import pytest
import torch
from safetensors.torch import load_file

from ctsm_lib import parallel
from ctsm_lib.checkpoint import newest_checkpoint
from ctsm_lib.sources import cache_folder
from ctsm_workbench.retrieval.store import infer_cached
from ctsm_workbench.running import processes
from ctsm_workbench.running.log import read_log

WORKER = Path(worker.__file__)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def environment(**changes: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKER.parent.parent)} | changes


def losses(run: Path) -> list[dict]:
    """Everything in the log that is not about time or about who computes."""
    rows = [row for row in read_log(run) if "processes" not in row]
    return [
        {name: value for name, value in row.items() if name != "examples_per_s"} for row in rows
    ]


def same_curve(run: Path, expected: Path) -> None:
    """The loss of every iteration and every dev score."""
    log, other = losses(expected), losses(run)
    assert [record["iteration"] for record in other] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    for wanted, found in zip(log, other, strict=True):
        assert found == pytest.approx(wanted, rel=1e-5, abs=1e-5)


def written_at(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*"))


def missing_texts(count: int) -> list[str]:
    """Put every other text that `infer` needs on disk for `count` processes; return the others."""
    _, prepared = worker.tiny()
    texts = sorted(
        {
            part.turn_text(turn)
            for part in prepared.corpus.splits.values()
            for turn in part.pairs[:, 4]
        },
        key=lambda text: (len(text), text),
    )
    infer_cached(worker.Stub(f"stub-{count}"), texts[::2], cache_folder(), progress=False)
    return texts[1::2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Runs of one process, of two under torchrun and of four.

    One more run goes on with 1, 2, 4 and 1 processes in turn.
    """
    where = tmp_path_factory.mktemp("parallel")
    worker.train(where / "alone", worker.UNEVEN)
    worker.train(where / "empty", worker.EMPTY)
    worker.train(where / "moving", worker.UNEVEN, stop_after=3)
    launches = {
        2: [*TORCHRUN, "--standalone", "--nproc-per-node=2", str(WORKER), str(where)],
        4: [sys.executable, str(WORKER), str(where), "4"],
    }
    for count, command in launches.items():
        (where / f"missing-{count}.json").write_text(json.dumps(missing_texts(count)))
        done = subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        (where / f"printed-{count}.txt").write_text(done.stdout)
    worker.train(where / "moving", worker.UNEVEN, resume=True)
    return where


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict:
    """What one process makes of the run, as JSON tells it."""
    return json.loads(json.dumps(worker.use(folder / "alone")))


several = pytest.mark.parametrize("count", [2, 4])


@several
@pytest.mark.slow
def test_they_take_the_same_steps_as_one(folder: Path, count: int) -> None:
    for name, one in (("uneven", folder / "alone"), ("empty", folder / "empty")):
        run = folder / f"{name}-{count}"
        same_curve(run, one)
        assert written_at(run) == written_at(one)
        for file in (
            "model.safetensors",
            "optimizer.safetensors",
        ):  # the weights, and what the optimizer remembers
            wanted, found = (load_file(newest_checkpoint(path) / file) for path in (one, run))
            assert wanted.keys() == found.keys()
            for key, value in wanted.items():
                torch.testing.assert_close(
                    found[key],
                    value,
                    rtol=1e-5,
                    atol=1e-5,
                    msg=lambda text, key=f"{name} {key}": f"{key}: {text}",
                )
    printed = (folder / f"printed-{count}.txt").read_text()
    assert printed.count("dev ppl_token") == 2 + 2 + (
        count == 2
    )  # one of them speaks, at each check


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(folder: Path) -> None:
    """The curve is that of one process without a break.

    One process takes three iterations, two take one, four take two, and one takes the last two.
    """
    same_curve(folder / "moving", folder / "alone")
    assert written_at(folder / "moving") == written_at(folder / "alone")


@several
@pytest.mark.slow
def test_shared_scoring_and_answering_is_exactly_that_of_one(
    folder: Path, alone: dict, count: int
) -> None:
    """Bit for bit, in every process; and no pair is left out."""
    assert min(alone["scored"]["tokens"]) > 0
    assert len({tuple(answer["ids"]) for answer in alone["nucleus"]["answers"]}) > 50
    for rank in range(count):
        found = json.loads((folder / f"found-{count}-{rank}.json").read_text())
        assert found["world"] == count
        for name in ("scored", *worker.ANSWERS):
            assert found[name] == alone[name], (rank, name)


@pytest.mark.slow
def test_the_command_evaluate_prints_and_writes_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four processes leave the files and words of one, byte for byte."""
    worker.evaluate(folder / "alone")
    lines = capsys.readouterr().out.splitlines()
    printed = (folder / "printed-4.txt").read_text().splitlines()
    assert printed[-len(lines) :] == lines
    assert sum(line.startswith("ppl_token ") for line in printed) == 1
    for name in ("scores.json", "answers.jsonl", "40.md"):
        assert (folder / f"4-{name}").read_bytes() == (folder / f"1-{name}").read_bytes()
    with np.load(folder / "1-examples.npz") as one, np.load(folder / "4-examples.npz") as four:
        assert one.files == four.files
        for name in one.files:
            np.testing.assert_array_equal(four[name], one[name])
    assert len(list(folder.glob("4-*"))) == 4


@several
@pytest.mark.slow
def test_shared_reading_keeps_every_occurrence_once(folder: Path, alone: dict, count: int) -> None:
    with np.load(folder / "gathered-1-0.npz") as one:
        assert one["count"].sum() == len(worker.plan(worker.tiny()[1].corpus).tokens)
        for rank in range(count):
            with np.load(folder / f"gathered-{count}-{rank}.npz") as some:
                for name in one.files:
                    np.testing.assert_allclose(
                        some[name], one[name], rtol=1e-9, atol=1e-9, err_msg=name
                    )


@several
@pytest.mark.slow
def test_each_text_is_inferred_once_by_one_of_them(folder: Path, count: int) -> None:
    """Texts on disk are not inferred again; the processes share the others about equally.

    Every process gets all of the inferences, and all of them are on disk afterwards.
    """
    found = [
        json.loads((folder / f"found-{count}-{rank}.json").read_text())["inferred"]
        for rank in range(count)
    ]
    asked = Counter(text for part in found for text in part["asked"][0])
    assert asked == Counter(json.loads((folder / f"missing-{count}.json").read_text()))
    shares = [len(part["asked"][0]) for part in found]
    assert max(shares) - min(shares) <= 12
    assert [part["asked"][1] for part in found] == [[]] * count
    for part in found:
        assert part["phrases"] == found[0]["phrases"]
    assert len(found[0]["phrases"][0]) > 100


@several
@pytest.mark.slow
def test_processes_with_different_data_or_checkpoints_refuse(folder: Path, count: int) -> None:
    for rank in range(count):
        said = json.loads((folder / f"found-{count}-{rank}.json").read_text())["refused"]
        assert said.startswith("Process 1 has iteration=1, the main process 0. All need the same")


# ------------------------------------------------------------------------------------- two machines

ADDRESSES = ("10.79.83.1", "10.79.83.2")


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no network namespaces here: ip {' '.join(arguments)}: {done.stderr.strip()}")


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two network namespaces, joined by one cable: what two machines are to each other."""
    if not shutil.which("ip"):
        pytest.skip("no network namespaces here: the command ip (iproute2) is not installed")
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    names = [f"ctsm{os.getpid()}{end}" for end in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip(
            "link",
            "add",
            "cable",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            names[1],
        )
        for name, address in zip(names, ADDRESSES, strict=True):
            for end in ("cable", "lo"):
                ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "addr", "add", f"{address}/30", "dev", "cable")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.mark.slow
def test_two_machines_train_as_one(tmp_path: Path, hosts: list[str]) -> None:
    """The commands of the recipe reach the losses of one process.

    One machine uses torchrun, the other `accelerate launch`.
    """
    sets = [part for setting in (*worker.TINY, worker.UNEVEN) for part in ("--set", setting)]
    run = [
        "-m",
        "ctsm_lib",
        "train",
        "--preset",
        "sample",
        *sets,
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "run"),
    ]
    launchers = (
        [*TORCHRUN, "--nnodes=2", "--node-rank=0", "--nproc-per-node=1",
         f"--master-addr={ADDRESSES[0]}", "--master-port=29500"],
        [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines=2",
         "--num_processes=2", "--machine_rank=1", f"--main_process_ip={ADDRESSES[0]}",
         "--main_process_port=29500", "--mixed_precision=no", "--dynamo_backend=no"],
    )  # fmt: skip
    started = [
        subprocess.Popen(
            ["ip", "netns", "exec", host, *launcher, *run],
            env=environment(GLOO_SOCKET_IFNAME="cable"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for host, launcher in zip(hosts, launchers, strict=True)
    ]
    worker.train(tmp_path / "alone", worker.UNEVEN)
    printed = [process.communicate(timeout=600) for process in started]
    assert [process.returncode for process in started] == [0, 0], printed
    assert "Done." in printed[0][0] and printed[1][0] == ""
    log, alone = losses(tmp_path / "run"), losses(tmp_path / "alone")
    for name in (
        "total",
        "generation",
        "grad_norm",
    ):  # of all iterations, and dev scores at two of them
        mean = np.mean([row[name] for row in alone if name in row])
        assert next(row[name] for row in log if name in row) == pytest.approx(mean, rel=1e-5)
    dev = [[row for row in rows if "dev_ppl_token" in row] for rows in (log, alone)]
    assert len(dev[0]) == len(dev[1]) == 2
    for found, wanted in zip(*dev, strict=True):
        assert found == pytest.approx(wanted, rel=1e-5)


def test_the_slurm_script_starts_a_launcher_a_node_and_a_process_a_gpu(tmp_path: Path) -> None:
    """What it hands to `srun`, with `scontrol` and `srun` that stand in for Slurm's."""
    for name, text in (
        ("scontrol", "printf 'node7\\nnode9\\n'"),
        ("srun", 'echo "$OMP_NUM_THREADS" "$@"'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {
        "JOB_ID": "12",
        "JOB_NODELIST": "node[7,9]",
        "NNODES": "2",
        "GPUS_PER_NODE": "a100:4",
        "CPUS_PER_TASK": "18",
    }
    given = {f"SLURM_{name}": value for name, value in slurm.items()} | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}"
    }
    command = [WORKER.parent.parent / "scripts" / "slurm.sh", "train", "--out", "a run"]
    done = subprocess.run(command, env=environment(**given), capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.split() == [
        *(
            "5",
            "--cpus-per-task",
            "18",
            ".venv/bin/python",
            "-m",
            "torch.distributed.run",
            "--nnodes",
            "2",
        ),
        *(
            "--nproc-per-node",
            "4",
            "--rdzv-backend",
            "c10d",
            "--rdzv-endpoint",
            "node7:29500",
            "--rdzv-id",
            "12",
        ),
        *("-m", "ctsm_lib", "train", "--out", "a", "run"),
    ]


def test_one_process_is_the_identity():
    rows = torch.arange(6.0).view(3, 2)
    assert parallel.world() == 1
    assert parallel.all_sum(rows) is rows
    assert parallel.gather_rows(rows, 3) is rows
    assert list(range(5))[parallel.share()] == [0, 1, 2, 3, 4]
    assert parallel.any_of(True) is True
    assert parallel.any_of(False) is False
    assert processes.gather(rows) == [rows]
    assert processes.from_main(rows) is rows
    processes.require_alike({"anything": rows})
    processes.meet("cpu")
    assert parallel.world() == 1
