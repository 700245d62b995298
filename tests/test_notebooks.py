"""The lessons: their form, how they are built, and that they are in step with their masters."""

import re

import pytest
from notebook_tools import NOTEBOOKS, load

pytest.importorskip("jupytext", reason="the lessons need the extra `notebooks`")
pytest.importorskip("nbclient", reason="the lessons need the extra `notebooks`")

pytestmark = pytest.mark.skipif(not NOTEBOOKS.is_dir(), reason="installed without the notebooks")


build = load("build")
LESSONS = build.masters([])
NAMES = [path.stem for path in LESSONS]


def code_lines(notebook) -> int:
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return sum(bool(line.strip()) for source in cells for line in source.splitlines())


def test_the_twelve_lessons_are_there():
    assert [name[:2] for name in NAMES] == [f"{number:02d}" for number in range(12)]


def test_all_notebooks_are_in_step_with_their_masters():
    assert list(build.out_of_step(LESSONS)) == []


def test_the_explorers_have_a_notebook_that_is_no_lesson(tmp_path, monkeypatch):
    (path,) = build.others()
    assert path.stem == "explorer" and path not in LESSONS
    assert (NOTEBOOKS / "explorer.ipynb").is_file() and not (
        build.SOLVED / "explorer.ipynb"
    ).exists()
    monkeypatch.setattr(build, "HERE", tmp_path)
    assert list(build.out_of_step([])) == [
        "notebooks/explorer.ipynb differs from what notebooks/src/explorer.py gives."
    ]


@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_form(path):
    master = build.read_master(path)
    student, solved = build.student(master), build.solved(master)
    first = master.cells[0].source
    assert re.match(r"# \d\d · \w+", first)
    for heading in ("What you will do", "What you will learn", "What you need", "Library:"):
        assert heading in first, f"{path.name} opens without {heading!r}"
    text = "".join(cell.source for cell in student.cells)
    assert "SOLUTION" not in text and "SOLUTION" not in "".join(
        cell.source for cell in solved.cells
    )
    assert code_lines(solved) < 350
    longest = max(
        len(cell.source.splitlines()) for cell in solved.cells if cell.cell_type == "code"
    )
    assert longest <= 30, f"{path.name} has a cell of {longest} lines"
    assert not any(cell.get("outputs") for cell in student.cells)


@pytest.mark.parametrize("path", LESSONS, ids=NAMES)
def test_exercises_have_goal_difficulty_minutes_hint_solution_and_check(path):
    cells = [cell.source for cell in build.student(build.read_master(path)).cells]
    found = [source for source in cells if build.EXERCISE.search(source)]
    for source in found:
        number = build.EXERCISE.search(source)[1]
        assert number.split(".")[0] == str(int(path.stem[:2]))
        assert re.search(r"\*\*Goal:\*\*", source) and re.search(
            r"\*\*Difficulty:\*\* ★{1,3}\s", source + "\n"
        ), number
        assert (
            re.search(r"\*\*Minutes:\*\* \d+", source)
            and "<details><summary>Hint</summary>" in source
        ), number
        assert any(f"<summary>Solution of exercise {number}<" in cell for cell in cells), number


def test_there_are_enough_exercises_and_each_check_is_used_once():
    from ctsm_workbench.course import checks

    used = []
    for path in LESSONS:
        cells = build.read_master(path).cells
        for cell in cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
            if name.startswith("check-"):
                called = build.CHECK.search(cell.source)[0][len("checks.") : -1]
                assert checks.CHECKS[called].exercise == name.removeprefix("check-").replace(
                    "-", "."
                )
                used.append(called)
    assert len(used) >= 26
    assert sorted(used) == sorted(checks.CHECKS)


def test_nbgrader_accepts_how_cells_are_marked():
    for path in LESSONS:
        cells = build.read_master(path).cells
        marks = [cell.metadata["nbgrader"] for cell in cells if "nbgrader" in cell.metadata]
        names = [mark["grade_id"] for mark in marks]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", name) for name in names), (
            f"nbgrader refuses an id of {path.name}"
        )
        for mark in (
            marks
        ):  # a cell is either to be filled in or to be graded, and the latter is worth something
            assert mark["solution"] != mark["grade"] and mark["locked"] == mark["grade"] == (
                "points" in mark
            )
            assert mark["schema_version"] == 3


def test_teaching_lists_the_lessons_as_they_are(tmp_path, monkeypatch):
    text = (NOTEBOOKS / "TEACHING.md").read_text(encoding="utf-8")
    assert build.LIST.search(text)[0] == build.lesson_list(LESSONS)
    stale = tmp_path / "TEACHING.md"
    stale.write_text(build.LIST.sub("| a lesson that is no more |\n", text), encoding="utf-8")
    monkeypatch.setattr(build, "HERE", tmp_path)
    assert any(
        "TEACHING.md lists other lessons" in complaint for complaint in build.out_of_step([])
    )
    build.update_teaching(LESSONS, stale)
    assert stale.read_text(encoding="utf-8") == text


def test_plans_for_teaching_fill_their_time_with_lessons_that_exist():
    text = (NOTEBOOKS / "TEACHING.md").read_text(encoding="utf-8")
    sections = {part.splitlines()[0]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)}
    minutes = re.findall(r"^\| (\d+) \|", sections["A class of 90 minutes"], re.MULTILINE)
    assert sum(map(int, minutes)) == 90
    numbers = {name[:2] for name in NAMES}
    weeks = re.findall(r"^\| \d \| ([\d, ]+) \|", sections["A course of six weeks"], re.MULTILINE)
    assert len(weeks) == 6 and sorted(", ".join(weeks).split(", ")) == sorted(numbers)
    days = set(re.findall(r"\b[01]\d\b", sections["A workshop of two days"].split("- Begin")[0]))
    assert days >= {f"{n:02d}" for n in range(9)} and days <= numbers
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (NOTEBOOKS / target).exists(), f"TEACHING.md links to {target}"


