"""`ctsm compare` and `ctsm tradeoff`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from ctsm_workbench.cli.shared import Device, Quiet, Sets, Vectors, check_writable, chosen_device


def compare(
    models: Annotated[
        str, typer.Option(help="Rows by name, with commas between; or table1, table3, all.")
    ] = "all",
    seeds: Annotated[str, typer.Option(help="Random seeds, with commas between.")] = "0",
    budget: Annotated[
        int, typer.Option(help="Iterations of every run. Default: the preset's.")
    ] = 0,
    preset: Annotated[
        str,
        typer.Option(
            help="Backbone and optimisation of every run. Default: improved; sample on the sample."
        ),
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
    from ctsm_lib.config import preset as preset_of
    from ctsm_lib.errors import ConfigError
    from ctsm_lib.files import write_json, write_text
    from ctsm_lib.sources import find_sources
    from ctsm_workbench.pictures import write_figure
    from ctsm_workbench.pictures.comparison import comparison_figure
    from ctsm_workbench.study.comparison import ROWS, TABLES, Plan, collect, markdown, run_missing

    groups = {name: [row.key for row in rows] for name, rows in TABLES.items()} | {
        "all": list(ROWS)
    }
    keys = [key for part in models.split(",") for key in groups.get(part.strip(), [part.strip()])]
    try:
        numbers = [int(part) for part in seeds.split(",")]
    except ValueError:
        raise ConfigError(
            f"--seeds {seeds} is not possible: whole numbers with commas between, as 0,1,2."
        ) from None
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


def tradeoff(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, e.g. of several strengths of L_div.")
    ],
    copy_bias: Annotated[
        str, typer.Option(help="Strengths of copying, with commas between.")
    ] = "0,1,2",
    tilt: Annotated[
        str, typer.Option(help="Strengths of the tilt, with commas between.")
    ] = "0,0.1,0.2",
    penalty: Annotated[
        str, typer.Option(help="Penalties of decoding on frequent words, with commas between.")
    ] = "0.1,0.2,0.3",
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "valid",
    out: Annotated[Path, typer.Option(help="Table and picture.")] = Path("figures/results"),
    vectors: Vectors = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """What diversity costs: accuracy and perplexity against Dist, for runs and strengths of what makes it.

    Every point is kept in OUT/tradeoff.json as soon as it is measured; those that are there are not measured again.
    """
    from ctsm_lib.errors import ConfigError
    from ctsm_lib.files import read_json, write_json, write_text
    from ctsm_lib.prepare import prepare
    from ctsm_lib.runs import load_run
    from ctsm_lib.sources import find_sources
    from ctsm_workbench.pictures import write_figure
    from ctsm_workbench.pictures.tradeoff import tradeoff_figure
    from ctsm_workbench.study.comparison import tradeoff as measuring

    biases, tilts = _numbers("--copy-bias", copy_bias), _numbers("--tilt", tilt)
    penalties = _numbers("--penalty", penalty)
    file = out / "tradeoff.json"
    check_writable(file)
    found = read_json(file) if file.is_file() else {"points": []}
    if not isinstance(found, dict) or not isinstance(known := found.get("points"), list):
        raise ConfigError(
            f"{file} is not a result of `ctsm tradeoff`. Move it elsewhere, or choose another --out."
        )
    chosen = chosen_device(device)

    def keep(row: dict) -> None:
        known.append(row)
        write_json(file, {"points": known})

    for folder in runs:
        run = load_run(folder, chosen)
        prepared = prepare(
            run.config, find_sources(vectors=vectors), splits=[split], progress=not quiet
        )
        wanted = measuring.points(biases, tilts, penalties, run.config.copy_bias, run.config.tilt)
        measuring.measure(run, prepared, wanted, known, split, chosen, not quiet, keep)
    shown = [row for row in known if row["split"] == split]
    text = measuring.table(shown)
    write_text(out / "tradeoff.md", text)
    write_figure(tradeoff_figure(shown), {"points": known}, out, "tradeoff")
    typer.echo(text)


def _numbers(option: str, text: str) -> list[float]:
    from ctsm_lib.errors import ConfigError

    try:
        found = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError(
            f"{option} {text} is not possible: numbers with commas between, as 0,0.5,1."
        ) from None
    if any(not math.isfinite(number) for number in found):
        raise ConfigError(f"{option} {text} is not possible: finite numbers.")
    return found
