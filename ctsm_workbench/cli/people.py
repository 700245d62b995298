"""Commands for people: `ctsm respond`, `chat` and `explore`, and `ctsm judge make|serve|score`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from ctsm_lib.errors import CtsmError
from ctsm_lib.files import write_json
from ctsm_workbench.cli import shared
from ctsm_workbench.cli.shared import Texts

CHAT_COMMANDS = "/undo  /new  /save FILE  /quit"


def respond(
    run: Path, turns: list[str], show_json: bool = False, method: str = "greedy",
    decoding: Texts = None, device: str = "cpu",
) -> None:  # fmt: skip
    """Answer one conversation, and print the emotions that the model predicts for it."""
    answer_to, about, notes = _talker(run, device, method, decoding)
    answer = answer_to(turns)
    if show_json:
        return shared.print_json(answer.asdict() | {"notes": notes, "run": about})
    shared.print_notes(*notes)
    typer.echo(answer.text or "(an empty answer)")
    typer.echo(_emotions(answer.emotions))


def chat(run: Path, method: str = "greedy", decoding: Texts = None, device: str = "cpu") -> None:
    """Talk to a run. /undo removes a turn, /new starts again, /save FILE saves, /quit ends."""
    answer_to, _, notes = _talker(run, device, method, decoding)
    shared.print_notes(*notes)
    typer.echo(f"Tell me what happened. {CHAT_COMMANDS}")
    turns: list[str] = []
    while True:
        try:
            line = input("you> ").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo("")
            return
        command, _, argument = line.partition(" ")
        try:
            if command == "/quit":
                return
            if command == "/new":
                turns = []
            elif command == "/undo":
                turns = turns[:-2]
                typer.echo(f"({len(turns)} turns left)")
            elif command == "/save" and argument:
                write_json(Path(argument), {"run": str(run), "turns": turns})
                typer.echo(f"saved to {argument}")
            elif command.startswith("/"):
                typer.echo(CHAT_COMMANDS)
            elif line:
                answer = answer_to([*turns, line])
                turns += [line, answer.text]
                typer.echo(f"ctsm> {answer.text or '(an empty answer)'}")
                typer.echo(f"      {_emotions(answer.emotions, top=3)}")
        except CtsmError as error:
            typer.echo(f"not saved: {error}" if command == "/save" else str(error))


def explore(
    runs: list[Path] | None = None, host: str = "127.0.0.1", port: int = 8867,
    theme: str = "light", browser: bool = True,
) -> None:  # fmt: skip
    """Explore words, contexts and answers on a page. Ctrl-C ends."""
    from ctsm_workbench.explorers import serve

    serve(
        runs or [], host=host, port=port, theme=theme, browser=browser,
        announce=lambda address: typer.echo(f"Explorers at {address}\nCtrl-C ends."),
    )  # fmt: skip


def make(
    files: list[str], out: Path, items: int = 100, checks: int | None = None, seed: int = 0,
    key: Path | None = None, show_json: bool = False,
) -> None:  # fmt: skip
    """Make blind sheets from two or more files of answers, which are matched by context."""
    from ctsm_workbench.judging import sheets

    systems = sheets.named_files(files)
    report = sheets.make(systems, out, items=items, checks=checks, seed=seed, key=key)
    if show_json:
        return shared.print_json(report)
    for name, found in report["files"].items():
        more = ["..."] if found["unmatched"] > len(found["unmatched_lines"]) else []
        lines = ", ".join(map(str, found["unmatched_lines"] + more))
        lines = f" (lines {lines})" if lines else ""
        shared.report("answers", name=name, lines=lines, **found)
    facts = report | {"emotions": len(report["emotions"])}
    shared.report("sheet", out=out, key=key or out / "key.json", **facts)


def serve(
    folder: Path, judge: str, host: str = "127.0.0.1", port: int = 8866, theme: str = "light",
    browser: bool = True,
) -> None:  # fmt: skip
    """Judge on a page, by keyboard. Every answer is saved; start again to continue. Ctrl-C ends."""
    from ctsm_workbench.judging import page

    page.serve(
        folder, judge, host=host, port=port, theme=theme, browser=browser,
        announce=lambda address: shared.report("judging", judge=judge, address=address),
    )  # fmt: skip


def score(
    folders: list[Path], out: Path | None = None, key: Path | None = None,
    only_complete: bool = False, draws: int = 2000, seed: int = 0, note: str = "",
    show_json: bool = False,
) -> None:  # fmt: skip
    """Merge the judges: Table 2, agreement, tests, and how often each prefers the left."""
    from ctsm_workbench.judging import scoring

    judgements = scoring.gather(folders, key, only_complete)
    result = scoring.score(judgements, draws=draws, seed=seed)
    shared.print_json(result) if show_json else typer.echo(scoring.markdown(result, note), nl=False)
    if out:
        for path in scoring.write_table(result, out, note):
            typer.echo(f"wrote {path}", err=True)


def _talker(
    folder: Path, device: str, method: str, settings: Texts
) -> tuple[Callable[[list[str]], Any], dict, list[str]]:
    """A function that answers a conversation, a description of the run, and notes for the user."""
    from ctsm_lib.runs import load_run

    chosen = shared.chosen_device(device)
    run = load_run(folder, chosen)
    provider, note = shared.provider_of(run)
    run, how = shared.ready_to_answer(run, method, settings)
    about = run.about(chosen) | {"knowledge": provider.name}
    notes = [text for text in (run.note, note) if text]
    return lambda turns: run.respond([turns], provider, how, chosen)[0], about, notes


def _emotions(emotions: dict[str, float], top: int = 5) -> str:
    shown = ", ".join(f"{name} {value:.0%}" for name, value in list(emotions.items())[:top])
    return f"predicted: {shown}" if shown else "(this model predicts no emotion)"
