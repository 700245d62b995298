"""`ctsm ...`: the command line. Every command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from ctsm_lib import __version__
from ctsm_lib.errors import CtsmError

app = typer.Typer(
    help="ctsm-lab: trait and state emotions in conversation (CTSM, LREC-COLING 2024).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Fetch, prepare and name the data that is used.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Vectors = Annotated[Optional[Path], typer.Option("--vectors", help="Word vectors: GloVe text or .npz.")]  # noqa: UP045
Sets = Annotated[Optional[list[str]], typer.Option("--set", help="Change a setting: key=value. Repeatable.")]  # noqa: UP045
JsonFile = Annotated[Optional[Path], typer.Option("--json", help="Write the result as JSON to this file.")]  # noqa: UP045
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps or auto (an accelerator where there is one).")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"ctsm-lab {__version__}")
        raise typer.Exit()


@app.command()
def doctor() -> None:
    """Say whether this machine can run everything, and what is missing."""
    from ctsm_lib.doctor import examine

    healthy = True
    for check in examine():
        typer.echo(f"{check.sign} {check.name:<22} {check.finding}")
        healthy = healthy and check.ok
    if not healthy:
        raise typer.Exit(1)


@data_app.command()
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


@data_app.command()
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
        typer.echo(json.dumps(parts, indent=1))
        return
    for name, value in parts.items():
        typer.echo(f"{name:<10} {value}")
    if found.origin == "sample":
        typer.echo("This is the small invented sample. `ctsm data fetch` gets the real data; or set CTSM_DATA.")


@data_app.command("prepare")
def prepare_command(
    preset: Annotated[str, typer.Option(help="Whose settings count.")] = "",
    settings: Sets = None,
    vectors: Vectors = None,
    quiet: Quiet = False,
) -> None:
    """Tokenise, retrieve knowledge and cut vectors once, so that training starts at once."""
    import time

    begun = time.monotonic()
    _, prepared, _ = _prepared(preset, settings, vectors, quiet)
    for split, pairs in prepared.pairs.items():
        typer.echo(f"{split:<6} {len(pairs):>7,} pairs")
    for problem in prepared.corpus.problems[:20]:
        typer.echo(f"left out: {problem}")
    typer.echo(json.dumps(prepared.description, indent=1))
    typer.echo(f"ready after {time.monotonic() - begun:.1f} s")


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Run folder.")],
    preset: Annotated[
        str, typer.Option(help="paper, improved or sample. Default: improved, or sample on the sample.")
    ] = "",
    seed: Annotated[Optional[int], typer.Option(help="Random seed.")] = None,  # noqa: UP045
    settings: Sets = None,
    vectors: Vectors = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard files.")] = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Train CTSM. Ctrl-C ends after the step at hand with a checkpoint; --resume goes on from there."""
    from ctsm_lib.checkpoint import read_run
    from ctsm_lib.training import train as run_training

    settings = list(settings or []) + ([f"seed={seed}"] if seed is not None else [])
    if resume:
        config = read_run(out)[0].override(settings)
        _, prepared, _ = _prepared("", None, vectors, quiet, config)
    else:
        config, prepared, _ = _prepared(preset, settings, vectors, quiet)
    typer.echo(f"{config.preset} on {prepared.description['data']}: {len(prepared.pairs['train']):,} pairs, "
               f"vectors {prepared.description['vectors']['name']}, knowledge {prepared.description['knowledge']}")  # fmt: skip
    result = run_training(
        config, prepared, out, resume=resume, cpu=_device(device) == "cpu", progress=not quiet, tensorboard=tensorboard
    )
    if best := result["best"]:
        typer.echo(
            f"best dev check: iteration {best['iteration']}, ppl_token {best['ppl_token']:.2f}, acc {best['acc']:.2f}"
        )
    if result["interrupted"]:
        typer.echo(f"Interrupted at iteration {result['iteration']}. Go on: ctsm train --out {out} --resume")
        raise typer.Exit(130)
    typer.echo(f"Done. Score it: ctsm evaluate {out}   Talk to it: ctsm chat {out}")


@app.command("evaluate")
def evaluate_command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    as_json: JsonFile = None,
    responses: Annotated[Optional[Path], typer.Option(help="Write every answer to this JSON-lines file.")] = None,  # noqa: UP045
    samples: Annotated[Optional[Path], typer.Option(help="Write 40 random answers to this Markdown file.")] = None,  # noqa: UP045
    method: Annotated[str, typer.Option(help="greedy, beam or nucleus.")] = "greedy",
    settings: Annotated[Optional[list[str]], typer.Option("--set", help="A decoding setting: key=value.")] = None,  # noqa: UP045
    vectors: Vectors = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Score a run on a split as the paper's tables do: accuracy, both perplexities, Dist, BLEU."""
    from ctsm_lib.checkpoint import write_json
    from ctsm_lib.prepare import prepare
    from ctsm_lib.runs import evaluate, load_run, write_jsonl, write_samples
    from ctsm_lib.sources import find_sources

    chosen = _device(device)
    loaded = load_run(run, chosen)
    if loaded.note:
        typer.echo(f"note: {loaded.note}", err=True)
    how = _decoding(method, settings, loaded.config.max_response)
    prepared = prepare(loaded.config, find_sources(vectors=vectors), splits=[split], progress=not quiet)
    scores, rows = evaluate(loaded, prepared, split, how, chosen, progress=not quiet)
    if responses:
        write_jsonl(responses, rows)
    if samples:
        write_samples(samples, rows)
    if as_json:
        as_json.parent.mkdir(parents=True, exist_ok=True)
        write_json(as_json, scores)
    _print_scores(scores)


@app.command()
def score(
    file: Annotated[Path, typer.Argument(help="JSON lines with `response` and, for BLEU, `reference`.")],
    as_json: JsonFlag = False,
) -> None:
    """Dist, length, distinct answers and BLEU of any file of responses, also of another system's."""
    from ctsm_lib.responses import read_responses
    from ctsm_lib.scores import response_scores

    responses, references = read_responses(file)
    scores = response_scores(responses, references)
    typer.echo(json.dumps(scores, indent=1)) if as_json else _print_scores(scores)


@app.command()
def respond(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    turns: Annotated[list[str], typer.Argument(help="The conversation so far, the speaker's turn first.")],
    as_json: JsonFlag = False,
    method: Annotated[str, typer.Option(help="greedy, beam or nucleus.")] = "greedy",
    settings: Annotated[Optional[list[str]], typer.Option("--set", help="A decoding setting: key=value.")] = None,  # noqa: UP045
    device: Device = "cpu",
) -> None:
    """Answer one conversation, and say which emotions the model heard."""
    chosen, loaded, provider, notes, how = _ready_to_answer(run, device, method, settings)
    answer = loaded.respond([turns], provider, how, chosen)[0]
    if as_json:
        about = loaded.about(chosen) | {"knowledge": provider.name}
        typer.echo(json.dumps(answer.asdict() | {"notes": notes, "run": about}, ensure_ascii=False, indent=1))
        return
    for text in notes:
        typer.echo(f"note: {text}", err=True)
    typer.echo(answer.text or "(the model says nothing)")
    typer.echo(_emotions(answer.emotions))


@app.command()
def chat(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    method: Annotated[str, typer.Option(help="greedy, beam or nucleus.")] = "greedy",
    settings: Annotated[Optional[list[str]], typer.Option("--set", help="A decoding setting: key=value.")] = None,  # noqa: UP045
    device: Device = "cpu",
) -> None:
    """Talk to a run. /undo takes a turn back, /new begins anew, /save FILE keeps the talk, /quit ends."""
    chosen, loaded, provider, notes, how = _ready_to_answer(run, device, method, settings)
    for text in notes:
        typer.echo(f"note: {text}", err=True)
    typer.echo("Tell me what happened. /undo  /new  /save FILE  /quit")
    turns: list[str] = []
    while True:
        try:
            said = input("you> ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo("")
            return
        command, _, argument = said.partition(" ")
        if command == "/quit":
            return
        if command == "/new":
            turns = []
        elif command == "/undo":
            turns = turns[:-2]
            typer.echo(f"({len(turns)} turns left)")
        elif command == "/save" and argument:
            try:
                Path(argument).write_text(json.dumps({"run": str(run), "turns": turns}, ensure_ascii=False, indent=1))
                typer.echo(f"saved to {argument}")
            except OSError as error:
                typer.echo(f"not saved: {error}")
        elif command.startswith("/"):
            typer.echo("/undo  /new  /save FILE  /quit")
        elif said:
            try:
                answer = loaded.respond([[*turns, said]], provider, how, chosen)[0]
            except CtsmError as error:
                typer.echo(str(error))
                continue
            turns += [said, answer.text]
            typer.echo(f"ctsm> {answer.text or '(nothing)'}\n      {_emotions(answer.emotions, 3)}")


@app.command()
def polarity(
    as_json: JsonFile = None,
    vectors: Vectors = None,
    settings: Sets = None,
    quiet: Quiet = False,
) -> None:
    """Section 5.4: for how many words do trait and state polarity differ, and what does the number rest on?"""
    from ctsm_lib.checkpoint import write_json
    from ctsm_lib.polarity import analyse_prepared

    _, prepared, _ = _prepared("", ["knowledge=none", "dim=300", *(settings or [])], vectors, quiet)
    analysis = analyse_prepared(prepared)
    if as_json:
        as_json.parent.mkdir(parents=True, exist_ok=True)
        write_json(as_json, analysis)
    typer.echo(analysis["conclusion"])


@app.command()
def figures(
    names: Annotated[Optional[list[str]], typer.Argument(help="Which figures. Default: all.")] = None,  # noqa: UP045
    out: Annotated[Path, typer.Option(help="Folder for HTML, PNG, SVG and JSON.")] = Path("figures"),
    run: Annotated[Optional[Path], typer.Option(help="Draw this run's training curve instead.")] = None,  # noqa: UP045
    vectors: Vectors = None,
    quiet: Quiet = False,
) -> None:
    """Draw the paper's figures and ours, each with the JSON it was drawn from."""
    from ctsm_lib.errors import ConfigError
    from ctsm_lib.figures import FIGURES, write_figure
    from ctsm_lib.polarity import analyse_prepared

    if run:
        from ctsm_lib.checkpoint import read_log
        from ctsm_lib.figures import training_curve

        records = read_log(run)
        for path in write_figure(training_curve(records), {"records": records}, out, f"{run.name}_training"):
            typer.echo(str(path))
        return
    wanted = names or list(FIGURES)
    if unknown := [name for name in wanted if name not in FIGURES]:
        raise ConfigError(f"There is no figure {unknown[0]!r}. There are: {', '.join(FIGURES)}.")
    _, prepared, _ = _prepared("", ["knowledge=none", "dim=300"], vectors, quiet)
    analysis = analyse_prepared(prepared)
    for name in wanted:
        for path in write_figure(FIGURES[name](analysis), analysis, out, name):
            typer.echo(str(path))


@app.command()
def bench(
    as_json: JsonFile = None,
    preset: Annotated[str, typer.Option(help="Whose model is measured.")] = "paper",
    settings: Sets = None,
    vectors: Vectors = None,
    seconds: Annotated[float, typer.Option(help="How long training is measured.")] = 20.0,
    run: Annotated[Optional[Path], typer.Option(help="A trained run to answer the whole test split with.")] = None,  # noqa: UP045
) -> None:
    """Measure training, answering and preparation beside the limit computed for this machine."""
    from ctsm_lib.bench import measure
    from ctsm_lib.checkpoint import write_json
    from ctsm_lib.config import preset as make
    from ctsm_lib.runs import load_run
    from ctsm_lib.sources import find_sources

    loaded = load_run(run) if run else None
    result = measure(make(preset, settings or []), find_sources(vectors=vectors), seconds, loaded)
    if as_json:
        as_json.parent.mkdir(parents=True, exist_ok=True)
        write_json(as_json, result)
    typer.echo(json.dumps(result, indent=1))


def _prepared(preset_name: str, settings: list[str] | None, vectors: Path | None, quiet: bool, config: Any = None):  # type: ignore[no-untyped-def]
    """Configuration, data and sources; the preset's default depends on whether there is real data."""
    from ctsm_lib.config import preset
    from ctsm_lib.prepare import prepare
    from ctsm_lib.sources import find_sources

    sources = find_sources(vectors=vectors)
    if config is None:
        default = "sample" if sources.origin == "sample" else "improved"
        config = preset(preset_name or default, settings or [])
    if sources.origin == "sample" and not quiet:
        typer.echo("Using the small invented sample (no CTSM_DATA, no data/raw).", err=True)
    return config, prepare(config, sources, progress=not quiet), sources


def _sources_or_none():  # type: ignore[no-untyped-def]
    """The data folder, for retrieving knowledge; a run answers without any, too."""
    from ctsm_lib.errors import DataError
    from ctsm_lib.sources import find_sources

    try:
        return find_sources()
    except DataError:
        return None


def _ready_to_answer(run: Path, device: str, method: str, settings: list[str] | None):  # type: ignore[no-untyped-def]
    """Device, run, knowledge provider, notes for the user, decoding: what `respond` and `chat` begin with."""
    from ctsm_lib.runs import load_run

    chosen = _device(device)
    loaded = load_run(run, chosen)
    provider, note = loaded.provider(_sources_or_none())
    notes = [text for text in (loaded.note, note) if text]
    return chosen, loaded, provider, notes, _decoding(method, settings, loaded.config.max_response)


def _device(name: str) -> str:
    import torch

    from ctsm_lib.errors import ConfigError

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name} is not to be had here: {str(error).splitlines()[0]}") from None
    return name


def _decoding(method: str, settings: list[str] | None, max_length: int):  # type: ignore[no-untyped-def]
    from ctsm_lib.config import overridden
    from ctsm_lib.decoding import Decoding

    return overridden(Decoding(max_length=max_length), [f"method={method}", *(settings or [])])


def _print_scores(scores: dict) -> None:
    for name, value in scores.items():
        if isinstance(value, int | float):
            typer.echo(f"{name:<20} {value:>10,.2f}" if isinstance(value, float) else f"{name:<20} {value:>10,}")
    for name, value in scores.get("run", {}).items():
        typer.echo(f"  {name}: {value}")


def _emotions(emotions: dict[str, float], top: int = 5) -> str:
    return "heard: " + ", ".join(f"{name} {value:.0%}" for name, value in list(emotions.items())[:top])


def _better_allocator(arguments: list[str]) -> None:
    """Start again with allocator settings that only count before Python starts: freed memory is kept for the next step."""
    heavy = {"train", "evaluate", "bench", "compare"}
    if sys.platform != "linux" or not heavy & set(arguments[:1]) or os.environ.get("CTSM_ALLOCATOR"):
        return
    settings = {"MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_TOP_PAD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "4000000000",
                "THP_MEM_ALLOC_ENABLE": "1", "CTSM_ALLOCATOR": "1"}  # fmt: skip
    environment = settings | os.environ
    os.execve(sys.executable, [sys.executable, "-m", "ctsm_lib", *arguments], environment)


def main() -> None:
    """Run the command line; what users can mend is one sentence and exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    _better_allocator(sys.argv[1:])
    try:
        app(standalone_mode=True)
    except CtsmError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
