"""`ctsm polarity`, `contextual`, `figures` and `bench`: numbers and pictures."""

from pathlib import Path

import typer

from ctsm_lib import sources
from ctsm_lib.config import preset as preset_of
from ctsm_lib.errors import ConfigError
from ctsm_lib.settings import overridden
from ctsm_workbench.bench import PARTS, QUICK
from ctsm_workbench.cli import shared
from ctsm_workbench.cli.shared import Texts

WORDS = ["knowledge=none", "dim=300"]  # settings of an analysis that reads words only
FROM_DATA = ("fig2", "fig3", "sensitivity", "map", "discrepant")
FROM_RUN = ("fig1", "training")


def polarity(
    as_json: Path | None = None, rules: Texts = None, standards: bool = True,
    vectors: Path | None = None, settings: Texts = None, quiet: bool = False,
) -> None:  # fmt: skip
    """Section 5.4: the share of words with differing trait and state polarity."""
    from ctsm_workbench.study.polarity import Rule, analyse_prepared, outside_standards

    own = overridden(Rule("your rule"), rules) if rules else None
    config = shared.configured("", [*WORDS, *(settings or [])], vectors)
    prepared = shared.prepared_data(config, vectors, progress=not quiet)
    analysis = analyse_prepared(prepared, config.neutral_vad, own=own)
    conclusions = [analysis["conclusion"], analysis["labels_note"]]
    if standards:
        analysis["standards"] = outside_standards(prepared)
        conclusions.append(analysis["standards"]["conclusion"])
    shared.save_json(analysis, as_json)
    shared.report("choices")
    for row in analysis["choices"]:
        if row["share"] is not None:
            shared.report("choice", **row)
    typer.echo("\n" + "\n".join(conclusions))


def contextual(
    run: Path, as_json: Path | None = None, out: Path | None = None, control: bool = True,
    vectors: Path | None = None, device: str = "auto", quiet: bool = False,
) -> None:  # fmt: skip
    """Beyond Section 5.4: a trained run gives every word a polarity in each of its contexts."""
    from ctsm_workbench.pictures import contextual_figure
    from ctsm_workbench.study.contexts import analyse_contexts

    with shared.together(device, quiet) as options:
        loaded = shared.open_run(run, options["device"])
        # Neither V_cos nor H_s reads commonsense.
        config = loaded.config.override(["knowledge=none"])
        prepared = shared.prepared_data(config, vectors, (), **options)
        analysis = analyse_contexts(loaded, prepared, control=control, **options)
    if not shared.speaks():
        return
    shared.save_json(analysis, as_json)
    typer.echo(analysis["conclusion"])
    for kind, name in (("most", "most state-like"), ("least", "most trait-like")):
        rows = analysis["trained"][kind]["H_s"]
        words = ", ".join(f"{row['word']} {row['ratio']:.2f}" for row in rows)
        typer.echo(f"{name} (variance of H_s over that of words as frequent): {words}")
    if out:
        shared.draw(contextual_figure(analysis), analysis, out, "contextual")


def figures(
    names: Texts = None, out: Path = Path("figures"), run: Path | None = None,
    word: str = "excited", context: Texts = None, vectors: Path | None = None, quiet: bool = False,
) -> None:  # fmt: skip
    """Draw the paper's figures and ours. Each is saved with its data as JSON."""
    from ctsm_workbench import pictures
    from ctsm_workbench.pictures.diagram import write_diagram
    from ctsm_workbench.running.log import read_log
    from ctsm_workbench.study import polarity as study
    from ctsm_workbench.study.contexts import reading

    wanted = names or (FROM_RUN if run else FROM_DATA)
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
        provider, note = shared.provider_of(loaded)
        shared.print_notes(note)
        data = reading.word_in_contexts(loaded, word, context or reading.PAPER_CONTEXTS, provider)
        ending = "".join(letter if letter.isalnum() else "_" for letter in word)
        shared.draw(pictures.fig1(data), data, out, f"fig1_{ending}" if context else "fig1")
    if run and "training" in wanted:
        data = {"records": read_log(run)}
        shared.draw(pictures.training_curve(**data), data, out, f"{run.name}_training")
    if "fig2" in wanted:
        for path in write_diagram(out):
            typer.echo(str(path))
    if not set(wanted) - {"fig2", *FROM_RUN}:
        return
    config = shared.configured("", WORDS, vectors)
    prepared = shared.prepared_data(config, vectors, progress=not quiet)
    if of_analysis := [name for name in wanted if name in pictures.FIGURES]:
        data = study.analyse_prepared(prepared)
        for name in of_analysis:
            shared.draw(pictures.FIGURES[name](data), data, out, name)
    if "discrepant" in wanted:
        data = study.discrepant_words(prepared)
        shared.draw(pictures.discrepant_figure(data), data, out, "discrepant")
    if "map" in wanted:
        try:
            data = study.word_map(prepared)
            shared.draw(pictures.word_map_figure(data), data, out, "map", pictures.search_box(data))
        except ConfigError as error:
            if names:
                raise
            shared.print_notes(f"no map: {error}")


def bench(
    as_json: Path | None = None, out: Path | None = None, parts: str = "", quick: bool = False,
    preset: str = "paper", settings: Texts = None, vectors: Path | None = None,
    seconds: float = 20.0, run: Path | None = None, quiet: bool = False,
) -> None:  # fmt: skip
    """Measure the speed of each part, the limit of this machine, and how the time grows.

    Results are written after every part. A part that fails is named at the end; the others go on.
    """
    from ctsm_lib.run_folder import read_run
    from ctsm_workbench.bench.measure import Task, fitting, measure, table
    from ctsm_workbench.pictures.runs import bench_figure

    file = out / "bench.json" if out else None
    shared.check_writable(as_json, file)
    config = preset_of(preset, settings or [])
    if run:
        read_run(run)  # a damaged run is found before anything is measured
    wanted = shared.parts(parts) or fitting(config, QUICK if quick else PARTS)
    task = Task(config, sources.find_sources(vectors=vectors), seconds, run, grow=not quick)
    result = measure(
        task, wanted, progress=not quiet, keep=lambda done: shared.save_json(done, as_json, file)
    )
    typer.echo(table(result))
    if out and result["parts"]:
        shared.draw(bench_figure(result), result, out, "bench")
    shared.end_with([f"{part}: {reason}" for part, reason in result["failed"].items()])
