"""All parts, one after the other; what is finished is kept, whatever becomes of the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from ctsm_lib.config import Config
from ctsm_lib.errors import ConfigError, RunError
from ctsm_lib.sources import Sources
from ctsm_lib.versions import versions
from ctsm_workbench.bench import PARTS
from ctsm_workbench.bench.task import Task

NETWORK = {"training", "scoring", "decoding"}


def measure(
    config: Config,
    sources: Sources,
    seconds: float = 20.0,
    run: Path | None = None,
    *,
    parts: Sequence[str] = PARTS,
    grow: bool = True,
    progress: bool = False,
    keep: Callable[[dict], None] = lambda result: None,
) -> dict:
    """Measure parts of the work, each in a process of its own.

    Args:
        config: whose model and batch size count.
        seconds: how long training is measured; other parts take about as long or less.
        run: a trained run to answer with, over the whole test split, and to read with; without one, an untrained model
            answers a part of it, always with as many words as there may be.
        parts: which, of `PARTS`.
        grow: also measure how time grows with batch, context length, vocabulary and corpus.
        keep: gets the result after every part.

    Returns:
        parts: row by name, see `task.row`; failed: part -> why. Of the parts that were measured: train_examples_per_s,
        train_limit_examples_per_s (FLOPs of a step at the matrix-product rate of this machine),
        train_fraction_of_limit, decode_answers_per_s, decode_one_s, prepare_s, cached_start_s, peak_rss_mb and what they
        were measured on.

    Raises:
        ConfigError: there is no such part, or nothing that a network computes to be measured.
    """
    check(config, parts, seconds)
    task = Task(config, sources, seconds, run, grow)
    result: dict = {
        "threads": torch.get_num_threads(), "preset": config.preset, "precision": config.precision,
        "batch_size": config.batch_size, "data": sources.describe(), "versions": versions(), "parts": {}, "failed": {},
    }  # fmt: skip
    with tqdm(total=len(parts), unit="part", disable=None if progress else True) as bar:
        for part in parts:
            bar.set_description(part)
            try:
                measured = _in_own_process(part, task)
            except RunError as error:
                result["failed"][part] = str(error)
            except KeyboardInterrupt:
                result["failed"][part] = "interrupted"
                keep(result)
                raise
            else:
                result |= _rounded(measured["facts"])
                result["parts"] |= _rounded(measured["rows"])
                peaks = [row["peak_mb"] for row in result["parts"].values() if "peak_mb" in row]
                result["peak_rss_mb"] = max(peaks, default=None)
            keep(result)
            bar.update()
    return result


def fitting(config: Config, parts: Sequence[str] | None = None) -> list[str]:
    """The parts, all by default, that a configuration has."""
    without = set()
    if config.model == "tfidf":
        without |= NETWORK
    if config.model != "ctsm" or not config.state:
        without.add("contextual")
    return [part for part in parts or PARTS if part not in without]


def check(config: Config, parts: Sequence[str], seconds: float) -> None:
    """Refuse, before minutes of work, what cannot be measured.

    Raises:
        ConfigError: see `measure`.
    """
    if unknown := [part for part in parts if part not in PARTS]:
        raise ConfigError(
            f"There is no part {unknown[0]!r} to measure. There are: {', '.join(PARTS)}."
        )
    if not seconds > 0:
        raise ConfigError(f"--seconds {seconds:g} is not possible: it must be above 0.")
    if missing := [part for part in parts if part not in fitting(config, parts)]:
        settings = f"model={config.model} and state={str(config.state).lower()}"
        raise ConfigError(f"{missing[0]} cannot be measured with {settings}: name other --parts.")


def table(result: dict) -> str:
    """The rows for people to read, and below each how its time grows."""
    lines = [f"{'':<16}{'rate or time':>24}{'peak MB':>10}{'of limit':>10}  bound"]
    for name, row in result["parts"].items():
        share = f"{100 * row['share_of_limit']:.0f} %" if "share_of_limit" in row else "-"
        value = row["value"]
        told = f"{value:,.0f} {row['unit']}" if value >= 100 else f"{value:.3g} {row['unit']}"
        lines.append(
            f"{name:<16}{told:>24}{row.get('peak_mb', '-'):>10}{share:>10}  {row.get('bound', '')}".rstrip()
        )
        for axis, found in row.get("growth", {}).items():
            sizes = ", ".join(f"{size:,}" for size in found["sizes"])
            slope = "-" if found["slope"] is None else f"{found['slope']:.2f}"
            lines.append(f"    time grows with {axis} ({sizes}) by the power {slope}")
    return "\n".join(lines)


def _in_own_process(part: str, task: Task) -> dict:
    """Raises: RunError: the part failed; the message is its own where it has one."""
    command = [sys.executable, "-m", "ctsm_workbench.bench", part]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # In a group of its own, so that Ctrl-C ends it and its children by us, and only once.
    with subprocess.Popen(command, text=True, process_group=0, **pipes) as process:  # type: ignore[call-overload]
        try:
            said, complaint = process.communicate(task.dumps())
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode < 0:
        raise RunError(
            f"its process was ended by signal {-process.returncode}; is there too little memory?"
        )
    if process.returncode:
        raise RunError((complaint.strip().splitlines() or ["it ended without a word"])[-1])
    measured: dict = json.loads(said.splitlines()[-1])
    return measured


def _rounded(value):  # type: ignore[no-untyped-def]
    """Five significant digits everywhere."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value
