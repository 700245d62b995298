"""Parts before there is a model: new processes, and a first preparation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from ctsm_lib.config import Config
from ctsm_lib.sources import Sources
from ctsm_workbench.bench.scaling import cut_files, grown
from ctsm_workbench.bench.task import Measured, Task, row

_PREPARE = """
from ctsm_lib.config import Config; from ctsm_lib.prepare import prepare; from ctsm_lib.sources import Sources
from pathlib import Path
config, sources = json.loads(sys.argv[1])
sources = Sources(**{name: Path(v) if v and name != "origin" else v for name, v in sources.items()})
prepare(Config.from_dict(config), sources, progress=False)
"""
_STARTS = {  # name -> what comes before the clock runs, what is timed, target in seconds
    "import torch": ("", "import torch", None),
    "import ctsm_lib": ("import torch", "import ctsm_lib.training, ctsm_lib.runs", 1.5),
    "cached start": ("", _PREPARE, 2.0),
}


def start(task: Task) -> Measured:
    """New processes: importing, `ctsm --help`, and all that a run needs from the cache; the better of two tries each."""
    task.prepared("train", "valid", "test")
    argument = _argument(task.config, task.sources)
    rows = {}
    for name, (before, code, target) in _STARTS.items():
        seconds, peak = min(_new_process(before, code, argument) for _ in range(2))
        rows[name] = row(seconds, "s", target=target, peak_mb=round(peak))
    torch_alone, cached = rows["import torch"]["value"], rows["cached start"]["value"]
    rows["cached start"] |= {
        "limit": torch_alone,
        "share_of_limit": torch_alone / cached,
        "bound": "importing torch",
    }
    rows["ctsm --help"] = row(min(_help() for _ in range(2)), "s", target=0.5)
    return Measured(rows, {"cached_start_s": cached})


def preparation(task: Task) -> Measured:
    """A first preparation of all data, in an empty cache. Python and sparse matrices: no bound by arithmetic."""
    folder = task.sources.dialogues
    with tempfile.TemporaryDirectory() as place:
        sizes, seconds = [], []
        for share in (16, 4) if task.grow else ():
            part = Path(place) / f"part-{share}"
            part.mkdir()
            sizes.append(cut_files(folder, part, share))
            argument = _argument(task.config, replace(task.sources, dialogues=part))
            seconds.append(_new_process("", _PREPARE, argument, Path(place) / f"cache-{share}")[0])
        whole, peak = _new_process(
            "", _PREPARE, _argument(task.config, task.sources), Path(place) / "cache"
        )
        dialogues = cut_files(folder, Path(place), 1)
    growing = grown([*sizes, dialogues], [*seconds, whole])
    measured = row(
        dialogues / whole, "dialogues/s", peak_mb=round(peak), **task.grew(corpus=growing)
    )
    return Measured({"preparation": measured}, {"prepare_s": whole})


def _help() -> float:
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ctsm_lib", "--help"], stdout=subprocess.DEVNULL, check=True
    )
    return time.perf_counter() - begun


def _argument(config: Config, sources: Sources) -> str:
    return json.dumps([asdict(config), asdict(sources)], default=str)


def _new_process(
    before: str, code: str, argument: str, cache: Path | None = None
) -> tuple[float, float]:
    """Seconds of some code in a new process, its imports included, and the process's peak memory in MB."""
    script = (
        f"import json, sys, time\n{before}\nbegun = time.perf_counter()\n{code}\nseconds = time.perf_counter() - begun\n"
        "from ctsm_workbench.bench.memory import peak_memory; print(json.dumps([seconds, peak_memory()]))"
    )
    environment = os.environ | ({"CTSM_CACHE": str(cache)} if cache else {})
    done = subprocess.run(
        [sys.executable, "-c", script, argument],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak
