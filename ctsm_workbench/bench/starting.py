"""Parts before there is a model: new processes, and a first preparation."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from ctsm_workbench.bench.limits import shortest
from ctsm_workbench.bench.scaling import cut_files, grown
from ctsm_workbench.bench.task import Measured, Task, row

_PREPARE = """
import pickle
from ctsm_lib.prepare import prepare
config, sources = pickle.load(sys.stdin.buffer)
prepare(config, sources, progress=False)
"""
_STARTS = {  # name -> code before the clock starts, code that is timed, target in seconds
    "import torch": ("", "import torch", None),
    "import ctsm_lib": ("import torch", "import ctsm_lib.training, ctsm_lib.runs", 1.5),
    "cached start": ("", _PREPARE, 2.0),
}


def start(task: Task) -> Measured:
    """New processes: imports, `ctsm --help`, and a run's start from the cache; the best of two."""
    task.prepared("train", "valid", "test")
    rows = {}
    for name, (before, code, target) in _STARTS.items():
        seconds, peak = min(_new_process(task, before, code) for _ in range(2))
        rows[name] = row(seconds, "s", target=target, peak_mb=round(peak))
    torch_alone = rows["import torch"]["value"]
    cached = rows["cached start"]["value"]
    rows["cached start"] |= {
        "limit": torch_alone,
        "share_of_limit": torch_alone / cached,
        "bound": "importing torch",
    }
    rows["ctsm --help"] = row(shortest(_help, 0, 2), "s", target=0.5)
    return rows, {"cached_start_s": cached}


def preparation(task: Task) -> Measured:
    """A first preparation of all data, in an empty cache; it has no bound by arithmetic."""
    folder = task.sources.dialogues
    sizes = []
    seconds = []
    with tempfile.TemporaryDirectory() as place:
        for share in (16, 4, 1) if task.grow else (1,):
            part = Path(place) / f"part-{share}"
            part.mkdir()
            sizes.append(cut_files(folder, part, share))
            sources = task.sources if share == 1 else replace(task.sources, dialogues=part)
            some = replace(task, sources=sources)
            taken, peak = _new_process(some, "", _PREPARE, Path(place) / f"cache-{share}")
            seconds.append(taken)
    measured = row(sizes[-1] / taken, "dialogues/s", peak_mb=round(peak))
    if task.grow:
        measured["growth"] = {"corpus": grown(sizes, seconds)}
    return {"preparation": measured}, {"prepare_s": taken}


def _help() -> None:
    command = [sys.executable, "-m", "ctsm_lib", "--help"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _new_process(
    task: Task, before: str, code: str, cache: Path | None = None
) -> tuple[float, float]:
    """Seconds of some code in a new process, with its imports, and the peak memory in MB."""
    script = f"""
import json, sys, time
{before}
begun = time.perf_counter()
{code}
seconds = time.perf_counter() - begun
from ctsm_workbench.bench import peak_memory
print(json.dumps([seconds, peak_memory()]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | ({"CTSM_CACHE": str(cache)} if cache else {}),
        input=pickle.dumps((task.config, task.sources)),
        stdout=subprocess.PIPE,
        check=True,
    )
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak
