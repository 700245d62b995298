"""What is there: `ctsm doctor`, `ctsm data fetch|status|prepare|knowledge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ctsm_lib.errors import ConfigError
from ctsm_workbench.cli.shared import (
    Device,
    JsonFile,
    JsonFlag,
    Quiet,
    Sets,
    Vectors,
    check_writable,
    prepared_data,
    print_json,
    save_json,
    shared_device,
)


def doctor() -> None:
    """Say whether this machine can run everything, and what is missing."""
    from ctsm_workbench.doctor import examine

    healthy = True
    for check in examine():
        typer.echo(f"{check.sign} {check.name:<22} {check.finding}")
        healthy = healthy and check.ok
    if not healthy:
        raise typer.Exit(1)


def fetch(
    part: Annotated[
        list[str] | None, typer.Option(help="dialogues, lexicon or vectors. Default: all.")
    ] = None,
    out: Annotated[Optional[Path], typer.Option(help="Folder to fill. Default: data/raw.")] = None,  # noqa: UP045
    accept_terms: Annotated[
        bool, typer.Option(help="Accept the data's terms without being asked.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Download EmpatheticDialogues, the NRC VAD lexicon and GloVe (862 MB) from their public addresses."""
    from ctsm_lib import sources
    from ctsm_workbench.downloads import fetch as download

    def accept(terms: str) -> bool:
        typer.echo(terms.strip())
        return accept_terms or typer.confirm("Do you accept these terms?")

    target = out or sources.RAW
    for name, outcome in download(target, part, accept=accept, progress=not quiet).items():
        typer.echo(f"{name}: {outcome}")
    missing = sources.missing_parts(target)
    typer.echo(f"{target} lacks {', '.join(missing)}." if missing else f"{target} is complete.")


def status(as_json: JsonFlag = False, vectors: Vectors = None) -> None:
    """Name the data that is used: dialogues, lexicon, vectors, knowledge."""
    from ctsm_lib.sources import find_sources

    found = find_sources(vectors=vectors)
    parts = found.describe() | {"folder": str(found.root)}
    if found.vectors is not None and found.vectors.suffix == ".npz":
        from ctsm_lib.vectors import exact_share

        share = exact_share(found.vectors)
        if share < 1:
            parts["vectors"] += f": approximate vectors, {share:.0%} exact"
    if as_json:
        return print_json(parts)
    for name, value in parts.items():
        typer.echo(f"{name:<10} {value}")
    if found.origin == "sample":
        typer.echo(
            "This is the small invented sample. `ctsm data fetch` gets the real data; or set CTSM_DATA."
        )


def prepare(
    preset: Annotated[str, typer.Option(help="Whose settings count.")] = "",
    settings: Sets = None,
    vectors: Vectors = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Tokenise, find or generate knowledge and cut vectors once, so that training starts at once.

    Several GPUs share out what COMET generates: torchrun --nproc-per-node 2 -m ctsm_lib data prepare ...
    """
    import time

    from ctsm_lib import parallel

    begun = time.monotonic()
    chosen, quiet = shared_device(device), quiet or not parallel.speaks()
    _, prepared = prepared_data(preset, settings, vectors, quiet, device=chosen)
    parallel.leave()
    if not parallel.speaks():
        return
    for split, pairs in prepared.pairs.items():
        typer.echo(f"{split:<6} {len(pairs):>7,} pairs")
    for problem in prepared.corpus.problems[:20]:
        typer.echo(f"left out: {problem}")
    print_json(prepared.description)
    typer.echo(f"ready after {time.monotonic() - begun:.1f} s")


def knowledge(
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    cases: Annotated[
        Path | None, typer.Option(help="Write random cases to this Markdown file.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many cases.")] = 20,
    seed: Annotated[int, typer.Option(help="Which cases.")] = 0,
    as_json: JsonFile = None,
    settings: Sets = None,
    quiet: Quiet = False,
) -> None:
    """How many utterances get commonsense, and what: numbers, and random cases for people to judge."""
    from ctsm_lib.sources import cache_folder
    from ctsm_lib.versions import versions
    from ctsm_workbench.retrieval.cases import coverage, write_cases

    if count < 1:
        raise ConfigError(f"--count {count} is not possible: it must be a whole number from 1.")
    check_writable(cases, as_json)
    _, prepared = prepared_data("", settings, None, quiet, splits=[split])
    part, provider = prepared.corpus.splits[split], prepared.provider
    texts = [part.turn_text(turn) for turn in part.pairs[:, 4]]
    inferences = provider.infer_all(texts, cache_folder(), not quiet)
    result: dict = coverage(inferences) | {
        "split": split,
        "run": prepared.description | {"seed": seed, "versions": versions()},
    }
    if cases:
        about = (
            f"Provider `{provider.name}`, split {split} of {prepared.description['data']}, seed {seed}. Each utterance "
            "is the last one before an answer, shortened to its last twelve words; all phrases are shown. Made by "
            f"`ctsm data knowledge --split {split} --seed {seed} --cases FILE`."
        )
        write_cases(cases, texts, inferences, about, count, seed)
    save_json(as_json, result)
    print_json(result)
