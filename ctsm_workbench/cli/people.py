"""Commands for people: `ctsm respond`, `chat` and `explore`, and `ctsm judge make|serve|score`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from ctsm_lib.errors import CtsmError
from ctsm_workbench.cli import shared

if TYPE_CHECKING:
    from ctsm_lib.runs import Response

ANSWERS = "Answers as JSON lines, FILE or NAME=FILE, the system in question first."
EXPLORED = "Run folders. Default: CTSM_RUN, else the lessons' run, trained if needed."
UNFINISHED = "Leave out items that a judge has not finished."
CHAT_COMMANDS = "/undo  /new  /save FILE  /quit"


def respond(
    run: shared.Run,
    turns: Annotated[list[str], Argument(help="The conversation so far; the speaker begins.")],
    as_json: shared.JsonFlag = False,
    method: shared.Method = "greedy",
    settings: shared.DecodingSets = None,
    device: shared.Device = "cpu",
) -> None:
    """Answer one conversation, and print the emotions that the model predicts for it."""
    answer_to, about, notes = _talker(run, device, method, settings)
    answer = answer_to(turns)
    if as_json:
        return shared.print_json(answer.asdict() | {"notes": notes, "run": about})
    shared.print_notes(*notes)
    typer.echo(answer.text or "(an empty answer)")
    typer.echo(_emotions(answer))


def chat(
    run: shared.Run,
    method: shared.Method = "greedy",
    settings: shared.DecodingSets = None,
    device: shared.Device = "cpu",
) -> None:
    """Talk to a trained model. /undo removes a turn, /new starts again, /save FILE saves.

    /quit ends the talk.
    """
    from ctsm_lib.files import write_json

    answer_to, _, notes = _talker(run, device, method, settings)
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
            typer.echo(CHAT_COMMANDS)
        elif line:
            try:
                answer = answer_to([*turns, line])
                turns += [line, answer.text]
                emotions = _emotions(answer, 3)
                typer.echo(f"ctsm> {answer.text or '(an empty answer)'}\n      {emotions}")
            except CtsmError as error:
                typer.echo(str(error))


def explore(
    runs: Annotated[list[Path] | None, Argument(help=EXPLORED)] = None,
    host: shared.Host = "127.0.0.1",
    port: shared.Port = 8867,
    theme: shared.Theme = "light",
    browser: shared.Browser = True,
) -> None:
    """Explore words, contexts and answers on a page. Ctrl-C ends."""
    from ctsm_workbench.explorers.serving import serve

    def announce(address: str) -> None:
        typer.echo(f"Explorers at {address}\nCtrl-C ends.")

    serve(runs or [], host=host, port=port, theme=theme, browser=browser, announce=announce)


def make(
    files: Annotated[list[str], Argument(help=ANSWERS, metavar="FILE...")],
    out: Annotated[Path, Option(help="Folder for the sheet, the instructions and the key.")],
    items: Annotated[int, Option(help="Contexts; each is judged once for each comparison.")] = 100,
    checks: Annotated[int | None, Option(help="Attention checks. Default: 1 per 20 rows.")] = None,
    seed: shared.Seed = 0,
    key: Annotated[Path | None, Option(help="File for the key. Default: OUT/key.json.")] = None,
    as_json: shared.JsonFlag = False,
) -> None:
    """Make blind sheets from two or more files of answers, which are matched by context."""
    from ctsm_workbench.judging import sheets

    systems = sheets.named_files(files)
    report = sheets.make(systems, out, items=items, checks=checks, seed=seed, key=key)
    if as_json:
        return shared.print_json(report)
    for name, found in report["files"].items():
        more = ", ..." if found["unmatched"] > len(found["unmatched_lines"]) else ""
        lines = ", ".join(map(str, found["unmatched_lines"])) + more
        typer.echo(
            f"{name}: {found['rows']:,} answers, {found['matched']:,} matched by context, "
            f"{found['unmatched']:,} unmatched{f' (lines {lines})' if lines else ''}, "
            f"{found['repeated']:,} left out because their context occurs more than once"
        )
    comparisons = f"{report['comparisons']} comparison{'s' * (report['comparisons'] != 1)}"
    attention = f"{report['checks']} attention check{'s' * (report['checks'] != 1)}"
    typer.echo(
        f"{report['sheet']}: {report['rows']} rows = {report['items']} contexts x {comparisons} "
        f"+ {attention}; {len(report['emotions'])} emotions; "
        f"both answers the same in {report['same_answer']} rows; "
        f"answers are shown {'in ' * (report['form'] != 'as written')}{report['form']}"
    )
    typer.echo(f"Judge: ctsm judge serve {out} --judge NAME,")
    typer.echo(f"or in a spreadsheet with a copy of {out / 'sheet.csv'}.")
    typer.echo(f"Keep {key or out / 'key.json'} from the judges.")


def serve(
    folder: Annotated[Path, Argument(help="Folder of `ctsm judge make`.")],
    judge: Annotated[str, Option(help="Your name as a judge; a pseudonym is best.")],
    host: shared.Host = "127.0.0.1",
    port: shared.Port = 8866,
    theme: shared.Theme = "light",
    browser: shared.Browser = True,
) -> None:
    """Judge on a page, by keyboard. Every answer is saved; start again to continue. Ctrl-C ends."""
    from ctsm_workbench.judging import page

    def announce(address: str) -> None:
        typer.echo(f"Judging as {judge} at {address}")
        typer.echo("Ctrl-C ends; every answer is saved when it is given.")

    page.serve(folder, judge, host=host, port=port, theme=theme, browser=browser, announce=announce)


def score(
    folders: Annotated[
        list[Path], Argument(help="Folder of `ctsm judge make`; also copies from several judges.")
    ],
    out: Annotated[Path | None, Option(help="Folder for Table 2 in all formats.")] = None,
    key: Annotated[Path | None, Option(help="Default: key.json in a FOLDER.")] = None,
    only_complete: Annotated[bool, Option("--only-complete", help=UNFINISHED)] = False,
    draws: Annotated[int, Option(help="Bootstrap samples for kappa's interval.")] = 2000,
    seed: Annotated[int, Option(help="Seed of the bootstrap.")] = 0,
    note: Annotated[str, Option(help="A line for the table, e.g. who the judges were.")] = "",
    as_json: shared.JsonFlag = False,
) -> None:
    """Merge the judges: Table 2, agreement, tests, and how often each prefers the left."""
    from ctsm_workbench.judging import scoring, table

    judgements = scoring.gather(folders, key, only_complete)
    result = scoring.score(judgements, draws=draws, seed=seed)
    if as_json:
        shared.print_json(result)
    else:
        typer.echo(table.markdown(result, note), nl=False)
    if out:
        for path in table.write_table(result, out, note):
            typer.echo(f"wrote {path}", err=True)


def _talker(
    folder: Path, device: str, method: str, settings: list[str] | None
) -> tuple[Callable[[list[str]], "Response"], dict, list[str]]:
    """A function that answers a conversation, a description of the run, and notes for the user."""
    from ctsm_lib.runs import load_run

    chosen = shared.chosen_device(device)
    run = load_run(folder, chosen)
    provider, note = run.provider(shared.sources_or_none())
    run, how = shared.ready_to_answer(run, method, settings)
    about = run.about(chosen) | {"knowledge": provider.name}
    notes = [text for text in (run.note, note) if text]
    return lambda turns: run.respond([turns], provider, how, chosen)[0], about, notes


def _emotions(answer: "Response", top: int = 5) -> str:
    likely = list(answer.emotions.items())[:top]
    shown = ", ".join(f"{name} {value:.0%}" for name, value in likely)
    return f"predicted: {shown}" if shown else "(this model predicts no emotion)"
