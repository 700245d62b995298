"""Build two notebooks from each master in `src/`: one for students, and one with solutions.

A master is a Python file in the percent format. It contains the solutions between the markers
of nbgrader, `### BEGIN SOLUTION` and `### END SOLUTION`. Only masters are edited by hand.

    python notebooks/build.py           # all lessons: student notebooks, and solved notebooks
                                        # that are executed on the sample
    python notebooks/build.py 02 04     # some lessons
    python notebooks/build.py --check   # do notebooks and masters agree? executes nothing
    python notebooks/build.py --nbgrader course/source
                                        # masters for `nbgrader generate_assignment`

`explorer.py` is not a lesson. Its notebook is written together with the others, but it has no
solved version.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jupytext
import nbformat
from nbformat import NotebookNode

if TYPE_CHECKING:
    from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
SOURCES, SOLVED = HERE / "src", HERE / "solutions"
SOLUTION = re.compile(
    r"^([ \t]*)### BEGIN SOLUTION\n(.*?)^[ \t]*### END SOLUTION\n?", re.DOTALL | re.MULTILINE
)
EXERCISE = re.compile(r"^### Exercise (\d+\.\d+)", re.MULTILINE)
LIST = re.compile(
    r"(?<=<!-- lessons, written by build.py -->\n).*?(?=<!-- end of lessons -->)", re.DOTALL
)
CHECK = re.compile(r"^checks\.\w+\(", re.MULTILINE)
STARS = re.compile(r"[★]")
STUB = "# your code here\nraise NotImplementedError\n"
PLOTLY, WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def read_master(path: Path) -> NotebookNode:
    """Read a master as a notebook with fixed cell ids and nbgrader's metadata.

    The solutions are still there, between their markers.

    Raises:
        SystemExit: a marker without its partner, or an exercise without a solution or a check.
    """
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    exercise, points, waiting = "", 1, ""
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number:03d}", nbformat.from_dict({})
        if cell.cell_type == "markdown" and (found := EXERCISE.search(cell.source)):
            if waiting:
                raise SystemExit(f"{path}: exercise {exercise} has no {waiting}.")
            exercise, points, waiting = (
                found[1],
                max(len(STARS.findall(cell.source)), 1),
                "solution",
            )
        if cell.cell_type != "code":
            continue
        begins, ends = (
            len(re.findall(rf"### {word} SOLUTION", cell.source)) for word in ("BEGIN", "END")
        )
        if begins != ends or begins != len(SOLUTION.findall(cell.source + "\n")):
            raise SystemExit(
                f"{path}: in a cell of exercise {exercise} BEGIN and END SOLUTION do not match."
            )
        if begins:
            cell.metadata["nbgrader"] = _grading(f"exercise-{exercise}", solution=True)
            waiting = "check"
        elif exercise and CHECK.search(cell.source):
            cell.metadata["nbgrader"] = _grading(f"check-{exercise}", points=points)
            waiting = ""
    if waiting:
        raise SystemExit(f"{path}: exercise {exercise} has no {waiting}.")
    return notebook


def _grading(name: str, *, solution: bool = False, points: int = 0) -> dict:
    values = {
        "grade": points > 0,
        "grade_id": name.replace(".", "-"),  # nbgrader refuses a dot
        "locked": not solution,
        "schema_version": 3,
        "solution": solution,
    }
    return values | ({"points": points} if points else {}) | {"task": False}


def student(master: NotebookNode) -> NotebookNode:
    """The student notebook: stubs that raise NotImplementedError replace the solutions.

    Each solution is folded below the check of its exercise.
    """
    return _transformed(master, lambda found: textwrap.indent(STUB, found[1]), fold=True)


def solved(master: NotebookNode) -> NotebookNode:
    """The solved notebook: the solutions are in their places, without markers."""
    return _transformed(master, lambda found: found[2], fold=False)


def _transformed(master: NotebookNode, replace, fold: bool) -> NotebookNode:  # type: ignore[no-untyped-def]
    notebook = nbformat.from_dict(master)
    cells, solution = [], ""
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = [], None
        if SOLUTION.search(text := cell.source + "\n"):
            solution = SOLUTION.sub(lambda found: found[2], text).rstrip()
            cell.source = SOLUTION.sub(replace, text).rstrip()
        elif fold and solution and "nbgrader" in cell.metadata:
            name = cell.metadata["nbgrader"]["grade_id"].removeprefix("check-")
            shown = (
                f"<details><summary>Solution of exercise {name.replace('-', '.')}</summary>\n\n"
                f"```python\n{solution}\n```\n\n</details>"
            )
            cells.append(nbformat.v4.new_markdown_cell(shown, id=f"solution-{name}"))
            solution = ""
    notebook.cells = cells
    return notebook


def lesson_list(paths: list[Path]) -> str:
    """The table of lessons for TEACHING.md, computed from the masters.

    It lists the minutes of each lesson, its exercises with difficulty and minutes, and its
    points.

    Raises:
        SystemExit: a lesson without minutes, or an exercise without difficulty or minutes.
    """
    lines = [
        "| lesson | minutes | exercises, with difficulty and minutes | points |",
        "|---|---|---|---|",
    ]
    for path in paths:
        cells = [cell.source for cell in read_master(path).cells]
        title, minutes = (
            cells[0].splitlines()[0].lstrip("# "),
            re.search(r"About (\d+)\s+minutes", cells[0]),
        )
        exercises, points = [], 0
        for text in filter(EXERCISE.search, cells):
            found = re.search(
                r"### Exercise ([\d.]+ · .+)\n(?:.|\n)*?\*\*Minutes:\*\* (\d+)", text
            )
            stars = len(STARS.findall(text))
            if not found or not stars:
                raise SystemExit(
                    f"{path}: {text.splitlines()[0]!r} lacks its difficulty or its minutes."
                )
            exercises.append(f"{found[1].replace(' · ', ' ')} {'★' * stars} {found[2]}")
            points += stars
        if not minutes:
            raise SystemExit(f"{path}: the first cell does not say 'About ... minutes'.")
        link = f"[{title}](solutions/{path.stem}.ipynb)"
        lines.append(
            f"| {link} | {minutes[1]} | {'; '.join(exercises) or '-'} | {points or '-'} |"
        )
    return "\n".join([*lines, ""])


def update_teaching(paths: list[Path], path: Path) -> None:
    """Write the list of lessons into TEACHING.md and leave the rest of the file unchanged."""
    text = path.read_text(encoding="utf-8")
    path.write_text(LIST.sub(lambda _: lesson_list(paths), text), encoding="utf-8")


NUDGE = 5.0  # seconds


def nudging_client(notebook: NotebookNode, folder: Path, timeout: int) -> NotebookClient:
    """A client that sends a kernel-info request every few seconds while a cell runs.

    Sometimes a kernel does not read a request until the next one arrives (seen with ipykernel
    6.31 and 7.4). Without further requests the client would then wait for ever.
    """
    from nbclient import NotebookClient

    class Nudging(NotebookClient):
        async def async_execute_cell(self, *args: Any, **kwargs: Any) -> NotebookNode:
            async def nudge() -> None:
                while True:
                    await asyncio.sleep(NUDGE)
                    self.kc.kernel_info()

            nudges = asyncio.create_task(nudge())
            try:
                return await super().async_execute_cell(*args, **kwargs)
            finally:
                nudges.cancel()

    return Nudging(
        notebook,
        timeout=timeout,
        resources={"metadata": {"path": str(folder)}},
        kernel_name="python3",
        coalesce_streams=True,  # one output per stream, however the kernel splits it
        extra_arguments=["--log-level=40"],
    )


def execute(
    notebook: NotebookNode, folder: Path, timeout: int = 150, tries: int = 2
) -> NotebookNode:
    """Run a notebook in a new kernel in `folder`. An error in a cell is raised with traceback.

    Args:
        timeout: seconds for each cell. If a cell takes longer, the whole notebook is run again.
        tries: number of runs before the timeout is raised.
    """
    from nbclient.exceptions import CellTimeoutError

    fresh = copy.deepcopy(notebook)
    try:
        nudging_client(notebook, folder, timeout).execute()
    except CellTimeoutError:
        if tries == 1:
            raise
        print("A cell took too long: running the notebook once more.", file=sys.stderr)
        notebook.cells = execute(fresh, folder, timeout, tries - 1).cells
    return notebook


def readable(notebook: NotebookNode) -> NotebookNode:
    """Prepare the outputs for readers of the file.

    Each plotly figure gets a picture beside it, and each control is replaced by a sentence.
    Execution times and widget states are removed.
    """
    notebook.metadata = nbformat.from_dict(METADATA)
    figures = []
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if WIDGET in data:
                text = "Here is something interactive when the notebook runs."
                if data.get("text/plain", "").startswith("interactive"):
                    text = (
                        "Here is a control when the notebook runs. "
                        "The output above shows one of its settings."
                    )
                output["data"] = {"text/html": f"<em>{text}</em>", "text/plain": text}
            if PLOTLY in data:
                figures.append(data)
    _add_stills(figures)
    return notebook


def _add_stills(figures: list[dict]) -> None:
    """Add a PNG to each figure, for viewers that cannot draw plotly figures.

    Without a browser the figures stay as they are, and a message says so.
    """
    if not figures:
        return
    try:
        import base64

        import kaleido

        kaleido.start_sync_server(mathjax=False, timeout=60, silence_warnings=True)
        for data in figures:
            layout = data[PLOTLY]["layout"]
            size = {
                "width": layout.get("width", 900),
                "height": layout.get("height", 450),
                "format": "png",
                "scale": 1,
            }
            image = kaleido.calc_fig_sync(dict(data[PLOTLY]), size)
            data["image/png"] = base64.b64encode(image).decode("ascii")
    except Exception as error:  # a browser can fail in many ways, and the notebook is complete
        print(
            f"The figures get no pictures, which need kaleido and Chromium: {error}",
            file=sys.stderr,
        )
    finally:
        kaleido.stop_sync_server(silence_warnings=True)


def masters(names: list[str]) -> list[Path]:
    """The masters whose names begin with one of `names`, or all masters if `names` is empty.

    Raises:
        SystemExit: a name that fits no master.
    """
    found = sorted(SOURCES.glob("[0-9]*.py"))
    for name in names:
        if not any(path.name.startswith(name) for path in found):
            raise SystemExit(
                f"There is no lesson {name!r}. "
                f"The lessons are: {', '.join(path.stem for path in found)}."
            )
    return [
        path for path in found if not names or any(path.name.startswith(name) for name in names)
    ]


def others() -> list[Path]:
    """The masters that are not lessons."""
    return [path for path in sorted(SOURCES.glob("*.py")) if path not in masters([])]


def write(notebook: NotebookNode, path: Path) -> None:
    """Validate a notebook and write it. The same notebook always gives the same bytes.

    It is first written to a temporary file, so that an interruption leaves no broken notebook.
    """
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    temporary.replace(path)


def out_of_step(paths: list[Path]) -> Iterator[str]:
    """Sentences on all notebooks that do not agree with their masters, for `--check`."""
    for path in [*paths, *others()]:
        master, name = read_master(path), f"{path.stem}.ipynb"
        if (
            not (built := HERE / name).is_file()
            or built.read_text(encoding="utf-8") != nbformat.writes(student(master)) + "\n"
        ):
            yield f"notebooks/{name} differs from what notebooks/src/{path.name} gives."
        if path not in paths:
            continue
        if not (SOLVED / name).is_file():
            yield f"notebooks/solutions/{name} is missing."
            continue
        kept, wanted = nbformat.read(SOLVED / name, as_version=4), solved(master)
        if [(c.id, c.cell_type, c.source) for c in kept.cells] != [
            (c.id, c.cell_type, c.source) for c in wanted.cells
        ]:
            yield (
                f"notebooks/solutions/{name} was executed with other cells "
                f"than notebooks/src/{path.name} has."
            )
        elif any(
            cell.cell_type == "code" and cell.source.strip() and not cell.execution_count
            for cell in kept.cells
        ):
            yield f"notebooks/solutions/{name} has cells that were not executed."
    if (teaching := HERE / "TEACHING.md").is_file():
        listed = LIST.search(teaching.read_text(encoding="utf-8"))
        if not listed or listed[0] != lesson_list(masters([])):
            yield (
                "notebooks/TEACHING.md lists other lessons, exercises or minutes "
                "than notebooks/src has."
            )
    names = {path.stem for path in masters([])}
    for folder in (HERE, SOLVED):
        for stray in sorted(folder.glob("[0-9]*.ipynb")):
            if stray.stem not in names:
                yield f"{stray.relative_to(HERE.parent)} has no master in notebooks/src."


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "lessons", nargs="*", help="first characters of names, such as 02; default: all"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="check that all notebooks agree with their masters; exit with 1 if not",
    )
    parser.add_argument(
        "--student",
        action="store_true",
        help="write only the student notebooks; nothing is executed",
    )
    parser.add_argument(
        "--nbgrader", type=Path, metavar="DIR", help="write the masters for nbgrader, and stop"
    )
    options = parser.parse_args()
    paths = masters(options.lessons)
    if options.check:
        complaints = list(out_of_step(paths))
        print(
            "\n".join([*complaints, "To repair this, run: make notebooks"])
            if complaints
            else "All notebooks agree with their masters."
        )
        raise SystemExit(bool(complaints))
    # Everybody may read the solved notebooks, so they show the sample and no licensed data.
    os.environ.pop("CTSM_DATA", None)
    for path in paths:
        master, name = read_master(path), f"{path.stem}.ipynb"
        if options.nbgrader:
            write(master, options.nbgrader / path.stem / name)
            continue
        write(student(master), HERE / name)
        if not options.student:
            print(f"{name} ...", flush=True)
            write(readable(execute(solved(master), HERE)), SOLVED / name)
    if not options.nbgrader:
        for path in others():
            write(student(read_master(path)), HERE / f"{path.stem}.ipynb")
        update_teaching(masters([]), HERE / "TEACHING.md")


if __name__ == "__main__":
    main()
