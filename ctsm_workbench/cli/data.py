"""The commands `ctsm doctor` and `ctsm data fetch|status|prepare|knowledge|concepts`."""

import time
from pathlib import Path

import typer

from ctsm_lib import sources
from ctsm_lib.errors import ConfigError
from ctsm_workbench.cli import shared
from ctsm_workbench.cli.shared import Texts


def doctor() -> None:
    """Check whether this machine can run everything, and name what is missing."""
    from ctsm_workbench.doctor import BROKEN, examine

    signs = set()
    for sign, name, finding in examine():
        typer.echo(f"{sign} {name:<22} {finding}")
        signs.add(sign)
    if BROKEN in signs:
        raise typer.Exit(1)


def fetch(
    part: Texts = None, out: Path | None = None, accept_terms: bool = False, quiet: bool = False
) -> None:
    """Download EmpatheticDialogues, NRC VAD, GloVe (862 MB), ATOMIC and Event2Mind from the web."""
    from ctsm_workbench.downloads import fetch as download

    def accept(terms: str) -> bool:
        typer.echo(terms)
        return accept_terms or typer.confirm("Do you accept these terms?")

    target = out or sources.RAW
    for name, outcome in download(target, part, accept=accept, progress=not quiet).items():
        typer.echo(f"{name}: {outcome}")
    missing = sources.missing_parts(target)
    typer.echo(f"{target} lacks {', '.join(missing)}." if missing else f"{target} is complete.")


def status(show_json: bool = False, vectors: Path | None = None) -> None:
    """Name the data that is used: dialogues, lexicon, vectors, knowledge."""
    found = sources.find_sources(vectors=vectors)
    parts = found.describe() | {"folder": str(found.root)}
    if found.vectors is not None and found.vectors.suffix == ".npz":
        from ctsm_workbench.retrieval.vector_archives import exact_share

        if (share := exact_share(found.vectors)) < 1:
            parts["vectors"] += f": approximate vectors, {share:.0%} exact"
    if show_json:
        return shared.print_json(parts)
    for name, value in parts.items():
        typer.echo(f"{name:<10} {value}")
    if found.origin == "sample":
        shared.report("sample")


def prepare(
    preset: str = "", settings: Texts = None, vectors: Path | None = None, device: str = "auto",
    quiet: bool = False,
) -> None:  # fmt: skip
    """Prepare all data once (words, commonsense, vectors), so that training starts quickly."""
    begun = time.monotonic()
    with shared.together(device, quiet) as options:
        config = shared.configured(preset, settings, vectors)
        prepared = shared.prepared_data(config, vectors, **options)
    if not shared.speaks():
        return
    for split, pairs in prepared.pairs.items():
        typer.echo(f"{split:<6} {len(pairs):>7,} pairs")
    for problem in prepared.corpus.problems[:20]:
        typer.echo(f"left out: {problem}")
    shared.print_json(prepared.description)
    typer.echo(f"ready after {time.monotonic() - begun:.1f} s")


def concepts(source: Path, out: Path | None = None, quiet: bool = False) -> None:
    """Make the file of related words that KEMP and CASE use from a download of ConceptNet."""
    from ctsm_workbench.retrieval.conceptnet import write_conceptnet

    target = (out or sources.RAW) / "conceptnet.tsv"
    shared.check_writable(target)
    typer.echo(f"{target}: {write_conceptnet(source, target, not quiet):,} triples of words")


def knowledge(
    split: str = "test", cases: Path | None = None, count: int = 20, seed: int = 0,
    as_json: Path | None = None, settings: Texts = None, quiet: bool = False,
) -> None:  # fmt: skip
    """Count the utterances for which commonsense is found, and write cases for people to judge."""
    from ctsm_lib.run_folder import versions
    from ctsm_workbench.retrieval.cases import coverage, write_cases

    if count < 1:
        raise ConfigError(f"--count {count} is not possible: it must be a whole number from 1.")
    shared.check_writable(cases, as_json)
    config = shared.configured("", settings, None)
    prepared = shared.prepared_data(config, None, [split], progress=not quiet)
    part = prepared.corpus.splits[split]
    texts = [part.turn_text(turn) for turn in part.pairs[:, 4]]
    inferences = prepared.provider.infer_all(texts, sources.cache_folder(), not quiet)
    run = prepared.description | {"seed": seed, "versions": versions()}
    result = coverage(inferences) | {"split": split, "run": run}
    if cases:
        about = shared.TEXTS["reports"]["cases"].format_map(run | {"split": split})
        write_cases(cases, texts, inferences, about, count=count, seed=seed)
    shared.save_json(result, as_json)
    shared.print_json(result)
