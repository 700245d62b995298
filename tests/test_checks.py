"""Every check of the lessons accepts a right answer, and refuses wrong ones with a useful hint."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest
import torch

from ctsm_workbench.course import checks
from ctsm_workbench.course.checks.frame import HINTS, Expect


def load_cases() -> dict:
    cases = {}
    for path in sorted((Path(__file__).parent / "check_cases").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"check_cases_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        cases |= module.CASES
    return cases


CASES = load_cases()
WRONG = [(name, wrong, hint) for name, (_, wrongs) in CASES.items() for wrong, hint in wrongs]


def test_every_check_has_a_right_answer_and_two_wrong_ones():
    assert set(CASES) == set(checks.CHECKS)
    assert [name for name, (_, wrongs) in CASES.items() if len(wrongs) < 2] == []


def test_checks_are_numbered_once_and_exported():
    numbers = [run.exercise for run in checks.CHECKS.values()]
    assert len(set(numbers)) == len(numbers)
    assert set(checks.CHECKS) <= set(checks.__all__)


@pytest.mark.parametrize("name", CASES)
def test_accepts_the_right_answer(name, capsys):
    checks.CHECKS[name](CASES[name][0])
    assert f"✓ Exercise {checks.CHECKS[name].exercise} is solved." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "wrong", "hint"), WRONG, ids=[f"{name}-{w.__name__}" for name, w, _ in WRONG]
)
def test_turns_the_wrong_answer_away(name, wrong, hint):
    with pytest.raises(checks.CheckFailed, match=hint):
        checks.CHECKS[name](wrong)


@pytest.mark.parametrize("name", CASES)
def test_an_exercise_that_nobody_began_only_waits(name, capsys, monkeypatch):
    def stub(*_, **__):
        raise NotImplementedError

    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    checks.CHECKS[name](stub)
    assert "waits for you" in capsys.readouterr().out
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(NotImplementedError):
        checks.CHECKS[name](stub)


@pytest.mark.parametrize("name", CASES)
def test_answers_none_and_errors_get_a_sentence(name):
    with pytest.raises(checks.CheckFailed):
        checks.CHECKS[name](lambda *_, **__: None)

    def broken(*_, **__):
        raise ZeroDivisionError("division by zero")

    with pytest.raises(checks.CheckFailed, match="ZeroDivisionError"):
        checks.CHECKS[name](broken)


def test_nan_is_named():
    expect = Expect({"right": "Compute it."})
    with pytest.raises(checks.CheckFailed, match="NaN"):
        expect.close(torch.tensor([float("nan")]), torch.tensor([1.0]), "right")


def test_every_hint_belongs_to_an_exercise_and_is_used():
    named = {check.exercise: check for check in checks.CHECKS.values()}
    assert set(HINTS) == set(named)
    for exercise, hints in HINTS.items():
        source = inspect.getsource(named[exercise])
        if re.search(r"expect\.shape\(.*\)\)", source):
            source += '"shape"'  # the hint where no other is named
        assert [name for name in hints if f'"{name}"' not in source] == [], exercise
