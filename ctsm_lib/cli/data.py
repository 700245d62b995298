"""What is there: `ctsm doctor`, `ctsm data fetch|status|prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ctsm_lib.cli.shared import JsonFlag, Quiet, Sets, Vectors, prepared_data, print_json


def doctor() -> None:
    """Say whether this machine can run everything, and what is missing."""
    from ctsm_lib.doctor import examine

    healthy = True
    for check in examine():
        typer.echo(f"{check.sign} {check.name:<22} {check.finding}")
        healthy = healthy and check.ok
    if not healthy:
        raise typer.Exit(1)


def fetch(
    part: Annotated[Optional[list[str]], typer.Option(help="dialogues, lexicon or vectors. Default: all.")] = None,  # noqa: UP045
    out: Annotated[Optional[Path], typer.Option(help="Folder to fill. Default: data/raw.")] = None,  # noqa: UP045
    accept_terms: Annotated[bool, typer.Option(help="Accept the data's terms without being asked.")] = False,
    quiet: Quiet = False,
) -> None:
    """Download EmpatheticDialogues, the NRC VAD lexicon and GloVe (862 MB) from their public addresses."""
    from ctsm_lib import sources
    from ctsm_lib.downloads import fetch as download

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
        typer.echo("This is the small invented sample. `ctsm data fetch` gets the real data; or set CTSM_DATA.")


def prepare(
    preset: Annotated[str, typer.Option(help="Whose settings count.")] = "",
    settings: Sets = None,
    vectors: Vectors = None,
    quiet: Quiet = False,
) -> None:
    """Tokenise, retrieve knowledge and cut vectors once, so that training starts at once."""
    import time

    begun = time.monotonic()
    _, prepared = prepared_data(preset, settings, vectors, quiet)
    for split, pairs in prepared.pairs.items():
        typer.echo(f"{split:<6} {len(pairs):>7,} pairs")
    for problem in prepared.corpus.problems[:20]:
        typer.echo(f"left out: {problem}")
    print_json(prepared.description)
    typer.echo(f"ready after {time.monotonic() - begun:.1f} s")
