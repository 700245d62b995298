"""`ctsm polarity`, `ctsm contextual`, `ctsm figures` and `ctsm bench`: numbers and pictures."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from ctsm_lib.config import preset as preset_of
from ctsm_lib.errors import ConfigError
from ctsm_lib.settings import overridden
from ctsm_lib.sources import find_sources
from ctsm_workbench.bench import PARTS, QUICK
from ctsm_workbench.cli import shared

MEASURED = f"{', '.join(PARTS)}; with commas between them. Default: all that fit."
OWN_RULE = "A setting of your own rule, e.g. unrated=positive or threshold=0.6. Repeatable."
WORDS = ("knowledge=none", "dim=300")  # settings of an analysis that reads words only
FROM_DATA = ("fig2", "fig3", "sensitivity", "map", "discrepant")
FROM_RUN = ("fig1", "training")
FIGURES = f"{', '.join(FROM_DATA)}; with --run {', '.join(FROM_RUN)}. Default: all of these."
CONTEXT = "fig1: a text that has the word. Repeatable. Default: the paper's two."


def polarity(
    as_json: shared.JsonFile = None,
    rules: Annotated[list[str] | None, Option("--rule", help=OWN_RULE)] = None,
    standards: Annotated[bool, Option(help="Also compare with emotion labels and VADER.")] = True,
    vectors: shared.Vectors = None,
    settings: shared.Sets = None,
    quiet: shared.Quiet = False,
) -> None:
    """Section 5.4: the share of words with differing trait and state polarity."""
    from ctsm_workbench.study.polarity import Rule, analyse_prepared, outside_standards

    own = overridden(Rule("your rule"), rules) if rules else None
    config, prepared = shared.prepared_data(
        settings=[*WORDS, *(settings or [])], vectors=vectors, progress=not quiet
    )
    analysis = analyse_prepared(prepared, config.neutral_vad, own=own)
    conclusions = [analysis["conclusion"], analysis["labels_note"]]
    if standards:
        analysis["standards"] = outside_standards(prepared)
        conclusions.append(analysis["standards"]["conclusion"])
    shared.save_json(as_json, analysis)
    typer.echo(f"{'':<48}{'words':>8}{'differ':>8}{'%':>8}   95 %")
    for row in analysis["choices"]:
        if row["share"] is not None:
            counts = f"{row['words']:>8,}{row['differ']:>8,}{row['share']:>8.1f}"
            interval = f"{row['low']:.1f} to {row['high']:.1f}"
            typer.echo(f"{row['label']:<48}{counts}   {interval}")
    typer.echo("\n" + "\n".join(conclusions))


def contextual(
    run: shared.Run,
    as_json: shared.JsonFile = None,
    out: Annotated[Path | None, Option(help="Also draw `contextual` into this folder.")] = None,
    control: Annotated[bool, Option(help="Also read with an untrained model.")] = True,
    vectors: shared.Vectors = None,
    device: shared.Device = "auto",
    quiet: shared.Quiet = False,
) -> None:
    """Beyond Section 5.4: a trained run gives every word a polarity in each of its contexts."""
    from ctsm_workbench.pictures import contextual_figure, write_figure
    from ctsm_workbench.study.contexts import analyse_contexts

    with shared.together(device, quiet) as (chosen, progress):
        loaded = shared.open_run(run, chosen)
        # Neither V_cos nor H_s reads commonsense.
        config = loaded.config.override(["knowledge=none"])
        _, prepared = shared.prepared_data(
            vectors=vectors, config=config, splits=(), progress=progress
        )
        analysis = analyse_contexts(
            loaded, prepared, control=control, device=chosen, progress=progress
        )
    if not shared.speaks():
        return
    shared.save_json(as_json, analysis)
    typer.echo(analysis["conclusion"])
    for kind, name in (("most", "most state-like"), ("least", "most trait-like")):
        rows = analysis["trained"][kind]["H_s"]
        words = ", ".join(f"{row['word']} {row['ratio']:.2f}" for row in rows)
        typer.echo(f"{name} (variance of H_s over that of words as frequent): {words}")
    if out:
        shared.print_paths(write_figure(contextual_figure(analysis), analysis, out, "contextual"))


def figures(
    names: Annotated[list[str] | None, Argument(help=FIGURES)] = None,
    out: Annotated[Path, Option(help="Folder for HTML, PNG, SVG and JSON.")] = Path("figures"),
    run: Annotated[Path | None, Option(help="A run, for fig1 and its training curve.")] = None,
    word: Annotated[str, Option(help="fig1: the word that is looked at.")] = "excited",
    context: Annotated[list[str] | None, Option(help=CONTEXT)] = None,
    vectors: shared.Vectors = None,
    quiet: shared.Quiet = False,
) -> None:
    """Draw the paper's figures and ours. Each is saved with its data as JSON."""
    from ctsm_workbench import pictures
    from ctsm_workbench.pictures.diagram import write_diagram
    from ctsm_workbench.running.log import read_log
    from ctsm_workbench.study import contexts
    from ctsm_workbench.study import polarity as study

    def draw(figure: Any, data: dict, name: str, *extra: str) -> None:
        shared.print_paths(pictures.write_figure(figure, data, out, name, *extra))

    wanted = names or list(FROM_RUN if run else FROM_DATA)
    for name in wanted:
        if name not in (*FROM_DATA, *FROM_RUN):
            known = ", ".join((*FROM_DATA, *FROM_RUN))
            raise ConfigError(f"There is no figure {name!r}. There are: {known}.")
        if name in FROM_RUN and not run:
            raise ConfigError(f"{name} is drawn from a trained run: add --run FOLDER.")
    if word != "excited" and not context:
        reason = "needs a --context that has it; the paper's contexts have 'excited'"
        raise ConfigError(f"--word {word} {reason}.")
    if run and "fig1" in wanted:
        loaded = shared.open_run(run)
        provider, note = loaded.provider(shared.sources_or_none())
        shared.print_notes(note)
        data = contexts.word_in_contexts(loaded, word, context or contexts.PAPER_CONTEXTS, provider)
        ending = "".join(letter if letter.isalnum() else "_" for letter in word)
        draw(pictures.fig1(data), data, f"fig1_{ending}" if context else "fig1")
    if run and "training" in wanted:
        records = read_log(run)
        draw(pictures.training_curve(records), {"records": records}, f"{run.name}_training")
    if "fig2" in wanted:
        shared.print_paths(write_diagram(out))
    if not set(wanted) - {"fig2", *FROM_RUN}:
        return
    _, prepared = shared.prepared_data(settings=WORDS, vectors=vectors, progress=not quiet)
    if of_analysis := [name for name in wanted if name in pictures.FIGURES]:
        analysis = study.analyse_prepared(prepared)
        for name in of_analysis:
            draw(pictures.FIGURES[name](analysis), analysis, name)
    if "discrepant" in wanted:
        data = study.discrepant_words(prepared)
        draw(pictures.discrepant_figure(data), data, "discrepant")
    if "map" in wanted:
        try:
            data = study.word_map(prepared)
            draw(pictures.word_map_figure(data), data, "map", pictures.search_box(data))
        except ConfigError as error:
            if names:
                raise
            shared.print_notes(f"no map: {error}")


