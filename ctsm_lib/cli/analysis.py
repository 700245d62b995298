"""`ctsm polarity` and `ctsm bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ctsm_lib.cli.shared import JsonFile, Quiet, Sets, Vectors, check_writable, prepared_data, print_json, save_json


def polarity(
    as_json: JsonFile = None,
    rules: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--rule", help="A rule of your own, beside the others: unrated=positive, threshold=0.6, ..."),
    ] = None,
    standards: Annotated[
        bool, typer.Option(help="Also check both polarities against the dialogues' labels and VADER.")
    ] = True,
    vectors: Vectors = None,
    settings: Sets = None,
    quiet: Quiet = False,
) -> None:
    """Section 5.4: for how many words do trait and state polarity differ, and what does the number rest on?"""
    from ctsm_lib.config import overridden
    from ctsm_lib.polarity import Rule, analyse_prepared, outside_standards

    own = overridden(Rule("your rule"), rules) if rules else None
    config, prepared = prepared_data("", ["knowledge=none", "dim=300", *(settings or [])], vectors, quiet)
    analysis = analyse_prepared(prepared, config.neutral_vad, own=own)
    if standards:
        analysis["standards"] = outside_standards(prepared)
    save_json(as_json, analysis)
    typer.echo(f"{'':<48}{'words':>8}{'differ':>8}{'%':>8}   95 %")
    for row in analysis["choices"]:
        if row["share"] is not None:
            interval = f"{row['low']:.1f} to {row['high']:.1f}"
            typer.echo(f"{row['label']:<48}{row['words']:>8,}{row['differ']:>8,}{row['share']:>8.1f}   {interval}")
    typer.echo("\n" + analysis["conclusion"])
    typer.echo(analysis["labels_note"])
    if standards:
        typer.echo(analysis["standards"]["conclusion"])


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

    check_writable(as_json)
    loaded = load_run(run) if run else None
    result = measure(make(preset, settings or []), find_sources(vectors=vectors), seconds, loaded)
    save_json(as_json, result)
    print_json(result)
