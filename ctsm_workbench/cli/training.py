"""`ctsm train`, `evaluate`, `score`, `compare` and `tradeoff`: runs, and tables of their scores."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ctsm_lib.config import preset as preset_of
from ctsm_lib.errors import ConfigError
from ctsm_lib.sources import find_sources
from ctsm_workbench.cli import shared
from ctsm_workbench.cli.shared import say

RESULTS = Path("figures/results")
MODELS = "transformer, multi-transformer, moel, mime, empdg, kemp, cem, case, tfidf"


def train(
    out: Annotated[Path, Option(help="Run folder.")],
    model: Annotated[str, Option(help=f"ctsm (default), or a baseline: {MODELS}.")] = "",
    preset: shared.Preset = "",
    seed: Annotated[int | None, Option(help="Random seed.")] = None,
    settings: shared.Sets = None,
    vectors: shared.Vectors = None,
    resume: Annotated[bool, Option("--resume", help="Continue an interrupted run.")] = False,
    tensorboard: Annotated[bool, Option("--tensorboard", help="Write TensorBoard files.")] = False,
    compiled: Annotated[bool, Option("--compile", help="Compile the layers, on a GPU.")] = False,
    device: shared.Device = "auto",
    quiet: shared.Quiet = False,
) -> None:
    """Train CTSM or a baseline. Ctrl-C stops after the current step; --resume continues."""
    from ctsm_lib.run_folder import read_run
    from ctsm_workbench.running import train as running
    from ctsm_workbench.running.log import in_words

    settings = list(settings or [])
    settings += [f"seed={seed}"] if seed is not None else []
    settings += [f"model={model}"] if model else []
    with shared.together(device, quiet) as (chosen, progress):
        config = read_run(out)[0].override(settings) if resume else None
        config, prepared = shared.prepared_data(
            preset, settings, vectors, config=config, device=chosen, progress=progress
        )
        data = prepared.description
        say(
            f"{config.model} ({config.preset}) on {data['data']}: "
            f"{len(prepared.pairs['train']):,} pairs, vectors {data['vectors']['name']}, "
            f"knowledge {data['knowledge']}"
        )
        result = running.train(
            config, prepared, out, resume=resume, cpu=chosen == "cpu", progress=progress,
            tensorboard=tensorboard, compiled=compiled,
        )  # fmt: skip
    if best := result["best"]:
        say(f"best dev check: iteration {best['iteration']}, {in_words(best)}")
    if result["interrupted"]:
        say(f"Interrupted at iteration {result['iteration']}.")
        say(f"To continue: ctsm train --out {out} --resume")
        raise typer.Exit(130)
    say(f"Done. To score the run: ctsm evaluate {out}   To talk to it: ctsm chat {out}")


def evaluate(
    run: shared.Run,
    split: shared.Split = "test",
    as_json: shared.JsonFile = None,
    responses: Annotated[Path | None, Option(help="JSON-lines file for all answers.")] = None,
    examples: Annotated[
        Path | None, Option(help="File (.npz) for the scores of each example.")
    ] = None,
    samples: Annotated[Path | None, Option(help="Markdown file for 40 answers.")] = None,
    method: shared.Method = "greedy",
    settings: shared.DecodingSets = None,
    vectors: shared.Vectors = None,
    device: shared.Device = "auto",
    quiet: shared.Quiet = False,
) -> None:
    """Score a run as the paper's tables do: accuracy, both perplexities, Dist and BLEU."""
    from ctsm_workbench.study import evaluation

    if shared.speaks():  # the other processes write nothing
        shared.check_writable(as_json, responses, samples, examples)

    def keep(scored: dict) -> None:
        if examples and shared.speaks():
            evaluation.write_examples(examples, scored)

    with shared.together(device, quiet) as (chosen, progress):
        loaded, how = shared.ready_to_answer(shared.open_run(run, chosen), method, settings)
        _, prepared = shared.prepared_data(
            vectors=vectors, config=loaded.config, splits=[split], device=chosen, progress=progress
        )
        scores, rows = evaluation.evaluate(
            loaded, prepared, split, how, device=chosen, progress=progress, on_scored=keep
        )
    if not shared.speaks():
        return
    if responses:
        evaluation.write_jsonl(responses, rows)
    if samples:
        evaluation.write_samples(samples, rows)
    shared.save_json(as_json, scores)
    shared.print_scores(scores)


def score(
    file: Annotated[Path, Argument(help="JSON lines with `response` and, for BLEU, `reference`.")],
    as_json: shared.JsonFlag = False,
) -> None:
    """Score a file of responses, of any system: Dist, length, distinct responses and BLEU."""
    from ctsm_workbench.study.evaluation import response_scores
    from ctsm_workbench.study.responses import read_responses

    scores = response_scores(*read_responses(file))
    shared.print_json(scores) if as_json else shared.print_scores(scores)


