"""Faults around the library: kill -9, Ctrl-C, full or read-only disks, damaged caches, odd clocks.

Training runs in a forked process here, so that a test can stop it anywhere within a second;
`test_training.py` stops the real command. Where a run goes on, its log and its weights must equal
those of an undisturbed run, bit for bit.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import numpy as np
import pytest
import soak
import torch
from safetensors.torch import load_file

import ctsm_workbench.cli
from ctsm_lib import checkpoint
from ctsm_lib.checkpoint import newest_checkpoint
from ctsm_lib.config import Config
from ctsm_lib.errors import CtsmError, RunError
from ctsm_lib.files import write_json
from ctsm_lib.prepare import Prepared, prepare
from ctsm_lib.run_folder import create_run, read_run
from ctsm_lib.runs import load_run
from ctsm_lib.sources import Sources, cache_folder, find_sources
from ctsm_workbench.running import train as running
from ctsm_workbench.running.checkpoints import load_checkpoint, save_checkpoint
from ctsm_workbench.running.log import read_log
from ctsm_workbench.running.train import train

pytestmark = [
    pytest.mark.survival,
    pytest.mark.skipif(
        not hasattr(os, "fork"), reason="this system cannot fork: these tests stop forked processes"
    ),
]
FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else multiprocessing.get_context()
REFUSED = 3  # exit status of a child that ended with one of our own errors


# ------------------------------------------------------------------------------------------ helpers


@pytest.fixture(name="config", scope="module")
def _config(small_config) -> Config:
    return small_config


@pytest.fixture(name="prepared", scope="module")
def _prepared(small_prepared) -> Prepared:
    return small_prepared


@pytest.fixture(scope="module")
def sources(small_data) -> Sources:
    return find_sources(small_data)


@pytest.fixture(scope="module", autouse=True)
def _log_often():
    old = running.LOG_EVERY
    running.LOG_EVERY = 4
    yield
    running.LOG_EVERY = old


def train_or_go_on(config: Config, prepared: Prepared, folder: Path) -> dict:
    """What a person does: begin, or go on where there is something to go on with."""
    resume = (folder / "run.json").is_file()
    return train(config, prepared, folder, resume=resume, cpu=True, progress=False)


def start(
    work: Callable[[], object], said: Path | None = None
) -> multiprocessing.process.BaseProcess:
    """Do something in another process; its output goes into a file."""

    def inside() -> None:
        out = os.open(said or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        try:
            work()
        except CtsmError as error:
            os.write(2, f"error: {error}\n".encode())
            os._exit(REFUSED)

    process = FORK.Process(target=inside)
    process.start()
    return process


def ended(process: multiprocessing.process.BaseProcess) -> int:
    """The exit status: minus the signal for one that was killed."""
    process.join(120)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def story(folder: Path) -> tuple[list[dict], dict[str, torch.Tensor]]:
    """The log and all weights of a run.

    Values that depend on the clock or on the number of restarts are left out of the log.
    """
    rows = [
        {name: value for name, value in row.items() if name != "examples_per_s"}
        for row in read_log(folder)
    ]
    rows = [row for row in rows if "threads" not in row]
    last = newest_checkpoint(folder)
    assert last is not None
    return rows, load_file(last / "model.safetensors") | {
        f"best {name}": value for name, value in load_file(folder / "best.safetensors").items()
    }


def require_same(folder: Path, whole: Path) -> None:
    """The run that something happened to is the one that nothing happened to."""
    (rows, weights), (whole_rows, whole_weights) = story(folder), story(whole)
    assert rows == whole_rows
    assert weights.keys() == whole_weights.keys()
    assert all(torch.equal(weights[name], whole_weights[name]) for name in weights)
    begun = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert not begun, f"left behind: {begun}"


def require_readable(folder: Path) -> None:
    """What there is of a run can be read."""
    if (folder / "run.json").exists():
        read_run(folder)
        if (folder / "log.jsonl").exists():
            read_log(folder)
        if newest_checkpoint(folder) is not None:
            load_run(folder)


class Ticks:
    """Counts what a process does to a folder's files, and ends it with kill -9 at one of them.

    Args:
        last: The number of the action at which the process ends; 0 means never. If that action
            writes a file of tensors, only the first half of the file is written.
    """

    def __init__(self, folder: Path, last: int) -> None:
        self.folder, self.last, self.count = str(folder), last, 0

    def watch(self) -> None:
        save_file = checkpoint.save_file

        def half(tensors, path, metadata=None):
            save_file(tensors, path, metadata)
            if self.count + 1 == self.last:
                os.truncate(path, os.path.getsize(path) // 2)
            self.tick()

        checkpoint.save_file = half  # type: ignore[assignment]
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple) -> None:
        if event in (
            "open",
            "os.rename",
            "os.mkdir",
            "os.rmdir",
            "os.remove",
        ) and self.folder in str(arguments[0]):
            self.tick()

    def tick(self) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def undisturbed(config, prepared, tmp_path_factory) -> tuple[Path, float, int]:
    """An undisturbed run, the seconds that it takes, and the number of its actions on files."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    counted = folder.parent / "ticks"

    def work() -> None:
        ticks = Ticks(folder, 0)
        ticks.watch()
        train_or_go_on(config, prepared, folder)
        counted.write_text(str(ticks.count))

    begun = time.monotonic()
    assert ended(start(work)) == 0
    return folder, time.monotonic() - begun, int(counted.read_text())


