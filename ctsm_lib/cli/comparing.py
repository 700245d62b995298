"""`ctsm compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ctsm_lib.cli.shared import Device, Quiet, Sets, Vectors, check_writable


def compare(
    models: Annotated[str, typer.Option(help="Rows by name, with commas between; or table1, table3, all.")] = "all",
    seeds: Annotated[str, typer.Option(help="Random seeds, with commas between.")] = "0",
    budget: Annotated[int, typer.Option(help="Iterations of every run. Default: the preset's.")] = 0,
    preset: Annotated[
        str, typer.Option(help="Backbone and optimisation of every run. Default: improved; sample on the sample.")
    ] = "",
    out: Annotated[Path, typer.Option(help="Results and tables.")] = Path("figures/results"),
    runs: Annotated[Path, typer.Option(help="Run folders.")] = Path("runs/compare"),
    settings: Sets = None,
    workers: Annotated[int, typer.Option(help="Runs at a time.")] = 1,
    only_tables: Annotated[
        bool, typer.Option("--only-tables", help="Run nothing: tables of the results there are.")
    ] = False,
    vectors: Vectors = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Tables 1 and 3: train and score what is missing at the same budget, then write both as JSON, Markdown and picture.

    Ctrl-C ends with a checkpoint; the same command goes on. A run that fails is named at the end, the others go on.
    """
    from ctsm_lib.checkpoint import write_json, write_text
    from ctsm_lib.comparison import ROWS, TABLES, Plan, collect, markdown, run_missing
    from ctsm_lib.config import preset as preset_of
    from ctsm_lib.errors import ConfigError
    from ctsm_lib.figures import write_figure
    from ctsm_lib.figures.comparison import comparison_figure
    from ctsm_lib.sources import find_sources

    groups = {name: [row.key for row in rows] for name, rows in TABLES.items()} | {"all": list(ROWS)}
    keys = [key for part in models.split(",") for key in groups.get(part.strip(), [part.strip()])]
    try:
        numbers = [int(part) for part in seeds.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds {seeds} is not possible: whole numbers with commas between, as 0,1,2.") from None
    sources = find_sources(vectors=vectors)
    name = preset or ("sample" if sources.origin == "sample" else "improved")
    iterations = budget or preset_of(name).max_iterations
    plan = Plan(
        list(dict.fromkeys(keys)),
        list(dict.fromkeys(numbers)),
        iterations,
        name,
        out,
        runs,
        settings or [],
        workers,
        device,
        vectors,
    )
    folder = plan.result("ctsm", 0).parent
    check_writable(folder / "any.json")
    failed = [] if only_tables else run_missing(plan, progress=not quiet, report=typer.echo)
    if only_tables and not any(folder.glob("*-seed*.json")):
        raise ConfigError(f"{folder} holds no results. Without --only-tables they are made.")
    for table, rows in TABLES.items():
        found = collect(rows, folder)
        if "budget" not in found:
            continue
        text = markdown(found)
        write_json(out / f"{table}.json", found)
        write_text(out / f"{table}.md", text)
        title = f"Table {table[-1]} of the paper, and the same rows run here"
        write_figure(comparison_figure(found, title), found, out, table)
        typer.echo(f"\n{text}")
    for text in failed:
        typer.echo(f"failed: {text}", err=True)
    if failed:
        raise typer.Exit(1)