@pytest.mark.parametrize(
    ("opening", "exercise", "complaint"),
    [
        ("", "**Difficulty:** ★ **Minutes:** 5", "About ... minutes"),
        ("About 5 minutes.", "**Difficulty:** ★", "lacks"),
    ],
)
def test_a_lesson_without_minutes_is_refused(tmp_path, opening, exercise, complaint):
    path = tmp_path / "01_x.py"
    cells = [f"# # 01 · X\n# {opening}", f"# ### Exercise 1.1 · A\n#\n# {exercise}"]
    code = "# %%\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n\n# %%\nchecks.x(1)\n"
    path.write_text(
        "".join(f"# %% [markdown]\n{cell}\n\n" for cell in cells) + code, encoding="utf-8"
    )
    with pytest.raises(SystemExit, match=complaint):
        build.lesson_list([path])


def test_building_twice_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        build.write(build.student(build.read_master(LESSONS[2])), tmp_path / f"{name}.ipynb")
    assert (tmp_path / "one.ipynb").read_bytes() == (tmp_path / "two.ipynb").read_bytes()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# %%\nx = 1\n### BEGIN SOLUTION\n", "do not match"),
        ("# %% [markdown]\n# ### Exercise 1.1 · A\n\n# %%\nx = 1\n", "has no solution"),
        (
            "# %% [markdown]\n# ### Exercise 1.1 · A\n\n"
            "# %%\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n",
            "has no check",
        ),
    ],
)
def test_a_broken_master_is_refused(tmp_path, text, complaint):
    path = tmp_path / "01_x.py"
    path.write_text(text)
    with pytest.raises(SystemExit, match=complaint):
        build.read_master(path)


def test_check_finds_what_is_out_of_step(tmp_path, monkeypatch):
    for name, folder in (
        ("HERE", tmp_path),
        ("SOLVED", tmp_path / "solutions"),
        ("SOURCES", tmp_path / "src"),
    ):
        monkeypatch.setattr(build, name, folder)
    (tmp_path / "src").mkdir()
    master = tmp_path / "src" / "01_x.py"
    master.write_text("# %%\nprint(1)\n")
    assert len(list(build.out_of_step([master]))) == 2
    build.write(build.student(build.read_master(master)), tmp_path / "01_x.ipynb")
    build.write(
        build.execute(build.solved(build.read_master(master)), tmp_path),
        tmp_path / "solutions" / "01_x.ipynb",
    )
    assert list(build.out_of_step([master])) == []
    master.write_text("# %%\nprint(2)\n")
    assert len(list(build.out_of_step([master]))) == 2
    master.unlink()
    assert [line for line in build.out_of_step([]) if "has no master" in line]


def test_readme_and_lesson_00_name_each_lesson_with_its_minutes():
    """Both tables are written by hand; the masters decide."""
    readme = (NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    first = LESSONS[0].read_text(encoding="utf-8")
    for path in LESSONS:
        minutes = re.search(r"About (\d+) minutes", path.read_text(encoding="utf-8"))[1]
        assert re.search(
            rf"solutions/{path.stem}\.ipynb\).*\| {minutes} \|$", readme, re.MULTILINE
        ), path.stem
        if path != LESSONS[0]:
            assert re.search(rf"^# \| {path.stem[:2]} \|.*\| {minutes} \|$", first, re.MULTILINE), (
                path.stem
            )
    exercises = sum(path.read_text(encoding="utf-8").count("\n# ### Exercise ") for path in LESSONS)
    assert f"{exercises} exercises" in readme


def test_a_cell_that_hangs_is_tried_once_more_and_then_refused(tmp_path, capsys):
    from nbclient.exceptions import CellTimeoutError

    notebook = build.nbformat.v4.new_notebook(
        cells=[build.nbformat.v4.new_code_cell("import time; time.sleep(60)")]
    )
    with pytest.raises(CellTimeoutError):
        build.execute(notebook, tmp_path, timeout=2)
    assert "once more" in capsys.readouterr().err
    once = (
        "import pathlib, time; p = pathlib.Path('seen'); seen = p.exists(); p.touch(); "
        "time.sleep(0 if seen else 60)"
    )
    notebook = build.nbformat.v4.new_notebook(cells=[build.nbformat.v4.new_code_cell(once)])
    assert build.execute(notebook, tmp_path, timeout=3).cells[0].execution_count == 1


def test_a_kernel_that_takes_long_is_nudged_until_it_answers(tmp_path, monkeypatch):
    from jupyter_client import AsyncKernelClient

    nudges, ask = [], AsyncKernelClient.kernel_info
    monkeypatch.setattr(
        AsyncKernelClient, "kernel_info", lambda client: (nudges.append(client), ask(client))[1]
    )
    monkeypatch.setattr(build, "NUDGE", 0.2)
    sleepy = [
        build.nbformat.v4.new_code_cell(f"import time; time.sleep({wait}); {wait}")
        for wait in (2, 0)
    ]
    notebook = build.execute(build.nbformat.v4.new_notebook(cells=sleepy), tmp_path)
    assert [cell.outputs[0].data["text/plain"] for cell in notebook.cells] == ["2", "0"]
    assert 5 <= len(nudges) <= 15
