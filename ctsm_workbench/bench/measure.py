"""All parts, one after the other. Results are kept after each, whatever happens to the rest."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

import torch
from tqdm import tqdm

from ctsm_lib.config import Config
from ctsm_lib.errors import ConfigError, RunError
from ctsm_lib.run_folder import versions
from ctsm_workbench.bench import NETWORK, PARTS
from ctsm_workbench.bench.limits import Task


def measure(
    task: Task, parts: Sequence[str] = PARTS, *, progress: bool = False,
    keep: Callable[[dict], None] = lambda result: None,
) -> dict:  # fmt: skip
    """Measure parts of the work, each in a process of its own.

    The result has `parts`, a row by name (see `limits.row`); `failed`, a reason by part; and facts,
    among them peak_rss_mb and those of the parts. `keep` gets all of this after every part.
    Raises `ConfigError` where there is no such part, or the configuration has none.
    """
    _check(task, parts)
    config = task.config
    settings = {name: getattr(config, name) for name in ("preset", "precision", "batch_size")}
    machine = {"threads": torch.get_num_threads(), "versions": versions()}
    result: dict = settings | machine | {"data": task.sources.describe(), "parts": {}, "failed": {}}
    bar = tqdm(parts, unit="part", disable=None if progress else True)
    for part in bar:
        bar.set_description(part)
        try:
            text = json.dumps(_in_own_process(part, task))
            # Five significant digits everywhere.
            measured = json.loads(text, parse_float=lambda found: float(f"{float(found):.5g}"))
            result |= measured["facts"]
            result["parts"] |= measured["rows"]
            peaks = [row["peak_mb"] for row in result["parts"].values() if "peak_mb" in row]
            result["peak_rss_mb"] = max(peaks, default=None)
        except RunError as error:
            result["failed"][part] = str(error)
        except KeyboardInterrupt:
            result["failed"][part] = "interrupted"
            raise
        finally:
            keep(result)
    return result


def fitting(config: Config, parts: Sequence[str] = PARTS) -> list[str]:
    """Those of the parts that can be measured with a configuration."""
    missing = list(NETWORK) if config.model == "tfidf" else []
    if config.model != "ctsm" or not config.state:
        missing.append("contextual")
    return [part for part in parts if part not in missing]


def table(result: dict) -> str:
    """The rows for people to read, and below each row the growth of its time."""
    lines = [f"{'':<16}{'rate or time':>24}{'peak MB':>10}{'of limit':>10}  bound"]
    for name, row in result["parts"].items():
        rate = f"{row['value']:{',.0f' if row['value'] >= 100 else '.3g'}} {row['unit']}"
        share = f"{100 * row['share_of_limit']:.0f} %" if "share_of_limit" in row else "-"
        line = f"{name:<16}{rate:>24}{row.get('peak_mb', '-'):>10}{share:>10}"
        lines.append(f"{line}  {row.get('bound', '')}".rstrip())
        for axis, found in row.get("growth", {}).items():
            sizes = ", ".join(f"{size:,}" for size in found["sizes"])
            slope = "-" if found["slope"] is None else f"{found['slope']:.2f}"
            lines.append(f"    time grows with {axis} ({sizes}) by the power {slope}")
    return "\n".join(lines)


def _check(task: Task, parts: Sequence[str]) -> None:
    """Refuse what cannot be measured before the work begins, which takes minutes."""
    fit = fitting(task.config)
    for part in parts:
        if part not in PARTS:
            known = ", ".join(PARTS)
            raise ConfigError(f"There is no part {part!r} to measure. There are: {known}.")
        if part not in fit:
            settings = f"model={task.config.model} and state={str(task.config.state).lower()}"
            raise ConfigError(f"{part} cannot be measured with {settings}: name other --parts.")
    if not task.seconds > 0:
        raise ConfigError(f"--seconds {task.seconds:g} is not possible: it must be above 0.")


def _in_own_process(part: str, task: Task) -> dict:
    """Rows and facts of a part. Raises RunError with the part's own message, if it has one."""
    command = [sys.executable, "-m", "ctsm_workbench.bench.parts", part]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # Ctrl-C does not reach another process group: the part and its children are ended from here.
    with subprocess.Popen(command, process_group=0, **pipes) as process:  # type: ignore[call-overload]
        try:
            output, complaint = process.communicate(task.as_json().encode())
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode < 0:
        number = -process.returncode
        raise RunError(f"its process was ended by signal {number}; is there too little memory?")
    if process.returncode:
        lines = complaint.decode(errors="replace").strip().splitlines()
        raise RunError(lines[-1] if lines else "its process ended without a message")
    return dict(json.loads(output.splitlines()[-1]))
