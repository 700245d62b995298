"""What several commands share: options, the data they begin with, the file and the scores they end with."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:  # these import torch, and `ctsm --help` is to be quick
    from ctsm_lib.config import Config
    from ctsm_lib.decoding import Decoding
    from ctsm_lib.prepare import Prepared
    from ctsm_lib.runs import Run as TrainedRun

# Typer reads annotations when it runs, and wants `Optional` where a value may be absent.
Run = Annotated[Path, typer.Argument(help="Run folder.")]
Vectors = Annotated[
    Path | None, typer.Option("--vectors", help="Word vectors: GloVe text or .npz.")
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting: key=value. Repeatable.")
]
DecodingSets = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--set",
        help="How to answer: key=value, of decoding, or copy_bias, tilt, repeat_bias. Repeatable.",
    ),
]
Method = Annotated[str, typer.Option(help="greedy, beam or nucleus.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write the result as JSON to this file.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
Device = Annotated[
    str, typer.Option(help="cpu, cuda, mps or auto (an accelerator where there is one).")
]


def prepared_data(
    preset_name: str,
    settings: list[str] | None,
    vectors: Path | None,
    quiet: bool,
    config: Config | None = None,
    splits: Sequence[str] = ("train", "valid", "test"),
    device: str = "cpu",
) -> tuple[Config, Prepared]:
    """Configuration and data; which preset is the default depends on whether there is real data."""
    from ctsm_lib.config import preset
    from ctsm_lib.parallel import speaks
    from ctsm_lib.prepare import prepare
    from ctsm_lib.sources import find_sources

    sources = find_sources(vectors=vectors)
    if config is None:
        default = "sample" if sources.origin == "sample" else "improved"
        config = preset(preset_name or default, settings or [])
    if sources.origin == "sample" and not quiet and speaks():
        typer.echo("Using the small invented sample (no CTSM_DATA, no data/raw).", err=True)
    return config, prepare(config, sources, splits, device=device, progress=not quiet)


def chosen_device(name: str) -> str:
    """The device that a name stands for; a ConfigError where it is not to be had."""
    import torch

    from ctsm_lib.errors import ConfigError

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if name.partition(":")[0] not in ("cpu", "cuda", "mps"):
            raise RuntimeError("it is none of cpu, cuda, mps, auto")
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {name} is not to be had here: {str(error).splitlines()[0]}"
        ) from None
    return name


def shared_device(name: str) -> str:
    """The device that a name stands for, after meeting the processes that were launched together with this one."""
    from ctsm_lib import parallel

    chosen = chosen_device(name)
    parallel.meet(chosen)
    return chosen


def decoding(run: TrainedRun, method: str, settings: list[str] | None) -> Decoding:
    """How answers are chosen; the run is told how they are to lean."""
    from ctsm_lib.config import LEANINGS, overridden
    from ctsm_lib.decoding import Decoding

    leaning = [
        setting for setting in settings or [] if setting.partition("=")[0].strip() in LEANINGS
    ]
    run.lean(leaning)
    others = [setting for setting in settings or [] if setting not in leaning]
    return overridden(Decoding(max_length=run.config.max_response), [f"method={method}", *others])


def check_writable(*paths: Path | None) -> None:
    """Refuse, before minutes of work, a file that could not be written after them."""
    from ctsm_lib.errors import ConfigError

    for path in filter(None, paths):
        folder = next((parent for parent in path.absolute().parents if parent.exists()), path)
        if path.is_dir():
            raise ConfigError(f"{path} is a folder: name a file in it.")
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ConfigError(
                f"{path} cannot be written: {folder} is no folder that you may write to."
            )


def save_json(path: Path | None, value: dict[str, Any]) -> None:
    """Write a result where the user wants one."""
    from ctsm_lib.files import write_json

    if path:
        write_json(path, value)


def print_json(value: dict[str, Any]) -> None:
    """Print a result for a program to read."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1))


def print_scores(scores: dict[str, Any]) -> None:
    """Print scores for people to read, and below what they were made with."""
    for name, value in scores.items():
        if isinstance(value, int | float):
            typer.echo(
                f"{name:<20} {value:>10,.2f}"
                if isinstance(value, float)
                else f"{name:<20} {value:>10,}"
            )
    for name, value in scores.get("run", {}).items():
        typer.echo(f"  {name}: {value}")
