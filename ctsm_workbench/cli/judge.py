"""`ctsm judge make`, `ctsm judge serve` and `ctsm judge score`: which of two answers do people find better?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ctsm_workbench.cli.shared import JsonFlag, print_json


def make(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Answers as JSON lines, FILE or NAME=FILE, the system in question first.",
            metavar="FILE...",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the sheet, the instructions and the key.")],
    items: Annotated[int, typer.Option(help="Contexts; each is judged once a comparison.")] = 100,
    checks: Annotated[
        int | None, typer.Option(help="Attention checks. Default: 1 to 20 rows.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    key: Annotated[
        Path | None, typer.Option(help="Keep the key here. Default: OUT/key.json.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make blind sheets from two or more files of answers, which are matched by context."""
    from ctsm_workbench.judging.sheets import make as make_sheets
    from ctsm_workbench.judging.sheets import named_files

    report = make_sheets(named_files(files), out, items=items, checks=checks, seed=seed, key=key)
    if as_json:
        print_json(report)
        return
    for name, found in report["files"].items():
        lines = ", ".join(map(str, found["unmatched_lines"]))
        where = (
            f" (lines {lines}{', ...' if found['unmatched'] > len(found['unmatched_lines']) else ''})"
            if lines
            else ""
        )
        typer.echo(
            f"{name}: {found['rows']:,} answers, {found['matched']:,} matched by context, {found['unmatched']:,} unmatched"
            f"{where}, {found['repeated']:,} left out because their context is there more than once"
        )
    typer.echo(
        f"{report['sheet']}: {report['rows']} rows = {report['items']} contexts x {report['comparisons']} "
        f"comparison{'s' * (report['comparisons'] != 1)} + {report['checks']} attention check{'s' * (report['checks'] != 1)}; "
        f"{len(report['emotions'])} emotions; both answers the same in {report['same_answer']} rows; "
        f"answers are shown {'in ' * (report['form'] != 'as written')}{report['form']}"
    )
    typer.echo(
        f"Judge: ctsm judge serve {out} --judge NAME, or a copy of {out / 'sheet.csv'} in a spreadsheet."
    )
    typer.echo(f"Keep {key or out / 'key.json'} from the judges.")


def serve(
    folder: Annotated[Path, typer.Argument(help="Folder of `ctsm judge make`.")],
    judge: Annotated[str, typer.Option(help="Your name as a judge, best a pseudonym.")],
    host: Annotated[
        str, typer.Option(help="Where to listen. Default: this computer only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The next free one, if this is taken.")] = 8866,
    theme: Annotated[str, typer.Option(help="light or dark.")] = "light",
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Judge on a page, by keyboard. Every answer is saved at once; start again to go on. Ctrl-C ends."""
    from ctsm_workbench.judging.page import serve as serve_page

    def announce(address: str) -> None:
        typer.echo(
            f"Judging as {judge} at {address}\nCtrl-C ends; every answer is saved when it is given."
        )

    serve_page(folder, judge, host=host, port=port, theme=theme, browser=browser, announce=announce)


def score(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Folder of `ctsm judge make`; also copies from several judges."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write table2.md, .json, .html, .png, .svg here.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The sealed key. Default: key.json in a FOLDER.")
    ] = None,
    only_complete: Annotated[
        bool,
        typer.Option(
            "--only-complete",
            help="Leave out what a judge has not finished, instead of refusing it.",
        ),
    ] = False,
    draws: Annotated[int, typer.Option(help="Bootstrap samples for kappa's interval.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    note: Annotated[
        str,
        typer.Option(help="A line to stand with the table, such as whose judgements these are."),
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Merge the judges: Table 2 with agreement, tests, each judge's bias to one side, and attention checks."""
    from ctsm_workbench.judging.scoring import gather
    from ctsm_workbench.judging.scoring import score as score_judgements
    from ctsm_workbench.judging.table import markdown, write_table

    result = score_judgements(gather(folders, key, only_complete), draws=draws, seed=seed)
    if as_json:
        print_json(result)
    else:
        typer.echo(markdown(result, note), nl=False)
    if out:
        for path in write_table(result, out, note):
            typer.echo(f"wrote {path}", err=True)
