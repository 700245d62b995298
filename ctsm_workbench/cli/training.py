"""`ctsm train`, `evaluate`, `score`, `compare` and `tradeoff`: runs, and tables of their scores."""

from functools import partial
from pathlib import Path

import typer

from ctsm_lib.errors import ConfigError
from ctsm_workbench.cli import shared
from ctsm_workbench.cli.shared import Texts, say

RESULTS = Path("figures/results")


def train(
    out: Path, model: str = "", preset: str = "", seed: int | None = None, settings: Texts = None,
    vectors: Path | None = None, resume: bool = False, tensorboard: bool = False,
    compiled: bool = False, device: str = "auto", quiet: bool = False,
) -> None:  # fmt: skip
    """Train CTSM or a baseline. Ctrl-C stops after the current step; --resume continues."""
    from ctsm_lib.run_folder import read_run
    from ctsm_workbench.running import train as running
    from ctsm_workbench.running.log import in_words

    settings = [*(settings or []), *([] if seed is None else [f"seed={seed}"])]
    settings += [f"model={model}"] if model else []
    with shared.together(device, quiet) as options:
        own = read_run(out)[0].override(settings) if resume else None
        config = own or shared.configured(preset, settings, vectors)
        prepared = shared.prepared_data(config, vectors, **options)
        facts = {"model": config.model, "preset": config.preset} | prepared.description
        shared.report("begun", pairs=len(prepared.pairs["train"]), **facts)
        result = running.train(
            config, prepared, out, resume=resume, cpu=options["device"] == "cpu",
            progress=options["progress"], tensorboard=tensorboard, compiled=compiled,
        )  # fmt: skip
    if best := result["best"]:
        say(f"best dev check: iteration {best['iteration']}, {in_words(best)}")
    if result["interrupted"]:
        shared.report("interrupted", out=out, iteration=result["iteration"])
        raise typer.Exit(130)
    shared.report("trained", out=out)


def evaluate(
    run: Path, split: str = "test", as_json: Path | None = None, responses: Path | None = None,
    examples: Path | None = None, samples: Path | None = None, method: str = "greedy",
    decoding: Texts = None, vectors: Path | None = None, device: str = "auto", quiet: bool = False,
) -> None:  # fmt: skip
    """Score a run as the paper's tables do: accuracy, both perplexities, Dist and BLEU."""
    from ctsm_workbench.study import evaluation

    if shared.speaks():  # the other processes write nothing
        shared.check_writable(as_json, responses, samples, examples)
    keep = partial(evaluation.write_examples, examples) if examples and shared.speaks() else None
    with shared.together(device, quiet) as options:
        loaded = shared.open_run(run, options["device"])
        loaded, how = shared.ready_to_answer(loaded, method, decoding)
        prepared = shared.prepared_data(loaded.config, vectors, [split], **options)
        scores, rows = evaluation.evaluate(loaded, prepared, split, how, on_scored=keep, **options)
    if not shared.speaks():
        return
    if responses:
        evaluation.write_jsonl(responses, rows)
    if samples:
        evaluation.write_samples(samples, rows)
    shared.save_json(scores, as_json)
    shared.print_scores(scores)


def score(file: Path, show_json: bool = False) -> None:
    """Score a file of responses, of any system: Dist, length, distinct responses and BLEU."""
    from ctsm_workbench.study.evaluation import response_scores
    from ctsm_workbench.study.responses import read_responses

    scores = response_scores(*read_responses(file))
    shared.print_json(scores) if show_json else shared.print_scores(scores)


def compare(
    models: str = "all", seeds: str = "0", budget: int = 0, preset: str = "", out: Path = RESULTS,
    runs: Path = Path("runs/compare"), settings: Texts = None, workers: int = 1,
    only_tables: bool = False, vectors: Path | None = None, device: str = "auto",
    quiet: bool = False,
) -> None:  # fmt: skip
    """Tables 1 and 3: train and score missing rows, all at the same budget, then write the tables.

    Each table is JSON, Markdown and a picture. Ctrl-C ends with a checkpoint, and the same command
    continues. A run that fails is named at the end; the others go on.
    """
    from ctsm_lib.files import write_text
    from ctsm_workbench.pictures.runs import comparison_figure
    from ctsm_workbench.study.comparison import TABLES, TITLES, Plan, collect, markdown, run_missing

    groups = {table: [row.key for row in rows] for table, rows in TABLES.items()}
    groups["all"] = groups["table1"] + groups["table3"]
    keys = [key for name in map(str.strip, models.split(",")) for key in groups.get(name, [name])]
    config = shared.configured(preset, None, vectors)
    plan = Plan(
        list(dict.fromkeys(keys)),
        list(dict.fromkeys(shared.numbers("--seeds", seeds, int))) or [0],
        budget=budget or config.max_iterations,
        preset=config.preset, out=out, runs=runs, settings=settings or [], workers=workers,
        device=device, vectors=vectors,
    )  # fmt: skip
    folder = plan.result("ctsm", 0).parent
    shared.check_writable(folder / "any.json")
    failed = [] if only_tables else run_missing(plan, progress=not quiet, report=typer.echo)
    if only_tables and not any(folder.glob("*-seed*.json")):
        raise ConfigError(f"{folder} holds no results. To make them, leave out --only-tables.")
    for table, rows in TABLES.items():
        # Rows of another table that stand in this one, too, do not make a table alone.
        own = [row.key for row in rows if row.tables[0] == table]
        if any(list(folder.glob(f"{key}-seed*.json")) for key in own):
            found = collect(rows, folder)
            write_text(out / f"{table}.md", markdown(found))
            typer.echo(f"\n{markdown(found)}")
            shared.draw(comparison_figure(found, TITLES[table]), found, out, table)
    shared.end_with(failed)


def tradeoff(
    runs: list[Path], copy_bias: str = "0,1,2", tilt: str = "0,0.1,0.2",
    penalty: str = "0.1,0.2,0.3", split: str = "valid", out: Path = RESULTS,
    vectors: Path | None = None, device: str = "auto", quiet: bool = False,
) -> None:  # fmt: skip
    """Show what diversity costs: accuracy and perplexity against Dist.

    Strengths are numbers with commas between them. Every point is kept in OUT/tradeoff.json as soon
    as it is measured, and is not measured again.
    """
    from ctsm_lib.files import read_json, write_json, write_text
    from ctsm_workbench.pictures.runs import tradeoff_figure
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
    options: dict = {"device": shared.chosen_device(device), "progress": not quiet}

    def keep(row: dict) -> None:
        known.append(row)
        write_json(file, {"points": known})

    for folder in runs:
        run = shared.open_run(folder, options["device"])
        prepared = shared.prepared_data(run.config, vectors, [split], **options)
        wanted = measuring.points(biases, tilts, penalties, run.config.copy_bias, run.config.tilt)
        measuring.measure(run, prepared, wanted, known, split=split, report=keep, **options)
    shown = [row for row in known if row["split"] == split]
    text = measuring.table(shown)
    write_text(out / "tradeoff.md", text)
    typer.echo(text)
    shared.draw(tradeoff_figure(shown), {"points": known}, out, "tradeoff")
