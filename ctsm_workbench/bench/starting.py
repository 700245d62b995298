"""Parts before there is a model: new processes, and a first preparation."""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path

from ctsm_workbench.bench.scaling import cut_files, grown
from ctsm_workbench.bench.task import Measured, Task, row

CODE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def start(task: Task) -> Measured:
    """New processes: imports, `ctsm --help`, and a run's start from the cache; the best of two."""
    task.prepared("train", "valid", "test")
    rows = {}
    for name, about in CODE["starts"].items():
        seconds, peak = min(_new_process(task, name) for _ in range(2))
        rows[name] = row(seconds, "s", target=about.get("target"), peak_mb=round(peak))
    limit = rows["import torch"]["value"]
    cached = rows["cached start"]["value"]
    share = {"limit": limit, "share_of_limit": limit / cached, "bound": "importing torch"}
    rows["cached start"] |= share
    return rows, {"cached_start_s": cached}


def preparation(task: Task) -> Measured:
    """A first preparation of all data, in an empty cache; it has no bound by arithmetic."""
    sizes = []
    seconds = []
    with tempfile.TemporaryDirectory() as place:
        for share in (16, 4, 1) if task.grow else (1,):
            part = Path(place) / f"part-{share}"
            part.mkdir()
            sizes.append(cut_files(task.sources.dialogues, part, share))
            dialogues = task.sources.dialogues if share == 1 else part
            some = replace(task, sources=replace(task.sources, dialogues=dialogues))
            taken, peak = _new_process(some, "cached start", CTSM_CACHE=str(part / "cache"))
            seconds.append(taken)
    measured = row(sizes[-1] / taken, "dialogues/s", peak_mb=round(peak))
    if task.grow:
        measured["growth"] = {"corpus": grown(sizes, seconds)}
    return {"preparation": measured}, {"prepare_s": taken}


def _new_process(task: Task, name: str, **environment: str) -> tuple[float, float]:
    """Seconds of one of the starts in a new process, and its peak memory in MB."""
    code = CODE["timed"].format_map({"before": ""} | CODE["starts"][name])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, input=task.as_json(),
        text=True, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak
