"""`ctsm train`, `ctsm evaluate` and `ctsm score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ctsm_workbench.cli.shared import (
    DecodingSets,
    Device,
    JsonFile,
    JsonFlag,
    Method,
    Quiet,
    Run,
    Sets,
    Vectors,
    check_writable,
    decoding,
    prepared_data,
    print_json,
    print_scores,
    save_json,
    shared_device,
)


def train(
    out: Annotated[Path, typer.Option(help="Run folder.")],
    model: Annotated[
        str,
        typer.Option(
            help="ctsm, or a baseline: transformer, multi-transformer, moel, mime, empdg, kemp, cem, case, tfidf."
        ),
    ] = "",
    preset: Annotated[
        str,
        typer.Option(
            help="paper, improved, best or sample. Default: improved, or sample on the sample."
        ),
    ] = "",
    seed: Annotated[Optional[int], typer.Option(help="Random seed.")] = None,  # noqa: UP045
    settings: Sets = None,
    vectors: Vectors = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was interrupted.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write TensorBoard files.")
    ] = False,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the layers: for GPUs; the first steps wait for it."
        ),
    ] = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Train CTSM or a baseline. Ctrl-C ends after the step at hand with a checkpoint; --resume goes on from there.

    Several GPUs: torchrun --nproc-per-node 2 -m ctsm_lib train ...
    """
    from ctsm_lib import parallel
    from ctsm_lib.run_folder import read_run
    from ctsm_lib.training import said
    from ctsm_lib.training import train as run_training

    settings = list(settings or []) + ([f"seed={seed}"] if seed is not None else [])
    settings += [f"model={model}"] if model else []
    chosen, quiet = shared_device(device), quiet or not parallel.speaks()
    if resume:
        config = read_run(out)[0].override(settings)
        _, prepared = prepared_data("", None, vectors, quiet, config, device=chosen)
    else:
        config, prepared = prepared_data(preset, settings, vectors, quiet, device=chosen)
    say = typer.echo if parallel.speaks() else lambda text: None
    about = prepared.description
    say(
        f"{config.model} ({config.preset}) on {about['data']}: {len(prepared.pairs['train']):,} pairs, "
        f"vectors {about['vectors']['name']}, knowledge {about['knowledge']}"
    )
    result = run_training(
        config,
        prepared,
        out,
        resume=resume,
        cpu=chosen == "cpu",
        progress=not quiet,
        tensorboard=tensorboard,
        compiled=compiled,
    )
    parallel.leave()
    if best := result["best"]:
        say(f"best dev check: iteration {best['iteration']}, {said(best)}")
    if result["interrupted"]:
        say(
            f"Interrupted at iteration {result['iteration']}. Go on: ctsm train --out {out} --resume"
        )
        raise typer.Exit(130)
    say(f"Done. Score it: ctsm evaluate {out}   Talk to it: ctsm chat {out}")


def evaluate(
    run: Run,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    as_json: JsonFile = None,
    responses: Annotated[
        Path | None, typer.Option(help="Write every answer to this JSON-lines file.")
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="Write the scores of each example to this .npz.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Write 40 random answers to this Markdown file.")
    ] = None,
    method: Method = "greedy",
    settings: DecodingSets = None,
    vectors: Vectors = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Score a run on a split as the paper's tables do: accuracy, both perplexities, Dist, BLEU.

    Several GPUs: torchrun --nproc-per-node 2 -m ctsm_lib evaluate ...
    """
    from ctsm_lib import parallel, runs
    from ctsm_lib.prepare import prepare
    from ctsm_lib.sources import find_sources

    if parallel.speaks():  # the others write nothing
        check_writable(as_json, responses, samples, examples)
    chosen, quiet = shared_device(device), quiet or not parallel.speaks()
    loaded = runs.load_run(run, chosen)
    if loaded.note and parallel.speaks():
        typer.echo(f"note: {loaded.note}", err=True)
    how = decoding(loaded, method, settings)
    prepared = prepare(
        loaded.config, find_sources(vectors=vectors), [split], device=chosen, progress=not quiet
    )
    scores, rows = runs.evaluate(
        loaded, prepared, split, how, chosen, progress=not quiet, examples=examples
    )
    parallel.leave()
    if not parallel.speaks():
        return
    if responses:
        runs.write_jsonl(responses, rows)
    if samples:
        runs.write_samples(samples, rows)
    save_json(as_json, scores)
    print_scores(scores)


def score(
    file: Annotated[
        Path, typer.Argument(help="JSON lines with `response` and, for BLEU, `reference`.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Dist, length, distinct answers and BLEU of any file of responses, also of another system's."""
    from ctsm_workbench.study.evaluation import response_scores
    from ctsm_workbench.study.responses import read_responses

    responses, references = read_responses(file)
    scores = response_scores(responses, references)
    print_json(scores) if as_json else print_scores(scores)
