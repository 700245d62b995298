"""The commands `ctsm doctor` and `ctsm data fetch|status|prepare|knowledge`."""

import time
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from ctsm_lib import sources
from ctsm_lib.errors import ConfigError
from ctsm_workbench.cli import shared


def doctor() -> None:
    """Check whether this machine can run everything, and name what is missing."""
    from ctsm_workbench.doctor import examine

    complete = True
    for check in examine():
        typer.echo(f"{check.sign} {check.name:<22} {check.finding}")
        complete = complete and check.ok
    if not complete:
        raise typer.Exit(1)


def fetch(
    part: Annotated[list[str] | None, Option(help="dialogues, lexicon, vectors.")] = None,
    out: Annotated[Path | None, Option(help="Folder to fill. Default: data/raw.")] = None,
    accept_terms: Annotated[bool, Option(help="Accept all terms of use.")] = False,
    quiet: shared.Quiet = False,
) -> None:
    """Download EmpatheticDialogues, the NRC VAD lexicon and GloVe (862 MB) from the web."""
    from ctsm_workbench.downloads import fetch as download

    def accept(terms: str) -> bool:
        typer.echo(terms)
        return accept_terms or typer.confirm("Do you accept these terms?")

    target = out or sources.RAW
    for name, outcome in download(target, part, accept=accept, progress=not quiet).items():
        typer.echo(f"{name}: {outcome}")
    missing = sources.missing_parts(target)
    typer.echo(f"{target} lacks {', '.join(missing)}." if missing else f"{target} is complete.")


def status(as_json: shared.JsonFlag = False, vectors: shared.Vectors = None) -> None:
    """Name the data that is used: dialogues, lexicon, vectors, knowledge."""
    found = sources.find_sources(vectors=vectors)
    parts = found.describe() | {"folder": str(found.root)}
    if found.vectors is not None and found.vectors.suffix == ".npz":
        from ctsm_workbench.retrieval.vector_archives import exact_share

        share = exact_share(found.vectors)
        if share < 1:
            parts["vectors"] += f": approximate vectors, {share:.0%} exact"
    if as_json:
        return shared.print_json(parts)
    for name, value in parts.items():
        typer.echo(f"{name:<10} {value}")
    if found.origin == "sample":
        typer.echo("This is the small invented sample.")
        typer.echo("To use the real data, run `ctsm data fetch` or set CTSM_DATA.")


def prepare(
    preset: shared.Preset = "",
    settings: shared.Sets = None,
    vectors: shared.Vectors = None,
    device: shared.Device = "auto",
    quiet: shared.Quiet = False,
) -> None:
    """Prepare all data once (words, commonsense, vectors), so that training starts quickly."""
    begun = time.monotonic()
    with shared.together(device, quiet) as (chosen, progress):
        _, prepared = shared.prepared_data(
            preset, settings or (), vectors, device=chosen, progress=progress
        )
    if not shared.speaks():
        return
    for split, pairs in prepared.pairs.items():
        typer.echo(f"{split:<6} {len(pairs):>7,} pairs")
    for problem in prepared.corpus.problems[:20]:
        typer.echo(f"left out: {problem}")
    shared.print_json(prepared.description)
    typer.echo(f"ready after {time.monotonic() - begun:.1f} s")


def knowledge(
    split: shared.Split = "test",
    cases: Annotated[Path | None, Option(help="Write random cases to this Markdown file.")] = None,
    count: Annotated[int, Option(help="Number of cases.")] = 20,
    seed: shared.Seed = 0,
    as_json: shared.JsonFile = None,
    settings: shared.Sets = None,
    quiet: shared.Quiet = False,
) -> None:
    """Count the utterances for which commonsense is found, and write cases for people to judge."""
    from ctsm_lib.run_folder import versions
    from ctsm_workbench.retrieval.cases import coverage, write_cases

    if count < 1:
        raise ConfigError(f"--count {count} is not possible: it must be a whole number from 1.")
    shared.check_writable(cases, as_json)
    _, prepared = shared.prepared_data(settings=settings or (), splits=[split], progress=not quiet)
    part = prepared.corpus.splits[split]
    texts = [part.turn_text(turn) for turn in part.pairs[:, 4]]
    inferences = prepared.provider.infer_all(texts, sources.cache_folder(), not quiet)
    run = prepared.description | {"seed": seed, "versions": versions()}
    result = coverage(inferences) | {"split": split, "run": run}
    if cases:
        about = (
            f"Provider `{prepared.provider.name}`, split {split} of {run['data']}, seed {seed}. "
            "Each utterance is the last one before an answer, shortened to its last twelve words; "
            "all phrases are shown. "
            f"Made by `ctsm data knowledge --split {split} --seed {seed} --cases FILE`."
        )
        write_cases(cases, texts, inferences, about, count=count, seed=seed)
    shared.save_json(as_json, result)
    shared.print_json(result)
