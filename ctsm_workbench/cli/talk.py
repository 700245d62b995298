"""`ctsm respond`, `ctsm chat` and `ctsm explore`: a trained run answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ctsm_lib.errors import CtsmError
from ctsm_workbench.cli.shared import (
    DecodingSets,
    Device,
    JsonFlag,
    Method,
    Run,
    chosen_device,
    decoding,
    print_json,
)


def respond(
    run: Run,
    turns: Annotated[
        list[str], typer.Argument(help="The conversation so far, the speaker's turn first.")
    ],
    as_json: JsonFlag = False,
    method: Method = "greedy",
    settings: DecodingSets = None,
    device: Device = "cpu",
) -> None:
    """Answer one conversation, and say which emotions the model heard."""
    chosen, loaded, provider, notes, how = _ready_to_answer(run, device, method, settings)
    answer = loaded.respond([turns], provider, how, chosen)[0]
    if as_json:
        about = loaded.about(chosen) | {"knowledge": provider.name}
        return print_json(answer.asdict() | {"notes": notes, "run": about})
    for text in notes:
        typer.echo(f"note: {text}", err=True)
    typer.echo(answer.text or "(the model says nothing)")
    typer.echo(_emotions(answer.emotions))


def chat(
    run: Run, method: Method = "greedy", settings: DecodingSets = None, device: Device = "cpu"
) -> None:
    """Talk to a run. /undo takes a turn back, /new begins anew, /save FILE keeps the talk, /quit ends."""
    from ctsm_lib.files import write_json

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
                write_json(Path(argument), {"run": str(run), "turns": turns})
                typer.echo(f"saved to {argument}")
            except CtsmError as error:
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


def explore(
    runs: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Argument(
            help="Run folders. Default: CTSM_RUN, else the lessons' run, trained if need be."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where to listen. Default: this computer only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The next free one, if this is taken.")] = 8867,
    theme: Annotated[str, typer.Option(help="light or dark.")] = "light",
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Words, contexts and answers by hand, on a page. Ctrl-C ends."""
    from ctsm_workbench.explorers.page import serve

    def announce(address: str) -> None:
        typer.echo(f"Explorers at {address}\nCtrl-C ends.")

    serve(runs or [], host=host, port=port, theme=theme, browser=browser, announce=announce)


def _ready_to_answer(run: Path, device: str, method: str, settings: list[str] | None):  # type: ignore[no-untyped-def]
    """Device, run, knowledge provider, notes for the user, decoding: what `respond` and `chat` begin with."""
    from ctsm_lib.runs import load_run

    chosen = chosen_device(device)
    loaded = load_run(run, chosen)
    provider, note = loaded.provider(sources_or_none())
    notes = [text for text in (loaded.note, note) if text]
    return chosen, loaded, provider, notes, decoding(loaded, method, settings)


def sources_or_none():  # type: ignore[no-untyped-def]
    """The data folder, for retrieving knowledge; a run answers without any, too."""
    from ctsm_lib.errors import DataError
    from ctsm_lib.sources import find_sources

    try:
        return find_sources()
    except DataError:
        return None


def _emotions(emotions: dict[str, float], top: int = 5) -> str:
    if not emotions:
        return "(this model hears no emotion)"
    return "heard: " + ", ".join(
        f"{name} {value:.0%}" for name, value in list(emotions.items())[:top]
    )