def compare(
    models: Annotated[str, Option(help="Rows, e.g. ctsm,moel; or table1, table3, all.")] = "all",
    seeds: Annotated[str, Option(help="Random seeds, with commas between them.")] = "0",
    budget: Annotated[int, Option(help="Iterations of every run; 0: as the preset says.")] = 0,
    preset: shared.Preset = "",
    out: Annotated[Path, Option(help="Folder for results and tables.")] = RESULTS,
    runs: Annotated[Path, Option(help="Folder for the runs.")] = Path("runs/compare"),
    settings: shared.Sets = None,
    workers: Annotated[int, Option(help="Number of runs at a time.")] = 1,
    only_tables: Annotated[
        bool, Option("--only-tables", help="Train and score nothing; write the tables only.")
    ] = False,
    vectors: shared.Vectors = None,
    device: shared.Device = "auto",
    quiet: shared.Quiet = False,
) -> None:
    """Tables 1 and 3: train and score missing rows, all at the same budget, then write both tables.

    Each table is JSON, Markdown and a picture. Ctrl-C ends with a checkpoint, and the same command
    continues. A run that fails is named at the end; the others go on.
    """
    from ctsm_lib.files import write_text
    from ctsm_workbench.pictures import write_figure
    from ctsm_workbench.pictures.comparison import comparison_figure
    from ctsm_workbench.study.comparison import ROWS, TABLES, Plan, collect, markdown, run_missing

    groups = {name: [row.key for row in rows] for name, rows in TABLES.items()}
    groups["all"] = list(ROWS)
    names = [part.strip() for part in models.split(",")]
    keys = [key for name in names for key in groups.get(name, [name])]
    chosen_preset = preset or shared.default_preset(find_sources(vectors=vectors))
    plan = Plan(
        list(dict.fromkeys(keys)),
        list(dict.fromkeys(shared.numbers("--seeds", seeds, int))) or [0],
        budget=budget or preset_of(chosen_preset).max_iterations,
        preset=chosen_preset, out=out, runs=runs, settings=settings or [], workers=workers,
        device=device, vectors=vectors,
    )  # fmt: skip
    folder = plan.result("ctsm", 0).parent
    shared.check_writable(folder / "any.json")
    failed = [] if only_tables else run_missing(plan, progress=not quiet, report=typer.echo)
    if only_tables and not any(folder.glob("*-seed*.json")):
        raise ConfigError(f"{folder} holds no results. To make them, leave out --only-tables.")
    for table, rows in TABLES.items():
        found = collect(rows, folder)
        if "budget" not in found:
            continue
        write_text(out / f"{table}.md", markdown(found))
        title = f"Table {table[-1]} of the paper, and the same rows run here"
        write_figure(comparison_figure(found, title), found, out, table)
        typer.echo(f"\n{markdown(found)}")
    shared.end_with(failed)


def tradeoff(
    runs: Annotated[list[Path], Argument(help="Run folders, e.g. of several strengths of L_div.")],
    copy_bias: Annotated[str, Option(help="Strengths of copying.")] = "0,1,2",
    tilt: Annotated[str, Option(help="Strengths of the tilt.")] = "0,0.1,0.2",
    penalty: Annotated[str, Option(help="Penalties on frequent words.")] = "0.1,0.2,0.3",
    split: shared.Split = "valid",
    out: Annotated[Path, Option(help="Folder for table and picture.")] = RESULTS,
    vectors: shared.Vectors = None,
    device: shared.Device = "auto",
    quiet: shared.Quiet = False,
) -> None:
    """Show what diversity costs: accuracy and perplexity against Dist.

    Strengths are numbers with commas between them. Every point is kept in OUT/tradeoff.json as soon
    as it is measured, and is not measured again.
    """
    from ctsm_lib.files import read_json, write_json, write_text
    from ctsm_lib.runs import load_run
    from ctsm_workbench.pictures import write_figure
    from ctsm_workbench.pictures.tradeoff import tradeoff_figure
    from ctsm_workbench.study.comparison import tradeoff as measuring

    biases = shared.numbers("--copy-bias", copy_bias, float)
    tilts = shared.numbers("--tilt", tilt, float)
    penalties = shared.numbers("--penalty", penalty, float)
    file = out / "tradeoff.json"
    shared.check_writable(file)
    found = read_json(file) if file.is_file() else {"points": []}
    if not isinstance(found, dict) or not isinstance(known := found.get("points"), list):
        reason = "is not a result of `ctsm tradeoff`"
        raise ConfigError(f"{file} {reason}. Move it, or choose another --out.")
    chosen = shared.chosen_device(device)

    def keep(row: dict) -> None:
        known.append(row)
        write_json(file, {"points": known})

    for folder in runs:
        run = load_run(folder, chosen)
        _, prepared = shared.prepared_data(
            vectors=vectors, config=run.config, splits=[split], progress=not quiet
        )
        wanted = measuring.points(biases, tilts, penalties, run.config.copy_bias, run.config.tilt)
        measuring.measure(run, prepared, wanted, known, split, chosen, not quiet, keep)
    shown = [row for row in known if row["split"] == split]
    text = measuring.table(shown)
    write_text(out / "tradeoff.md", text)
    write_figure(tradeoff_figure(shown), {"points": known}, out, "tradeoff")
    typer.echo(text)
