"""The commands `ctsm doctor` and `ctsm data fetch|status|prepare|knowledge`."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import typer

from ctsm_lib import sources
from ctsm_lib.errors import ConfigError, CtsmError
from ctsm_workbench.cli import shared
from ctsm_workbench.cli.shared import Texts

OK, EXTRA, BROKEN = ("ok", " -", "!!")  # EXTRA is missing for some uses only
PACKAGES = {  # package -> what needs it, "" for everything
    **dict.fromkeys(("torch", "numpy", "nltk", "accelerate", "safetensors", "sklearn", "tqdm"), ""),
    "pooch": "downloads", "sacrebleu": "BLEU", "plotly": "figures", "umap": "the map",
    "kaleido": "PNG and SVG of figures", "transformers": "COMET", "jupyterlab": "notebooks",
    "ipywidgets": "explorers",
}  # fmt: skip
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def doctor() -> None:
    """Check whether this machine can run everything, and name what is missing."""
    signs = set()
    for sign, name, finding in _checks():
        typer.echo(f"{sign} {name:<22} {finding}")
        signs.add(sign)
    if BROKEN in signs:
        raise typer.Exit(1)


def _checks() -> Iterator[tuple[str, str, str]]:
    """Sign, name and finding of each check: Python, packages, device, disk and data."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield OK if sys.version_info >= (3, 11) else BROKEN, "Python", version
    for name, use in PACKAGES.items():
        if find_spec(name):
            yield OK, name, "found"
        elif use:
            yield EXTRA, name, f"missing, needed for {use} only"
        else:
            yield BROKEN, name, "missing: pip install -e ."
    if find_spec("torch"):
        import torch

        cpu = f"cpu with {torch.get_num_threads()} threads"
        cuda = torch.cuda.is_available()
        yield OK, "device", f"cuda: {torch.cuda.get_device_name(0)}" if cuda else cpu
    browser = next(filter(None, map(shutil.which, BROWSERS)), "")
    missing = "none found, needed for PNG and SVG of figures only"
    yield OK if browser else EXTRA, "browser", browser or missing
    free = shutil.disk_usage(".").free / 1e9
    yield OK if free > 0.5 else BROKEN, "disk", f"{free:.1f} GB free"
    try:
        data = sources.find_sources().describe()
        yield OK, "data", ", ".join(f"{name} {value}" for name, value in data.items())
        folder = sources.cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
        finding = str(folder) if writable else f"{folder} cannot be written: set CTSM_CACHE"
        yield OK if writable else EXTRA, "cache", finding
    except (CtsmError, OSError) as error:
        yield BROKEN, "data", str(error)


def fetch(
    part: Texts = None, out: Path | None = None, accept_terms: bool = False, quiet: bool = False
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
    with shared.together(device, quiet) as (chosen, progress):
        config = shared.configured(preset, settings, vectors)
        prepared = shared.prepared_data(config, vectors, device=chosen, progress=progress)
    if not shared.speaks():
        return
    for split, pairs in prepared.pairs.items():
        typer.echo(f"{split:<6} {len(pairs):>7,} pairs")
    for problem in prepared.corpus.problems[:20]:
        typer.echo(f"left out: {problem}")
    shared.print_json(prepared.description)
    typer.echo(f"ready after {time.monotonic() - begun:.1f} s")


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
    shared.save_json(as_json, result)
    shared.print_json(result)
