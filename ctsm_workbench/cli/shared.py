"""The first and last steps that several commands share.

Functions import what needs torch when they are called, so that `ctsm --help` is quick.
"""

import json
import math
import os
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ctsm_lib.config import Config, preset
from ctsm_lib.errors import ConfigError, DataError
from ctsm_lib.files import write_json
from ctsm_lib.settings import AnswerBias, overridden
from ctsm_lib.sources import find_sources

if TYPE_CHECKING:
    from ctsm_lib.decoding import Decoding
    from ctsm_lib.knowledge import Provider
    from ctsm_lib.prepare import Prepared
    from ctsm_lib.runs import Run

Texts = list[str] | None
SPLITS = ("train", "valid", "test")
TEXTS = tomllib.loads(Path(__file__).with_name("options.toml").read_text(encoding="utf-8"))


def speaks() -> bool:
    """True in the process that prints and writes; of several, that is the first one."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str, error: bool = False) -> None:
    """Print a line, in one process only."""
    if speaks():
        typer.echo(text, err=error)


def report(name: str, /, **facts: object) -> None:
    """Print a text of `options.toml` with these facts filled in, in one process only."""
    say(TEXTS["reports"][name].format_map(facts))


@contextmanager
def together(device: str, quiet: bool) -> Iterator[dict[str, Any]]:
    """Work with processes that were launched together; yields options of what they do."""
    from ctsm_workbench.running import processes

    chosen = chosen_device(device)
    processes.meet(chosen)
    yield {"device": chosen, "progress": speaks() and not quiet}
    processes.leave()


def chosen_device(name: str) -> str:
    """The device for --device NAME. Raises ConfigError where there is no such device."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if name.partition(":")[0] not in ("cpu", "cuda", "mps"):
            raise RuntimeError("it must be cpu, cuda, mps or auto")
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device {name} cannot be used here: {reason}") from None
    return name


def configured(name: str, settings: Texts, vectors: Path | None) -> Config:
    """The configuration of a preset, by default a small one for the sample, else `improved`."""
    if not name:
        name = "sample" if find_sources(vectors=vectors).origin == "sample" else "improved"
    return preset(name, settings or [])


def prepared_data(
    config: Config, vectors: Path | None, splits: Sequence[str] = SPLITS, device: str = "cpu", *,
    progress: bool,
) -> "Prepared":  # fmt: skip
    """The data prepared for a configuration."""
    from ctsm_lib.prepare import prepare

    sources = find_sources(vectors=vectors)
    if sources.origin == "sample" and progress:
        say("Using the small invented sample (no CTSM_DATA, no data/raw).", error=True)
    return prepare(config, sources, splits, device=device, progress=progress)


def open_run(folder: Path, device: str = "cpu") -> "Run":
    """A trained run; a note about its weights is printed."""
    from ctsm_lib.runs import load_run

    run = load_run(folder, device)
    print_notes(run.note)
    return run


def provider_of(run: "Run") -> tuple["Provider", str]:
    """The commonsense of a run, and a note. A run can answer without data to retrieve it from."""
    sources = None
    with suppress(DataError):
        sources = find_sources()
    return run.provider(sources)


def ready_to_answer(run: "Run", method: str, settings: Texts) -> tuple["Run", "Decoding"]:
    """The run with the biases of its answers that were set, and the way to choose answers."""
    from ctsm_lib.decoding import Decoding

    names = [field.name for field in fields(AnswerBias)]
    biases = [text for text in settings or () if text.partition("=")[0].strip() in names]
    others = [text for text in settings or () if text not in biases]
    if biases:
        run = run.biased(overridden(run.config.answer_bias(), biases))
    how = overridden(Decoding(max_length=run.config.max_response), [f"method={method}", *others])
    return run, how


def parts(text: str) -> list[str]:
    """The parts of an option with commas between them."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(option: str, text: str, kind: type) -> list[Any]:
    """The numbers of an option such as `--tilt 0,0.1,0.2`."""
    with suppress(ValueError):
        if all(map(math.isfinite, found := [kind(part) for part in parts(text)])):
            return found
    wanted = "whole numbers" if kind is int else "finite numbers"
    raise ConfigError(f"{option} {text} is not possible: write {wanted} with commas, as in 0,1,2.")


def check_writable(*paths: Path | None) -> None:
    """Refuse a file that cannot be written before the work for it begins, which takes minutes."""
    for path in filter(None, paths):
        folder = next((parent for parent in path.absolute().parents if parent.exists()), path)
        if path.is_dir():
            raise ConfigError(f"{path} is a folder. Name a file in it.")
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ConfigError(f"{path} cannot be written: {folder} is not a writable folder.")


def print_notes(*notes: str) -> None:
    """Print remarks for the user; empty ones are left out."""
    for text in filter(None, notes):
        say(f"note: {text}", error=True)


def save_json(value: dict[str, Any], *paths: Path | None) -> None:
    """Write a result as JSON to the files that were named for it."""
    for path in filter(None, paths):
        write_json(path, value)


def print_json(value: dict[str, Any]) -> None:
    """Print a result for a program to read."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1))


def print_scores(scores: dict[str, Any]) -> None:
    """Print scores, and below them the run that they belong to."""
    for name, value in scores.items():
        if isinstance(value, int | float):
            form = ",.2f" if isinstance(value, float) else ","
            typer.echo(f"{name:<20} {value:>10{form}}")
    for name, value in scores.get("run", {}).items():
        typer.echo(f"  {name}: {value}")


def draw(figure: Any, data: dict[str, Any], out: Path, name: str, extra: str = "") -> None:
    """Write a figure and its data, and print the names of the files."""
    from ctsm_workbench.pictures import write_figure

    for path in write_figure(figure, data, out, name, extra):
        typer.echo(str(path))


def end_with(failed: Sequence[str]) -> None:
    """Name all that failed, if anything did, and end with exit code 1."""
    for text in failed:
        typer.echo(f"failed: {text}", err=True)
    if failed:
        raise typer.Exit(1)
