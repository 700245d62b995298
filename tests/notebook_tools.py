"""Tools that the lessons' tests share: the builder, the lessons, and a run in a fresh kernel."""

import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest
from filelock import FileLock

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def load(name: str):
    """A script of the notebooks folder as a module."""
    spec = importlib.util.spec_from_file_location(name, NOTEBOOKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def train_run(environment: dict[str, str], origin: str, monkeypatch) -> None:
    """The run that lessons look into, as lesson 00 would have made it."""
    from ctsm_lib.prepare import prepare
    from ctsm_lib.sources import find_sources
    from ctsm_workbench.course.lessons import lesson_config
    from ctsm_workbench.running.train import train

    for name in ("CTSM_DATA", "CTSM_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    prepared = prepare(lesson_config(origin), find_sources(), progress=False)
    train(lesson_config(origin), prepared, Path(environment["CTSM_RUN"]), cpu=True, progress=False)


def sample_environment(base: Path) -> dict[str, str]:
    """One cache and one trained run for all lessons, as in a class where lesson 00 was run before.

    Args:
        base: pytest's folder of this process; several processes share what lies above it.
    """
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = shared / "lessons"
    environment = {"CTSM_CACHE": str(folder / "cache"), "CTSM_RUN": str(folder / "run")}
    with FileLock(shared / "lessons.lock"), pytest.MonkeyPatch.context() as patch:
        if not (folder / "run" / "best.safetensors").is_file():
            train_run(environment, "sample", patch)
    return environment


def run_lesson(
    build, path: Path, form: str, environment: dict[str, str], monkeypatch, timeout: int
) -> None:
    """Run a lesson, "student" (unsolved) or "solved"; its exercises must wait, or be solved."""
    monkeypatch.delenv("CTSM_DATA", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    notebook = getattr(build, form)(build.read_master(path))
    build.execute(notebook, NOTEBOOKS, timeout=timeout)
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    exercises = [cell for cell in notebook.cells if build.EXERCISE.search(cell.source)]
    assert len(re.findall("waits for you" if form == "student" else "is solved", printed)) == len(
        exercises
    )
