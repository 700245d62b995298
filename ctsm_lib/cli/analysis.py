"""`ctsm polarity`, `ctsm figures` and `ctsm bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ctsm_lib.cli.shared import JsonFile, Quiet, Sets, Vectors, prepared_data, print_json, save_json


def polarity(
    as_json: JsonFile = None,
    vectors: Vectors = None,
    settings: Sets = None,
    quiet: Quiet = False,
) -> None:
    """Section 5.4: for how many words do trait and state polarity differ, and what does the number rest on?"""
    from ctsm_lib.polarity import analyse_prepared

    _, prepared = prepared_data("", ["knowledge=none", "dim=300", *(settings or [])], vectors, quiet)
    analysis = analyse_prepared(prepared)
    save_json(as_json, analysis)
    typer.echo(analysis["conclusion"])


def figures(
    names: Annotated[Optional[list[str]], typer.Argument(help="Which figures. Default: all.")] = None,  # noqa: UP045
    out: Annotated[Path, typer.Option(help="Folder for HTML, PNG, SVG and JSON.")] = Path("figures"),
    run: Annotated[Optional[Path], typer.Option(help="Draw this run's training curve instead.")] = None,  # noqa: UP045
    vectors: Vectors = None,
    quiet: Quiet = False,
) -> None:
    """Draw the paper's figures and ours, each with the JSON it was drawn from."""
    from ctsm_lib.errors import ConfigError
    from ctsm_lib.figures import FIGURES, write_figure
    from ctsm_lib.polarity import analyse_prepared

    if run:
        from ctsm_lib.checkpoint import read_log
        from ctsm_lib.figures import training_curve

        records = read_log(run)
        for path in write_figure(training_curve(records), {"records": records}, out, f"{run.name}_training"):
            typer.echo(str(path))
        return
    wanted = names or list(FIGURES)
    if unknown := [name for name in wanted if name not in FIGURES]:
        raise ConfigError(f"There is no figure {unknown[0]!r}. There are: {', '.join(FIGURES)}.")
    _, prepared = prepared_data("", ["knowledge=none", "dim=300"], vectors, quiet)
    analysis = analyse_prepared(prepared)
    for name in wanted:
        for path in write_figure(FIGURES[name](analysis), analysis, out, name):
            typer.echo(str(path))


def bench(
    as_json: JsonFile = None,
    preset: Annotated[str, typer.Option(help="Whose model is measured.")] = "paper",
    settings: Sets = None,
    vectors: Vectors = None,
    seconds: Annotated[float, typer.Option(help="How long training is measured.")] = 20.0,
    run: Annotated[Optional[Path], typer.Option(help="A trained run to answer the whole test split with.")] = None,  # noqa: UP045
) -> None:
    """Measure training, answering and preparation beside the limit computed for this machine."""
    from ctsm_lib.bench import measure
    from ctsm_lib.config import preset as make
    from ctsm_lib.runs import load_run
    from ctsm_lib.sources import find_sources

    loaded = load_run(run) if run else None
    result = measure(make(preset, settings or []), find_sources(vectors=vectors), seconds, loaded)
    save_json(as_json, result)
    print_json(result)