# --------------------------------------------------------------------------------------------- kill


def test_kill_at_any_moment(config, prepared, undisturbed, tmp_path):
    """A run is killed at random moments and at random actions on files.

    Some of these are in the middle of writing a file, others between two files.
    """
    whole, seconds, ticks = undisturbed
    chance = random.Random(1)
    with soak.fault("kill -9 during training, every second time during a write", 3, 50) as fault:
        begun = 0
        for number in range(fault.tries):
            folder = tmp_path / str(number) / "run"
            if number % 2:
                process = start(lambda folder=folder: train_or_go_on(config, prepared, folder))
                time.sleep(chance.uniform(0, seconds))
                process.kill()
                ended(process)
            else:
                last = chance.randint(1, ticks)

                def work(folder: Path = folder, last: int = last) -> None:
                    Ticks(folder, last).watch()
                    train_or_go_on(config, prepared, folder)

                assert ended(start(work)) == -signal.SIGKILL, (
                    f"nothing happened at {last} of {ticks}"
                )
            require_readable(folder)
            begun += newest_checkpoint(folder) is not None
            assert (
                ended(
                    start(
                        lambda folder=folder: train_or_go_on(config, prepared, folder),
                        tmp_path / "said",
                    )
                )
                == 0
            ), (tmp_path / "said").read_text()
            require_same(folder, whole)
            shutil.rmtree(folder.parent)
            fault.done += 1
        fault.result = (
            "every folder readable, every resumed run identical; "
            f"{begun} continued from a checkpoint"
        )


def test_a_run_that_was_killed_before_it_was_one_is_begun_anew(tmp_path, prepared, config):
    words = prepared.corpus.vocabulary
    for name in ("vocabulary.json", ".vocabulary.json.12", ".run.json.12"):
        (tmp_path / name).write_text("[")
    create_run(tmp_path, config, words, {})
    assert read_run(tmp_path)[0] == config
    with pytest.raises(RunError, match="exists"):
        create_run(tmp_path, config, words, {})
    (tmp_path / "run.json").unlink()
    (tmp_path / "notes.txt").write_text("a person's")
    with pytest.raises(RunError, match="exists"):
        create_run(tmp_path, config, words, {})


