"""`ctsm ...`: the command line, a module for each theme.

Every command imports what it needs when it runs, so that `--help` is quick. To add a command, write
a function in the module of its theme, name it below, and describe its options in `options.toml`.
"""

import io
import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from ctsm_lib import __version__
from ctsm_lib.errors import CtsmError
from ctsm_workbench.cli import analysis, data, people, training
from ctsm_workbench.cli.shared import TEXTS, say, speaks

HEAVY = ("train", "evaluate", "bench", "compare", "tradeoff", "contextual")
SHARED = ("train", "evaluate", "contextual", "data prepare")  # by several processes
COMMANDS: dict[str, list[Callable[..., None]]] = {
    "": [
        data.doctor, training.train, training.evaluate, training.score, training.compare,
        training.tradeoff, people.respond, people.chat, people.explore, analysis.polarity,
        analysis.contextual, analysis.figures, analysis.bench,
    ],
    "data": [data.fetch, data.status, data.prepare, data.knowledge, data.concepts],
    "judge": [people.make, people.serve, people.score],
}  # fmt: skip


def _declare(command: Callable[..., None], name: str) -> Callable[..., None]:
    """Declare the parameters of a function to Typer, as `options.toml` describes them."""
    described = TEXTS["shared"] | TEXTS.get(name, {})
    for parameter in command.__annotations__.keys() - {"return"}:
        found = described[parameter]
        if isinstance(found, dict):
            declared = typer.Argument(**found)
        else:
            *flags, text = [found] if isinstance(found, str) else found
            declared = typer.Option(*flags, help=text)
        kind = command.__annotations__[parameter]
        command.__annotations__[parameter] = Annotated[kind, declared]
    return command


app = typer.Typer(
    help=TEXTS["help"]["ctsm"], epilog=TEXTS["help"]["epilog"], no_args_is_help=True,
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
for _group, _commands in COMMANDS.items():
    _place = app
    if _group:
        _place = typer.Typer(help=TEXTS["help"][_group], no_args_is_help=True)
        app.add_typer(_place, name=_group)
    for _command in _commands:
        _place.command()(_declare(_command, f"{_group} {_command.__name__}".strip()))


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"ctsm-lab {__version__}")
        raise typer.Exit()


def _end(message: str, code: int = 1) -> NoReturn:
    typer.echo(message, err=True)
    raise SystemExit(code)


def main() -> None:
    """Run the command line. An error that users can correct is one sentence and exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    command = " ".join(sys.argv[1:3])
    if sys.platform == "linux" and command.startswith(HEAVY) and "CTSM_ALLOCATOR" not in os.environ:
        # Allocator settings are read only when a process starts, so Python starts again.
        again = [sys.executable, "-m", "ctsm_lib", *sys.argv[1:]]
        os.execve(sys.executable, again, TEXTS["allocator"] | os.environ)
    if os.environ.get("WORLD_SIZE", "1") != "1" and not command.startswith(SHARED):
        say(TEXTS["reports"]["several"], error=True)
        raise SystemExit(1)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that the terminal cannot show must not end a conversation.
            stream.reconfigure(errors="replace")
    try:
        app()
    except CtsmError as error:
        # With several processes, an error may be in one of them only.
        process = "" if speaks() else f" in process {os.environ['RANK']}"
        _end(f"error{process}: {error}")
    except OSError as error:
        if not error.filename:
            raise
        # Such as a full disk, or a file that belongs to somebody else.
        _end(f"error: {error.filename}: {error.strerror}.")
    except KeyboardInterrupt:
        _end("interrupted", 130)
