"""`ctsm polarity` and `ctsm bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ctsm_workbench.cli.shared import (
    JsonFile,
    Quiet,
    Sets,
    Vectors,
    check_writable,
    prepared_data,
    save_json,
)


def polarity(
    as_json: JsonFile = None,
    rules: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--rule",
            help="A rule of your own, beside the others: unrated=positive, threshold=0.6, ...",
        ),
    ] = None,
    standards: Annotated[
        bool,
        typer.Option(help="Also check both polarities against the dialogues' labels and VADER."),
    ] = True,
    vectors: Vectors = None,
    settings: Sets = None,
    quiet: Quiet = False,
) -> None:
    """Section 5.4: for how many words do trait and state polarity differ, and what does the number rest on?"""
    from ctsm_lib.config import overridden
    from ctsm_workbench.study.polarity import Rule, analyse_prepared, outside_standards

    own = overridden(Rule("your rule"), rules) if rules else None
    config, prepared = prepared_data(
        "", ["knowledge=none", "dim=300", *(settings or [])], vectors, quiet
    )
    analysis = analyse_prepared(prepared, config.neutral_vad, own=own)
    if standards:
        analysis["standards"] = outside_standards(prepared)
    save_json(as_json, analysis)
    typer.echo(f"{'':<48}{'words':>8}{'differ':>8}{'%':>8}   95 %")
    for row in analysis["choices"]:
        if row["share"] is not None:
            interval = f"{row['low']:.1f} to {row['high']:.1f}"
            typer.echo(
                f"{row['label']:<48}{row['words']:>8,}{row['differ']:>8,}{row['share']:>8.1f}   {interval}"
            )
    typer.echo("\n" + analysis["conclusion"])
    typer.echo(analysis["labels_note"])
    if standards:
        typer.echo(analysis["standards"]["conclusion"])


def bench(
    as_json: JsonFile = None,
    out: Annotated[
        Path | None, typer.Option(help="Write `bench` as picture and JSON into this folder.")
    ] = None,
    parts: Annotated[
        str, typer.Option(help="Parts to measure, with commas between. Default: all that fit.")
    ] = "",
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Only start, preparation, training and decoding; no growth."),
    ] = False,
    preset: Annotated[str, typer.Option(help="Whose model is measured.")] = "paper",
    settings: Sets = None,
    vectors: Vectors = None,
    seconds: Annotated[float, typer.Option(help="How long training is measured.")] = 20.0,
    run: Annotated[
        Path | None, typer.Option(help="A trained run to answer the whole test split with.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure each part of the work beside the limit of this machine, and how its time grows.

    What is finished is written after every part. A part that fails is named at the end, the others go on.
    """
    from ctsm_lib.config import preset as make
    from ctsm_lib.run_folder import read_run
    from ctsm_lib.sources import find_sources
    from ctsm_workbench.bench import QUICK
    from ctsm_workbench.bench.measure import fitting, measure, table
    from ctsm_workbench.pictures import write_figure
    from ctsm_workbench.pictures.bench import bench_figure

    file = out / "bench.json" if out else None
    check_writable(as_json, file)
    config = make(preset, settings or [])
    if run:
        read_run(run)  # what is wrong with it is said at once
    wanted = [part.strip() for part in parts.split(",") if part.strip()] or fitting(
        config, QUICK if quick else None
    )

    def keep(result: dict) -> None:
        for path in (as_json, file):
            save_json(path, result)

    result = measure(
        config,
        find_sources(vectors=vectors),
        seconds,
        run,
        parts=wanted,
        grow=not quick,
        progress=not quiet,
        keep=keep,
    )
    typer.echo(table(result))
    if out and result["parts"]:
        for path in write_figure(bench_figure(result), result, out, "bench"):
            typer.echo(str(path))
    for part, reason in result["failed"].items():
        typer.echo(f"failed: {part}: {reason}", err=True)
    if result["failed"]:
        raise typer.Exit(1)