@pytest.mark.parametrize("at", range(1, 4))
def test_the_same_position_saved_again_never_leaves_the_run_without_a_checkpoint(
    tmp_path, monkeypatch, at
):
    """A kill between any two renames of a save that replaces a checkpoint of the same iteration."""
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    save_checkpoint(tmp_path, 12, model, optimizer, {})
    replace_file, calls = os.replace, []

    def dying(source, target):
        if "checkpoint-" in Path(target).name or "checkpoint-000012" in Path(source).name:
            calls.append(target)
            if len(calls) == at:
                raise SystemExit("killed")
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", dying)
    with pytest.raises(SystemExit) if at < 3 else nullcontext():
        save_checkpoint(tmp_path, 12, model, optimizer, {})
    monkeypatch.undo()
    newest = newest_checkpoint(tmp_path)
    assert newest is not None and load_checkpoint(newest, model, optimizer)["iteration"] == 12
    save_checkpoint(tmp_path, 15, model, optimizer, {})
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000015"]


def test_the_newest_checkpoint_is_that_of_the_greatest_number(tmp_path):
    for name in (
        "checkpoint-999999",
        "checkpoint-1000000",
        "checkpoint-1000000.old",
        "checkpoint-mine",
        ".checkpoint-9",
    ):
        (tmp_path / name).mkdir()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-1000000"


# ------------------------------------------------------------------------------------------- Ctrl-C


def test_ctrl_c_at_any_moment(config, small_data, undisturbed, tmp_path, monkeypatch):
    """Ctrl-C stops the command anywhere: one word, status 130, no traceback.

    `--resume` then goes on.
    """
    whole, seconds, _ = undisturbed
    monkeypatch.setenv("CTSM_ALLOCATOR", "1")  # else the command begins itself anew
    monkeypatch.setenv("CTSM_DATA", str(small_data))
    changes = [
        f"--set={name}={value}"
        for name, value in config.asdict().items()
        if name not in ("preset", "model")
    ]
    chance, said = random.Random(2), tmp_path / "said"

    def command(folder: Path, *more: str) -> int:
        def work() -> None:
            sys.argv = ["ctsm", "train", "--out", str(folder), "--device", "cpu", "--quiet", *more]
            signal.signal(signal.SIGINT, signal.default_int_handler)
            ctsm_workbench.cli.main()

        process = start(work, said)
        if not more or "--resume" not in more:
            while not said.exists() and process.is_alive():
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.7 * seconds))
            with suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGINT)
        return ended(process)

    with soak.fault("Ctrl-C in `ctsm train`", 2, 50) as fault:
        stopped = 0
        for number in range(fault.tries):
            folder = tmp_path / str(number)
            said.unlink(missing_ok=True)
            status = command(folder, "--preset=sample", *changes)
            text = said.read_text()
            assert status in (0, 130), text
            assert "Traceback" not in text
            stopped += status == 130
            require_readable(folder)
            again = (
                ["--resume"] if (folder / "run.json").is_file() else ["--preset=sample", *changes]
            )
            if "--resume" in again:
                assert command(folder, *again) == 0, said.read_text()
                require_same(folder, whole)
            fault.done += 1
        fault.result = (
            f"{stopped} stopped without a traceback, the others had already finished; "
            "every resumed run was identical"
        )


# ------------------------------------------------------------------------------- full and read-only


