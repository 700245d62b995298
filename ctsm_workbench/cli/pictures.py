"""`ctsm figures` and `ctsm contextual`: what is drawn, from data or from a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ctsm_workbench.cli.shared import (
    Device,
    JsonFile,
    Quiet,
    Run,
    Vectors,
    prepared_data,
    save_json,
    shared_device,
)

if TYPE_CHECKING:
    from ctsm_lib.prepare import Prepared

FROM_DATA = ("fig2", "fig3", "sensitivity", "map", "discrepant")
FROM_RUN = ("fig1", "training")


def figures(
    names: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            help=f"{', '.join(FROM_DATA)}; with --run {', '.join(FROM_RUN)}. Default: all of these."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for HTML, PNG, SVG and JSON.")] = Path(
        "figures"
    ),
    run: Annotated[
        Path | None, typer.Option(help="A run, for fig1 and its training curve.")
    ] = None,
    word: Annotated[str, typer.Option(help="fig1: the word that is looked at.")] = "excited",
    context: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="fig1: a text with the word. Repeatable. Default: the paper's two."),
    ] = None,
    vectors: Vectors = None,
    quiet: Quiet = False,
) -> None:
    """Draw the paper's figures and ours, each with the JSON it was drawn from."""
    from ctsm_lib.errors import ConfigError

    wanted = names or list(FROM_RUN if run else FROM_DATA)
    known = (*FROM_DATA, *FROM_RUN)
    if unknown := [name for name in wanted if name not in known]:
        raise ConfigError(f"There is no figure {unknown[0]!r}. There are: {', '.join(known)}.")
    if run is None and (needy := [name for name in wanted if name in FROM_RUN]):
        raise ConfigError(f"{needy[0]} is drawn from a trained run: add --run FOLDER.")
    if (word != "excited") > bool(context):
        raise ConfigError(
            f"--word {word} needs a --context that has it; the paper's contexts are of 'excited'."
        )
    written: list[Path] = []
    if run is not None and "fig1" in wanted:
        written += _fig1(run, word, context, out)
    if run is not None and "training" in wanted:
        written += _training(run, out)
    if "fig2" in wanted:
        from ctsm_workbench.pictures.diagram import write_diagram

        written += write_diagram(out)
    if names_of_data := [name for name in wanted if name in FROM_DATA and name != "fig2"]:
        _, prepared = prepared_data("", ["knowledge=none", "dim=300"], vectors, quiet)
        written += _from_data(prepared, names_of_data, out, asked=bool(names))
    for path in written:
        typer.echo(str(path))


def _fig1(run: Path, word: str, contexts: list[str] | None, out: Path) -> list[Path]:
    from ctsm_lib.runs import load_run
    from ctsm_workbench.cli.talk import sources_or_none
    from ctsm_workbench.pictures import fig1, write_figure
    from ctsm_workbench.study.contexts import PAPER_CONTEXTS, word_in_contexts

    loaded = load_run(run)
    provider, note = loaded.provider(sources_or_none())
    if note:
        typer.echo(f"note: {note}", err=True)
    data = word_in_contexts(loaded, word, contexts or PAPER_CONTEXTS, provider)
    name = "fig1" if not contexts else f"fig1_{''.join(c if c.isalnum() else '_' for c in word)}"
    return write_figure(fig1(data), data, out, name)


def _training(run: Path, out: Path) -> list[Path]:
    from ctsm_lib.run_folder import read_log
    from ctsm_workbench.pictures import training_curve, write_figure

    records = read_log(run)
    return write_figure(training_curve(records), {"records": records}, out, f"{run.name}_training")


def _from_data(prepared: Prepared, names: list[str], out: Path, asked: bool) -> list[Path]:
    """Figures of Section 5.4 and beyond; `asked`: by name, so that one which cannot be drawn is an error."""
    from ctsm_lib.errors import ConfigError
    from ctsm_workbench import pictures as draw
    from ctsm_workbench.study import polarity

    written: list[Path] = []
    if set(names) & draw.FIGURES.keys():
        analysis = polarity.analyse_prepared(prepared)
        for name in names:
            if name in draw.FIGURES:
                written += draw.write_figure(draw.FIGURES[name](analysis), analysis, out, name)
    if "discrepant" in names:
        data = polarity.discrepant_words(prepared)
        written += draw.write_figure(draw.discrepant_figure(data), data, out, "discrepant")
    if "map" in names:
        try:
            data = polarity.word_map(prepared)
        except ConfigError as error:
            if asked:
                raise
            typer.echo(f"note: no map: {error}", err=True)
        else:
            written += draw.write_figure(
                draw.word_map_figure(data), data, out, "map", draw.search_box(data)
            )
    return written


def contextual(
    run: Run,
    as_json: JsonFile = None,
    out: Annotated[
        Path | None, typer.Option(help="Also draw the picture `contextual` into this folder.")
    ] = None,
    control: Annotated[
        bool, typer.Option(help="Also read with the same model before any training.")
    ] = True,
    vectors: Vectors = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Beyond Section 5.4: how does every word lean in every context it occurs in, by a trained run?

    Several GPUs: torchrun --nproc-per-node 2 -m ctsm_lib contextual ...
    """
    from ctsm_lib import parallel
    from ctsm_lib.prepare import prepare
    from ctsm_lib.runs import load_run
    from ctsm_lib.sources import find_sources
    from ctsm_workbench.study.contexts import analyse_contexts

    chosen, quiet = shared_device(device), quiet or not parallel.speaks()
    loaded = load_run(run, chosen)
    if loaded.note and parallel.speaks():
        typer.echo(f"note: {loaded.note}", err=True)
    config = loaded.config.override(["knowledge=none"])  # neither V_cos nor H_s reads commonsense
    prepared = prepare(config, find_sources(vectors=vectors), splits=(), progress=not quiet)
    analysis = analyse_contexts(
        loaded, prepared, control=control, device=chosen, progress=not quiet
    )
    parallel.leave()
    if not parallel.speaks():
        return
    save_json(as_json, analysis)
    typer.echo(analysis["conclusion"])
    for kind, name in (("most", "most state-like"), ("least", "most trait-like")):
        words = ", ".join(
            f"{row['word']} {row['ratio']:.2f}" for row in analysis["trained"][kind]["H_s"]
        )
        typer.echo(f"{name} (variance of H_s over that of words as frequent): {words}")
    if out:
        from ctsm_workbench.pictures import contextual_figure as draw
        from ctsm_workbench.pictures import write_figure

        for path in write_figure(draw(analysis), analysis, out, "contextual"):
            typer.echo(str(path))
