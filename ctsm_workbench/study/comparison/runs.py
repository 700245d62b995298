"""Missing runs: each row and seed has a process of its own, so that a failure stays alone."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import torch
from tqdm import tqdm

from ctsm_lib.config import Config, preset
from ctsm_lib.errors import ConfigError, CtsmError
from ctsm_lib.files import read_json, write_json
from ctsm_lib.run_folder import read_run
from ctsm_workbench.study.comparison.tables import ROWS, Row

CHECKPOINTS = 4  # of a run, at least: an interruption costs a quarter of it at most


@dataclass(frozen=True)
class Plan:
    """Rows and seeds to compare, and the settings that all of them share."""

    rows: Sequence[str]  # keys of `ROWS`
    seeds: Sequence[int]
    budget: int  # iterations of every run, whatever its model
    preset: str  # backbone and optimisation of every run
    out: Path  # results, one JSON (and its examples) for each row and seed
    runs: Path  # run folders
    settings: Sequence[str] = ()  # `key=value` for every run
    workers: int = 1  # runs at a time; they share the processor cores or the GPUs
    device: str = "auto"
    vectors: Path | None = None

    def __post_init__(self) -> None:
        for key in self.rows:
            if key not in ROWS:
                raise ConfigError(f"There is no row {key!r}. There are: {', '.join(ROWS)}.")
        for name, value in (("--budget", self.budget), ("--workers", self.workers)):
            if value < 1:
                raise ConfigError(f"{name} {value} is not possible: use a whole number from 1.")
        if "-wo-" in self.preset:
            way_out = "Ablations are rows of the table: use --models table3."
            raise ConfigError(f"--preset {self.preset} leaves a part out of CTSM. {way_out}")
        self.config("ctsm", 0)  # raises for an unknown preset or setting

    def config(self, key: str, seed: int) -> Config:
        """The configuration of one run."""
        row = ROWS[key]
        name = f"{self.preset}-{row.part}" if row.part else self.preset
        return preset(name, self.changes(row, seed))

    def changes(self, row: Row, seed: int) -> list[str]:
        """Settings that differ from the preset; the same for all rows but what makes the row."""
        every = max(1, self.budget // CHECKPOINTS)
        changes = [f"max_iterations={self.budget}", f"check_every={every}", "patience=0"]
        changes += [f"check_from={self.budget}", *self.settings]
        return [*changes, *row.settings, f"model={row.model}", f"seed={seed}"]

    def result(self, key: str, seed: int) -> Path:
        """The file with the scores of one run; its examples lie beside it."""
        return self.out / "comparison" / f"{self.preset}-{self.budget}" / f"{key}-seed{seed}.json"

    def folder(self, key: str, seed: int) -> Path:
        """The run folder of one run."""
        return self.runs / f"{self.preset}-{self.budget}" / f"{key}-seed{seed}"


def missing(plan: Plan) -> list[tuple[str, int]]:
    """Rows and seeds without a result; a `ConfigError` if there is one of another configuration."""
    waiting = []
    for key, seed in ((key, seed) for seed in plan.seeds for key in plan.rows):
        if not (path := plan.result(key, seed)).is_file():
            waiting.append((key, seed))
            continue
        result = read_json(path)
        found = result.get("config")
        run = result.get("run") or {}
        if not isinstance(found, dict) or not isinstance(run, dict):
            raise ConfigError(f"{path} is not a result of `ctsm compare`. Move it elsewhere.")
        # The last weights are the same, whenever dev pairs are scored.
        last = run.get("iterations") in (plan.budget, 0)
        free = ("check_every", "check_from") if last else ("check_every",)
        for name, wanted in plan.config(key, seed).asdict().items():
            if name not in free and found.get(name, wanted) != wanted:
                way_out = "Choose another --out, or delete the file to run this row again."
                made = f"{path} is the result of a run with {name}={found[name]}"
                raise ConfigError(f"{made}, not {wanted}. {way_out}")
    return waiting


def _environments(plan: Plan) -> list[dict[str, str]]:
    """An environment for each worker: its share of the cores; with several workers, its own GPU."""
    threads = max(1, (os.cpu_count() or 1) // plan.workers)
    shared = {"OMP_NUM_THREADS": str(threads)} | dict(os.environ)
    count = torch.cuda.device_count() if plan.device in ("auto", "cuda") else 0
    if not count or plan.workers == 1:
        return [shared] * plan.workers
    visible = shared.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
    places = [visible[worker % len(visible)] for worker in range(plan.workers)]
    return [shared | {"CUDA_VISIBLE_DEVICES": place} for place in places]


def run_missing(plan: Plan, progress: bool = True, report: Callable = print) -> list[str]:
    """Train and score every row and seed that has no result yet; interrupted runs continue.

    `report` gets a line about each run that ends. A run that fails does not stop the others.
    Returns the failures, as "row, seed N: last line of its log"; an interruption of the comparison
    or of one of its runs raises `KeyboardInterrupt`.
    """
    waiting = missing(plan)
    free = _environments(plan)
    stopped = threading.Event()
    failed = []
    quiet = None if progress and waiting else True
    # SIGTERM, which schedulers send, interrupts like Ctrl-C.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    pool = ThreadPoolExecutor(plan.workers)
    try:
        jobs = {pool.submit(_run, plan, *item, free, stopped): item for item in waiting}
        done = as_completed(jobs)
        for job in tqdm(done, total=len(waiting), desc="runs", unit="run", disable=quiet):
            name = "{}, seed {}".format(*jobs[job])
            try:
                job.result()
                report(f"{name}: done")
            except CtsmError as error:
                failed.append(f"{name}: {error}")
                report(f"{name}: FAILED: {error}")
    finally:
        # After an interruption the running processes end with a checkpoint; else there are none.
        stopped.set()
        pool.shutdown(cancel_futures=True)
        signal.signal(signal.SIGTERM, before)
    return failed


def _run(
    plan: Plan, key: str, seed: int, free: list[dict[str, str]], stopped: threading.Event
) -> None:
    """Train and score one run in one of the `free` environments; its output is kept in a log."""
    config = plan.config(key, seed)
    folder = plan.folder(key, seed)
    result = plan.result(key, seed)
    log = folder.with_name(f"{folder.name}.log")
    scores = folder.with_name(f".{folder.name}.json")
    examples = result.with_suffix(".npz")
    began = time.monotonic()

    def call(*arguments: str, settings: Sequence[str]) -> None:
        command = [sys.executable, "-m", "ctsm_lib", *arguments, "--device", plan.device, "--quiet"]
        command += ["--vectors", str(plan.vectors)] if plan.vectors else []
        command += [part for setting in settings for part in ("--set", setting)]
        environment = free.pop()  # there is one for each worker
        with log.open("a", encoding="utf-8") as output:
            output.write(json.dumps(command) + "\n")
            output.flush()
            code = _exit_code(command, environment, output, stopped=stopped)
        free.append(environment)
        if code:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            last = [line for line in lines if line.strip()][-1]
            raise CtsmError(f"{last} (exit code {code}; {log})")

    folder.parent.mkdir(parents=True, exist_ok=True)
    # A run of a fixed budget scores the dev split at its end only: then it has best weights.
    if not (folder / "best.safetensors").is_file():
        begin = ["--resume"] if (folder / "run.json").is_file() else ["--preset", config.preset]
        call("train", "--out", str(folder), *begin, settings=plan.changes(ROWS[key], seed))
    # These change answers only: a run that was trained with other values is not trained again.
    biases = [f"{name}={value}" for name, value in asdict(config.answer_bias()).items()]
    files = ["--json", str(scores), "--examples", str(examples)]
    call("evaluate", str(folder), *files, settings=biases)
    value = read_json(scores)
    scores.unlink()
    value |= {"row": key, "budget": plan.budget, "examples": examples.name}
    value["config"] = read_run(folder)[0].override(biases).asdict()
    value["seconds"] = round(time.monotonic() - began)
    write_json(result, value)


def _exit_code(
    command: list[str], environment: dict[str, str], output: IO[str], *, stopped: threading.Event
) -> int:
    """Run a command; a `KeyboardInterrupt` where it, or another run, was stopped by somebody."""
    if stopped.is_set():
        raise KeyboardInterrupt
    with subprocess.Popen(command, env=environment, stdout=output, stderr=output) as child:
        while child.poll() is None:
            if stopped.wait(0.1):
                child.terminate()  # it may have got a terminal's Ctrl-C already
                break
    if child.returncode in (130, -signal.SIGINT):
        stopped.set()  # here, so that this worker does not begin the next row
    if child.returncode and stopped.is_set():
        raise KeyboardInterrupt
    return child.returncode