@contextmanager
def memory_disk(
    folder: Path, size: int, *, read_only: bool = False
) -> Iterator[Callable[[int], None]]:
    """Mount a disk of `size` bytes at `folder`, and yield a function that makes it larger.

    The test is skipped where no disk can be mounted.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def mount(*options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
        return (
            shutil.which("mount") is not None
            and not subprocess.run(command, capture_output=True).returncode
        )

    if not mount(f"size={size}", *(["ro"] if read_only else [])):
        pytest.skip("no disk can be mounted here: that needs root on Linux")
    try:
        yield lambda size: void(mount("remount", f"size={size}"))
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def void(_: object) -> None:
    """Nothing is to be done with it."""


def test_a_full_disk_ends_training_with_a_sentence_and_room_lets_it_go_on(
    config, prepared, undisturbed, tmp_path
):
    whole = undisturbed[0]
    needed = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    folder, chance = tmp_path / "disk" / "run", random.Random(3)
    with soak.fault("disk full during training", 2, 20) as fault:
        full = 0
        for _ in range(fault.tries):
            with memory_disk(tmp_path / "disk", chance.randint(needed // 20, needed)) as enlarge:
                status = ended(
                    start(lambda: train_or_go_on(config, prepared, folder), tmp_path / "said")
                )
                text = (tmp_path / "said").read_text()
                assert status in (0, REFUSED), text
                if status:
                    full += 1
                    assert str(folder) in text and os.strerror(errno.ENOSPC) in text
                require_readable_but_for_a_last_line(folder)
                enlarge(10 * needed)
                again = ended(
                    start(lambda: train_or_go_on(config, prepared, folder), tmp_path / "said")
                )
                assert again == 0, (tmp_path / "said").read_text()
                require_same(folder, whole)
            fault.done += 1
        fault.result = (
            f"{full} stopped with a clear message, the others had enough space; "
            "every resumed run was identical"
        )


def test_a_limit_on_the_size_of_files_is_as_a_full_disk(config, prepared, undisturbed, tmp_path):
    """The same where no disk can be mounted; the limit is reached in the middle of a file."""
    whole = undisturbed[0]
    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    chance = random.Random(4)
    with soak.fault("a write that stops halfway (limit on file sizes)", 2, 20) as fault:
        for number in range(fault.tries):
            folder, limit = tmp_path / str(number), chance.randint(200, largest - 1)

            def work(folder: Path = folder, limit: int = limit) -> None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                train_or_go_on(config, prepared, folder)

            assert ended(start(work, tmp_path / "said")) == REFUSED, (tmp_path / "said").read_text()
            text = (
                (tmp_path / "said").read_text() if limit > 2_000 else str(folder)
            )  # too small for the sentence, too
            assert str(folder) in text
            require_readable_but_for_a_last_line(folder)
            assert ended(start(lambda folder=folder: train_or_go_on(config, prepared, folder))) == 0
            require_same(folder, whole)
            fault.done += 1
        fault.result = "a clear message each time; every resumed run was identical"


def require_readable_but_for_a_last_line(folder: Path) -> None:
    """A full disk may cut off the last line of the log; a resumed run drops the piece."""
    log = folder / "log.jsonl"
    if log.exists():
        *lines, _ = log.read_text(encoding="utf-8").split("\n")
        assert all(json.loads(line) for line in lines)
    if newest_checkpoint(folder) is not None:
        load_run(folder)


@pytest.mark.parametrize("room", ["no space", "read-only", "too small for a file"])
def test_a_cache_that_cannot_be_kept_costs_only_the_keeping(
    config, sources, prepared, tmp_path, monkeypatch, room
):
    folder = tmp_path / "cache"
    monkeypatch.setenv("CTSM_CACHE", str(folder))
    with soak.fault(f"cache folder: {room}", 1, 5) as fault:
        for _ in range(fault.tries):

            def work() -> None:
                if room == "too small for a file":
                    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))
                require_equal(prepare(config, sources, progress=False), prepared)

            if room == "too small for a file":
                assert ended(start(work)) == 0
            else:
                with memory_disk(folder, 20_000, read_only=room == "read-only"):
                    assert ended(start(work, tmp_path / "said")) == 0, (
                        tmp_path / "said"
                    ).read_text()
            assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
            fault.done += 1
        fault.result = "the data was prepared, but not stored"


def test_a_folder_that_cannot_be_written_is_named(config, prepared, tmp_path):
    with memory_disk(tmp_path / "disk", 1_000_000, read_only=True):
        with pytest.raises(RunError, match=r"disk.*Read-only"):
            train_or_go_on(config, prepared, tmp_path / "disk" / "run")
        with pytest.raises(RunError, match=r"disk.*Read-only"):
            write_json(tmp_path / "disk" / "scores.json", {})


def test_a_run_in_a_folder_that_became_read_only_is_not_resumed(config, prepared, tmp_path):
    disk = tmp_path / "disk"
    with memory_disk(disk, 100_000_000):
        train(config, prepared, disk / "run", cpu=True, progress=False, stop_after=2)
        before = {path: path.stat().st_mtime_ns for path in disk.rglob("*")}
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(RunError, match=r"/run cannot be written \(Read-only.*resume a copy"):
            train(config, prepared, disk / "run", resume=True, cpu=True, progress=False)
        assert {path: path.stat().st_mtime_ns for path in disk.rglob("*")} == before


def test_a_lock_that_the_system_refuses_is_a_sentence(config, prepared, tmp_path):
    """The same where no disk can be mounted: nobody can open a folder as a lock file."""
    train(config, prepared, tmp_path / "run", cpu=True, progress=False, stop_after=2)
    (tmp_path / "run" / ".lock").mkdir()
    with pytest.raises(RunError, match=r"run cannot be written \(.*make it writable"):
        train(config, prepared, tmp_path / "run", resume=True, cpu=True, progress=False)


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "Permission denied", "/data/train.csv"), OSError("?")]
)
def test_a_file_that_the_system_refuses_is_named_and_no_traceback(monkeypatch, capsys, error):
    """Whatever command it was; an error that names no file is a bug, and shows where."""

    def refused(**_: object) -> None:
        raise error

    monkeypatch.setattr(ctsm_workbench.cli, "app", refused)
    monkeypatch.setenv("CTSM_ALLOCATOR", "1")
    monkeypatch.setattr(sys, "argv", ["ctsm", "doctor"])
    with pytest.raises(SystemExit if error.filename else OSError):
        ctsm_workbench.cli.main()
    if error.filename:
        assert capsys.readouterr().err == "error: /data/train.csv: Permission denied.\n"


# -------------------------------------------------------------------------------------------- cache


def require_equal(one: Prepared, two: Prepared) -> None:
    """The same data, array by array."""
    assert one.corpus.vocabulary.words == two.corpus.vocabulary.words
    np.testing.assert_array_equal(one.vectors.matrix, two.vectors.matrix)
    for split, part in one.corpus.splits.items():
        for name in (
            "tokens",
            "turn_offsets",
            "dialogue_offsets",
            "labels",
            "text",
            "text_offsets",
        ):
            np.testing.assert_array_equal(
                getattr(part, name), getattr(two.corpus.splits[split], name)
            )


def test_a_cache_with_damaged_bytes_is_made_anew(config, sources, prepared, tmp_path, monkeypatch):
    """A real cache entry with holes, cuts, changed bytes and strange files.

    `test_cache.py` flips bytes of a small entry.
    """
    monkeypatch.setenv("CTSM_CACHE", str(tmp_path))
    prepare(config, sources, progress=False)
    chance = random.Random(5)
    with soak.fault("cache damaged at random bytes", 4, 100) as fault:
        for _ in range(fault.tries):
            file = chance.choice(sorted(path for path in tmp_path.rglob("*") if path.is_file()))
            data = bytearray(file.read_bytes())
            at = chance.randrange(max(len(data), 1))
            match chance.randrange(4):
                case 0 if data:
                    data[at] ^= chance.randint(1, 255)
                case 1:
                    data[at : at + 40] = bytes(40)
                    data[:1] = bytes([data[0] ^ 1])
                case 2:
                    del data[at:]
                    data += b"x"
                case _:
                    data[at:at] = chance.randbytes(9)
            file.write_bytes(data)
            changed = file.stat().st_mtime_ns
            require_equal(prepare(config, sources, progress=False), prepared)
            assert not file.exists() or file.stat().st_mtime_ns != changed, (
                f"{file.name} was not noticed"
            )
            fault.done += 1
        fault.result = "noticed and rebuilt each time"


def test_several_processes_prepare_the_same_cache_at_once_and_one_is_killed(
    config, sources, prepared, tmp_path, monkeypatch
):
    chance = random.Random(6)
    with soak.fault(
        "three processes prepare the same cache at once, and one is killed", 2, 30
    ) as fault:
        for number in range(fault.tries):
            monkeypatch.setenv("CTSM_CACHE", str(tmp_path / str(number)))
            together = (
                time.monotonic() + 0.3
            )  # no barrier: who dies within one takes its lock along

            def work(together=together) -> None:
                time.sleep(max(0.0, together - time.monotonic()))
                require_equal(prepare(config, sources, progress=False), prepared)

            processes = [start(work) for _ in range(3)]
            time.sleep(chance.uniform(0, 0.9))
            processes[0].kill()
            assert [ended(process) for process in processes][1:] == [0, 0]
            require_equal(prepare(config, sources, progress=False), prepared)
            fault.done += 1
        fault.result = "all had the same data, and the cache was complete"


# -------------------------------------------------------------------------------------------- clock


def test_a_clock_that_goes_backwards(config, sources, prepared, undisturbed, tmp_path, monkeypatch):
    """Every look at the clock is an hour earlier, and files are from 1971 or 2100."""
    now = [4e9]

    def earlier() -> float:
        now[0] -= 3600
        return now[0]

    chance = random.Random(7)
    monkeypatch.setattr(time, "time", earlier)
    monkeypatch.setattr(time, "time_ns", lambda: int(earlier() * 1e9))
    with soak.fault(
        "clock that runs backwards, files dated in the past and the future", 1, 10
    ) as fault:
        for number in range(fault.tries):
            folder = tmp_path / str(number)
            stop = chance.randint(1, 23)
            train(config, prepared, folder, cpu=True, progress=False, stop_after=stop)
            for path in [*folder.rglob("*"), *cache_folder().rglob("*")]:
                stamp = chance.choice([3.2e7, 4.1e9])
                os.utime(path, (stamp, stamp))
            require_equal(prepare(config, sources, progress=False), prepared)
            train_or_go_on(config, prepared, folder)
            fault.done += 1
            rows, weights = story(folder)
            whole_rows, whole_weights = story(undisturbed[0])
            assert rows[-1] == whole_rows[-1]
            assert all(torch.equal(weights[name], whole_weights[name]) for name in weights)
        fault.result = "identical run and identical data"


# -------------------------------------------------------------------------------------------- table


def test_what_came_of_it_is_written_down_failures_too(tmp_path, monkeypatch):
    path = tmp_path / "soak.json"
    monkeypatch.setenv("CTSM_SOAK_JSON", str(path))
    monkeypatch.delenv("CTSM_SOAK_SHARE", raising=False)
    with soak.fault("b", 2, 2) as fault:
        fault.done = 2

    def fails() -> None:
        with soak.fault("a", 5, 5) as fault:
            fault.done = 3
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    found = json.loads(path.read_text())
    assert list(found) == ["a", "b"]
    assert (found["a"]["tries"], found["a"]["result"]) == (3, "FAILED at try 4: ZeroDivisionError")
    assert found["b"] == {
        "tries": 2,
        "result": "survived",
        "command": "make soak ONLY=test_what_came_of_it_is_written_down_failures_too",
    }
    page = f"before {soak.TABLE[0]} old {soak.TABLE[1]} after"
    assert soak.with_table(soak.with_table(page, {}), found) == soak.with_table(page, found)
    assert "| b | 2 | survived |" in soak.with_table(page, found)


@pytest.mark.skipif(
    soak.LONG,
    reason="`make soak` writes the table when all tests have run; `make test` looks at it",
)
def test_the_table_in_contributing_is_the_file_of_results():
    page = (soak.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = json.loads(
        (soak.ROOT / "figures" / "results" / "soak.json").read_text(encoding="utf-8")
    )
    assert soak.with_table(page, found) == page
    assert not [name for name, row in found.items() if row["result"].startswith("FAILED")]
