"""The laboratory by hand: explorers of a word, of a context, and of answers, for notebook cells and for a page.

    from ctsm_workbench import explorers as widgets
    widgets.explorer()                  # all three, with the lessons' data and run
    widgets.answer_explorer("runs/one", "runs/two")

`word`, `context` and `answer` compute and draw, and need no screen; `panels` has the controls.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ctsm_lib.errors import RunError
from ctsm_lib.runs import Run

MOST_RUNS = 8


def word_explorer(start: str = "excited") -> Any:
    """Look words up: what they carry, both polarities, neighbours, occurrences.

    Raises:
        ConfigError: ipywidgets or anywidget is not installed.
    """
    from ctsm_workbench.course import lessons
    from ctsm_workbench.explorers.panels import WordPanel
    from ctsm_workbench.explorers.word import Words

    return WordPanel(Words(lessons.data()), start).view


def context_explorer(*turns: str, run: Run | Path | str | None = None) -> Any:
    """See what a run makes of a dialogue, token by token, and what a change does.

    Args:
        turns: to begin with, the speaker's first.
        run: a run or its folder; the lessons' own where it is left out.

    Raises:
        RunError: the folder holds no run, or one of a baseline.
    """
    from ctsm_workbench.course import lessons
    from ctsm_workbench.explorers.panels import FIRST_TURN, ContextPanel
    from ctsm_workbench.explorers.shared import voice

    chosen = voice(_run(run))
    chosen.run.ctsm()
    return ContextPanel(chosen, lessons.data(), turns or (FIRST_TURN,)).view


def answer_explorer(*runs: Run | Path | str) -> Any:
    """Talk to one run, or to two beside each other.

    Args:
        runs: runs or their folders, which the menus offer; the lessons' own where they are left out.

    Raises:
        RunError: a folder holds no run, or there are too many.
    """
    from ctsm_workbench.explorers.panels import AnswerPanel

    return AnswerPanel(_voices(runs)).view


def explorer(*runs: Run | Path | str) -> Any:
    """All three behind tabs, with the lessons' data.

    Args:
        runs: as for `answer_explorer`; the first is the one whose contexts are looked into.

    Raises:
        RunError: as `answer_explorer`, or the first run is of a baseline.
    """
    from ctsm_workbench.course import lessons
    from ctsm_workbench.explorers.panels import AnswerPanel, ContextPanel, WordPanel, tabs
    from ctsm_workbench.explorers.word import Words

    prepared, voices = lessons.data(), _voices(runs)
    voices[0].run.ctsm()
    panels = {
        "Word": WordPanel(Words(prepared)),
        "Context": ContextPanel(voices[0], prepared),
        "Answer": AnswerPanel(voices),
    }
    return tabs(panels)


def _run(run: Run | Path | str | None) -> Run | Path | str:
    from ctsm_workbench.course import lessons

    return lessons.trained_run() if run is None else run


def _voices(runs: Sequence[Run | Path | str]) -> list[Any]:
    from ctsm_workbench.explorers.shared import voice

    require_few(runs)
    return [voice(run) for run in runs or [_run(None)]]


def require_few(runs: Sequence[object]) -> None:
    """Refuse more runs than a computer may hold at once.

    Raises:
        RunError: there are more than `MOST_RUNS`.
    """
    if len(runs) > MOST_RUNS:
        raise RunError(f"{len(runs)} runs are too many for one explorer: name at most {MOST_RUNS}.")
