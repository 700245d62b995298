"""Parts before there is a model: new processes, and a first preparation."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from ctsm_workbench.bench.scaling import cut_files, grown
from ctsm_workbench.bench.task import Measured, Task, row

_TIMED = """
import json, subprocess, sys, time
{before}
begun = time.perf_counter()
{code}
seconds = time.perf_counter() - begun
from ctsm_workbench.bench import peak_memory
print(json.dumps([seconds, peak_memory()]))
"""
_PREPARE = """
from ctsm_workbench.bench.task import Task, prepare
task = Task.from_json(sys.stdin.read())
prepare(task.config, task.sources, progress=False)
"""
_HELP = """
command = [sys.executable, "-m", "ctsm_lib", "--help"]
subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
"""
_STARTS = {  # name -> code before the clock starts, code that is timed, target in seconds
    "import torch": ("", "import torch", None),
    "import ctsm_lib": ("import torch", "import ctsm_lib.training, ctsm_lib.runs", 1.5),
    "cached start": ("", _PREPARE, 2.0),
    "ctsm --help": ("", _HELP, 0.5),
}


def start(task: Task) -> Measured:
    """New processes: imports, `ctsm --help`, and a run's start from the cache; the best of two."""
    task.prepared("train", "valid", "test")
    rows = {}
    for name, (before, code, target) in _STARTS.items():
        seconds, peak = min(_new_process(task, before, code) for _ in range(2))
        rows[name] = row(seconds, "s", target=target, peak_mb=round(peak))
    limit = rows["import torch"]["value"]
    cached = rows["cached start"]["value"]
    share = {"share_of_limit": limit / cached, "bound": "importing torch"}
    rows["cached start"] |= {"limit": limit} | share
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
            taken, peak = _new_process(some, "", _PREPARE, CTSM_CACHE=str(part / "cache"))
            seconds.append(taken)
    measured = row(sizes[-1] / taken, "dialogues/s", peak_mb=round(peak))
    if task.grow:
        measured["growth"] = {"corpus": grown(sizes, seconds)}
    return {"preparation": measured}, {"prepare_s": taken}


def _new_process(task: Task, before: str, code: str, **environment: str) -> tuple[float, float]:
    """Seconds of some code in a new process, with its imports, and the peak memory in MB."""
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(before=before, code=code)],
        env=os.environ | environment,
        input=task.as_json(),
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak
