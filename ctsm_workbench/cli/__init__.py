"""`ctsm ...`: the command line, a module for each theme.

Every command imports what it needs when it runs, so that `--help` is quick. A new command is a function in the module of
its theme and a line in `COMMANDS` below; options that others have as well stand in `shared`.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from ctsm_lib import __version__
from ctsm_lib.errors import CtsmError
from ctsm_workbench.cli import analysis, comparing, data, judge, pictures, talk, training

COMMANDS: dict[str, Callable[..., None]] = {
    "doctor": data.doctor,
    "train": training.train,
    "evaluate": training.evaluate,
    "score": training.score,
    "compare": comparing.compare,
    "tradeoff": comparing.tradeoff,
    "respond": talk.respond,
    "chat": talk.chat,
    "explore": talk.explore,
    "polarity": analysis.polarity,
    "contextual": pictures.contextual,
    "figures": pictures.figures,
    "bench": analysis.bench,
}
DATA_COMMANDS: dict[str, Callable[..., None]] = {
    "fetch": data.fetch,
    "status": data.status,
    "prepare": data.prepare,
    "knowledge": data.knowledge,
}
JUDGE_COMMANDS: dict[str, Callable[..., None]] = {
    "make": judge.make,
    "serve": judge.serve,
    "score": judge.score,
}

app = typer.Typer(
    help="ctsm-lab: trait and state emotions in conversation (CTSM, LREC-COLING 2024).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Fetch, prepare and name the data that is used.", no_args_is_help=True)
for name, command in COMMANDS.items():
    app.command(name)(command)
for name, command in DATA_COMMANDS.items():
    data_app.command(name)(command)
app.add_typer(data_app, name="data")
judge_app = typer.Typer(
    help="Let people judge which of two answers is better, blind.", no_args_is_help=True
)
for name, command in JUDGE_COMMANDS.items():
    judge_app.command(name)(command)
app.add_typer(judge_app, name="judge")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"ctsm-lab {__version__}")
        raise typer.Exit()


def _better_allocator(arguments: list[str]) -> None:
    """Start again with allocator settings that only count before Python starts: freed memory is kept for the next step."""
    heavy = {"train", "evaluate", "bench", "compare", "tradeoff", "contextual"}
    if (
        sys.platform != "linux"
        or not heavy & set(arguments[:1])
        or os.environ.get("CTSM_ALLOCATOR")
    ):
        return
    settings = {"MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_TOP_PAD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "4000000000",
                "THP_MEM_ALLOC_ENABLE": "1", "CTSM_ALLOCATOR": "1"}  # fmt: skip
    environment = settings | os.environ
    os.execve(sys.executable, [sys.executable, "-m", "ctsm_lib", *arguments], environment)


def _refuse_several(arguments: list[str]) -> None:
    """End where several processes were launched for a command that is one process's: each would do and write the same."""
    together = arguments[:1] in (["train"], ["evaluate"], ["contextual"]) or arguments[:2] == [
        "data",
        "prepare",
    ]
    if os.environ.get("WORLD_SIZE", "1") == "1" or together:
        return
    if os.environ.get("RANK", "0") == "0":
        typer.echo(
            "error: several processes can share train, evaluate, contextual and data prepare; run this command without "
            "torchrun, accelerate launch or WORLD_SIZE.",
            err=True,
        )
    raise SystemExit(1)


def main() -> None:
    """Run the command line; what users can mend is one sentence and exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    _better_allocator(sys.argv[1:])
    _refuse_several(sys.argv[1:])
    for stream in (
        sys.stdin,
        sys.stdout,
        sys.stderr,
    ):  # bytes or letters that a terminal has no sign for end no talk
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app(standalone_mode=True)
    except CtsmError as error:
        number = os.environ.get(
            "RANK", "0"
        )  # of processes that share the work, one may lack what the others have
        typer.echo(f"error{f' in process {number}' if number != '0' else ''}: {error}", err=True)
        raise SystemExit(1) from None
    except OSError as error:
        if not error.filename:
            raise
        typer.echo(
            f"error: {error.filename}: {error.strerror}.", err=True
        )  # a full disk, a file that is not ours
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise SystemExit(130) from None