def bench(
    as_json: shared.JsonFile = None,
    out: Annotated[Path | None, Option(help="Folder for picture and JSON.")] = None,
    parts: Annotated[str, Option(help=MEASURED)] = "",
    quick: Annotated[bool, Option("--quick", help=f"Only {', '.join(QUICK)}.")] = False,
    preset: Annotated[str, Option(help="Preset of the model to measure.")] = "paper",
    settings: shared.Sets = None,
    vectors: shared.Vectors = None,
    seconds: Annotated[float, Option(help="Seconds to measure training for.")] = 20.0,
    run: Annotated[Path | None, Option(help="A run to answer the test split with.")] = None,
    quiet: shared.Quiet = False,
) -> None:
    """Measure the speed of each part, the limit of this machine, and how the time grows.

    Results are written after every part. A part that fails is named at the end; the others go on.
    """
    from ctsm_lib.run_folder import read_run
    from ctsm_workbench.bench.measure import Task, fitting, measure, table
    from ctsm_workbench.pictures import write_figure
    from ctsm_workbench.pictures.bench import bench_figure

    file = out / "bench.json" if out else None
    shared.check_writable(as_json, file)
    config = preset_of(preset, settings or [])
    if run:
        read_run(run)  # a damaged run is found before anything is measured

    def keep(result: dict) -> None:
        shared.save_json(as_json, result)
        shared.save_json(file, result)

    wanted = shared.parts(parts) or fitting(config, QUICK if quick else tuple(PARTS))
    task = Task(config, find_sources(vectors=vectors), seconds, run, grow=not quick)
    result = measure(task, wanted, progress=not quiet, keep=keep)
    typer.echo(table(result))
    if out and result["parts"]:
        shared.print_paths(write_figure(bench_figure(result), result, out, "bench"))
    shared.end_with(f"{part}: {reason}" for part, reason in result["failed"].items())
