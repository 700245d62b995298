"""Running what is missing: each row and seed in a process of its own, so that one that fails takes no other with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from types import FrameType
from typing import IO

from tqdm import tqdm

from ctsm_lib.checkpoint import read_json, read_run, write_json
from ctsm_lib.config import LEANINGS, Config, preset
from ctsm_lib.errors import ConfigError, CtsmError
from ctsm_workbench.study.comparison.published import ROWS, Row

CHECKPOINTS = 4  # of a run, at least: what an interruption costs


class _Interrupted(CtsmError):
    """Somebody stopped a run: that is the end of the comparison, and no failure of its row."""


@dataclass
class _Children:
    """The processes at work, to be told what the comparison is told: to end."""

    stopped: threading.Event = field(default_factory=threading.Event)
    running: set[subprocess.Popen[bytes]] = field(default_factory=set)

    def call(self, command: list[str], environment: dict[str, str], output: IO[str]) -> int:
        """Exit code of a command that writes to `output`.

        Raises:
            _Interrupted: the comparison is to end, or the command was.
        """
        if self.stopped.is_set():
            raise _Interrupted
        with subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT
        ) as child:
            self.running.add(child)
            if self.stopped.is_set():  # since it was asked above
                child.terminate()
            code = child.wait()
            self.running.discard(child)
        if code in (130, -signal.SIGINT) or (code and self.stopped.is_set()):
            raise _Interrupted
        return code

    @contextmanager
    def told(self) -> Iterator[None]:
        """Pass on Ctrl-C and SIGTERM, which a terminal sends to the runs as well, but `kill` and a scheduler do not."""

        def handler(number: int, frame: FrameType | None) -> None:
            self.stopped.set()
            for child in list(self.running):
                child.send_signal(number)
            raise KeyboardInterrupt

        numbers = (
            (signal.SIGINT, signal.SIGTERM)
            if threading.current_thread() is threading.main_thread()
            else ()
        )
        old = {number: signal.signal(number, handler) for number in numbers}
        try:
            yield
        finally:
            for number, previous in old.items():
                signal.signal(number, previous)


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        rows: keys of `ROWS`.
        budget: iterations of every run, whatever its model.
        preset: backbone and optimisation of every run.
        out: results, one JSON (and its examples) for each row and seed; the tables are made of these.
        runs: run folders.
        settings: `key=value` for every run.
        workers: runs at a time; processor cores, or GPUs, are shared among them.
    """

    rows: Sequence[str]
    seeds: Sequence[int]
    budget: int
    preset: str
    out: Path
    runs: Path
    settings: Sequence[str] = ()
    workers: int = 1
    device: str = "auto"
    vectors: Path | None = None

    def __post_init__(self) -> None:
        for key in self.rows:
            if key not in ROWS:
                raise ConfigError(f"There is no row {key!r}. There are: {', '.join(ROWS)}.")
        for name, value in (("--budget", self.budget), ("--workers", self.workers)):
            if value < 1:
                raise ConfigError(
                    f"{name} {value} is not possible: it must be a whole number from 1."
                )
        if "-wo-" in self.preset:
            raise ConfigError(
                f"--preset {self.preset} leaves a part out of CTSM; ablations are rows: --models table3."
            )
        self.config("ctsm", 0)

    def config(self, key: str, seed: int) -> Config:
        """The configuration of one run."""
        row = ROWS[key]
        name = f"{self.preset}-{row.part}" if row.part else self.preset
        return preset(name, self.changes(row, seed))

    def changes(self, row: Row, seed: int) -> list[str]:
        """What differs from the preset: the same for every row but for model and seed."""
        every = max(1, self.budget // CHECKPOINTS)
        return [
            f"max_iterations={self.budget}", f"check_every={every}", f"check_from={self.budget}", "patience=0",
            *self.settings, f"model={row.model}", f"seed={seed}",
        ]  # fmt: skip

    def result(self, key: str, seed: int) -> Path:
        """Where the scores of one run are kept; its examples lie beside them."""
        return self.out / "comparison" / f"{self.preset}-{self.budget}" / f"{key}-seed{seed}.json"

    def folder(self, key: str, seed: int) -> Path:
        """The run folder of one run."""
        return self.runs / f"{self.preset}-{self.budget}" / f"{key}-seed{seed}"


def missing(plan: Plan) -> list[tuple[str, int]]:
    """Rows and seeds without a result of exactly this configuration."""
    return [
        (key, seed) for seed in plan.seeds for key in plan.rows if not _is_done(plan, key, seed)
    ]


def _is_done(plan: Plan, key: str, seed: int) -> bool:
    path = plan.result(key, seed)
    if not path.is_file():
        return False
    result = read_json(path)
    found, run = result.get("config"), result.get("run")
    # When dev pairs are scored changes nothing where the last weights are kept.
    last = isinstance(run, dict) and run.get("iterations") in (plan.budget, 0)
    free = {"check_every", "check_from"} if last else {"check_every"}
    wanted = {
        name: value for name, value in plan.config(key, seed).asdict().items() if name not in free
    }
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is not a result of `ctsm compare`. Move it elsewhere.")
    if differing := [name for name, value in wanted.items() if found.get(name, value) != value]:
        name = differing[0]
        raise ConfigError(
            f"{path} is of a run with {name}={found[name]}, not {wanted[name]}. Choose another --out, or delete it to run this row again."
        )
    return True


def run_missing(
    plan: Plan, progress: bool = True, report: Callable[[str], None] = print
) -> list[str]:
    """Train and score every row and seed that has no result yet; interrupted runs go on.

    Args:
        report: told about each run that ends, and why one failed.

    Returns:
        What failed, as "row, seed N: last line of its log". The others are run all the same.
    """
    waiting = missing(plan)
    places: Queue[int] = Queue()
    for place in range(plan.workers):
        places.put(place)
    failed: list[str] = []
    children = _Children()

    def work(key: str, seed: int) -> None:
        place = places.get()
        try:
            _run(plan, key, seed, place, children)
        except _Interrupted:
            children.stopped.set()  # a worker is free before the loop below hears why
            raise
        finally:
            places.put(place)

    bar = tqdm(
        total=len(waiting), desc="runs", unit="run", disable=None if progress and waiting else True
    )
    with children.told(), ThreadPoolExecutor(plan.workers) as pool:
        jobs: dict[Future[None], tuple[str, int]] = {
            pool.submit(work, *item): item for item in waiting
        }
        try:
            for job, (key, seed) in _as_they_end(jobs):
                bar.update()
                try:
                    job.result()
                    report(f"{key}, seed {seed}: done")
                except _Interrupted:
                    raise
                except CtsmError as error:
                    failed.append(f"{key}, seed {seed}: {error}")
                    report(f"{key}, seed {seed}: FAILED: {error}")
        except (
            KeyboardInterrupt,
            _Interrupted,
        ):  # the runs have heard it, too, and end with a checkpoint
            pool.shutdown(cancel_futures=True)
            raise KeyboardInterrupt from None
    bar.close()
    return failed


def _as_they_end(
    jobs: dict[Future[None], tuple[str, int]],
) -> Iterator[tuple[Future[None], tuple[str, int]]]:
    pending = set(jobs)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        yield from ((job, jobs[job]) for job in done)


def _run(plan: Plan, key: str, seed: int, place: int, children: _Children) -> None:
    """Train and score one run; its output goes to a log beside its folder."""
    folder, result, row = plan.folder(key, seed), plan.result(key, seed), ROWS[key]
    folder.parent.mkdir(parents=True, exist_ok=True)
    name = f"{plan.preset}-{row.part}" if row.part else plan.preset
    sets = [part for change in plan.changes(row, seed) for part in ("--set", change)]
    vectors = ["--vectors", str(plan.vectors)] if plan.vectors else []
    common = [*vectors, "--device", plan.device, "--quiet"]
    begin = ["--resume"] if (folder / "run.json").is_file() else ["--preset", name]
    scores, examples = folder.parent / f".{folder.name}.json", result.with_suffix(".npz")
    log = folder.parent / f"{folder.name}.log"
    # A run that was trained with other strengths of these is as good: they are of answers only.
    leaning = [f"{name}={getattr(plan.config(key, seed), name)}" for name in LEANINGS]
    lean = [part for setting in leaning for part in ("--set", setting)]
    began = time.monotonic()
    with log.open("a", encoding="utf-8") as output:
        if not _trained(folder):
            _call(
                ["train", "--out", str(folder), *begin, *sets, *common],
                plan,
                place,
                output,
                log,
                children,
            )
        _call(
            ["evaluate", str(folder), "--json", str(scores), "--examples", str(examples), *lean, *common],
            plan, place, output, log, children,
        )  # fmt: skip
    value = read_json(scores)
    scores.unlink()
    value |= {
        "row": key, "budget": plan.budget, "config": read_run(folder)[0].override(leaning).asdict(),
        "seconds": round(time.monotonic() - began), "examples": examples.name,
    }  # fmt: skip
    write_json(result, value)


def _trained(folder: Path) -> bool:
    """Whether the last weights were scored: a run of a fixed budget checks at its end only."""
    return (folder / "best.safetensors").is_file()


def _call(
    arguments: list[str], plan: Plan, place: int, output: IO[str], log: Path, children: _Children
) -> None:
    environment = dict(os.environ)
    if plan.workers > 1 and plan.device in ("auto", "cuda"):
        import torch

        if count := torch.cuda.device_count():
            visible = environment.get(
                "CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))
            ).split(",")
            environment["CUDA_VISIBLE_DEVICES"] = visible[place % len(visible)]
    threads = max(1, (os.cpu_count() or 1) // plan.workers)
    environment.setdefault("OMP_NUM_THREADS", str(threads))
    command = [sys.executable, "-m", "ctsm_lib", *arguments]
    output.write(json.dumps(command) + "\n")
    output.flush()
    if code := children.call(command, environment, output):
        lines = [
            line
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.strip()
        ]
        raise CtsmError(f"{lines[-1] if lines else 'no output'} (exit code {code}; {log})")
