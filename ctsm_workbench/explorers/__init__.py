"""Interactive explorers of words, contexts and answers, for notebook cells and for a page.

    from ctsm_workbench import explorers as widgets
    widgets.explorer()                  # all three, with the lessons' data and run
    widgets.answer_explorer("runs/one", "runs/two")

`word`, `context` and `answer` compute reports, and `figures` draws and describes them.
Only `panels` needs ipywidgets and anywidget; without them it raises `ConfigError`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ctsm_lib.errors import RunError
from ctsm_lib.runs import Run, load_run
from ctsm_workbench.course import lessons
from ctsm_workbench.explorers.context import Voice, voice

MOST_RUNS = 8


def word_explorer(start: str = "excited") -> Any:
    """Look words up: ratings, both polarities, nearest words, occurrences."""
    from ctsm_workbench.explorers import panels

    return panels.WordPanel(panels.Words(lessons.data()), start).view


def context_explorer(*turns: str, run: Run | Path | str | None = None) -> Any:
    """See how a run reads a dialogue, token by token, and how an edit changes that.

    `turns` begin with the speaker's. `run` is a run of CTSM or its folder, or the lessons' own.
    """
    from ctsm_workbench.explorers import panels

    [reader] = load_voices([] if run is None else [run])
    return panels.ContextPanel(reader, lessons.data(), turns).view


def answer_explorer(*runs: Run | Path | str) -> Any:
    """Talk to one run, or to two side by side. The menus offer the runs beside the first one."""
    from ctsm_workbench.explorers import panels

    return panels.AnswerPanel(load_voices(runs)).view


def explorer(*runs: Run | Path | str) -> Any:
    """Open all three explorers behind tabs; the context explorer reads with the first run."""
    from ctsm_workbench.explorers import panels

    prepared = lessons.data()
    voices = load_voices(runs)
    word = panels.WordPanel(panels.Words(prepared))
    opened = [word, panels.ContextPanel(voices[0], prepared), panels.AnswerPanel(voices)]
    titles = ["Word", "Context", "Answer"]
    view = panels.ipw.Tab([p.view for p in opened], titles=titles, layout={"width": "auto"})
    view.panels = opened
    return view


def load_voices(runs: Sequence[Run | Path | str]) -> list[Voice]:
    """Load runs; the lessons' own run where none is named, which may be trained first.

    Raises `RunError` where a folder holds no run, or where there are more than `MOST_RUNS`.
    """
    if len(runs) > MOST_RUNS:
        raise RunError(f"{len(runs)} runs are too many for one explorer: name at most {MOST_RUNS}.")
    chosen = runs or [lessons.trained_run()]
    loaded = (run if isinstance(run, Run) else load_run(Path(run).expanduser()) for run in chosen)
    return list(map(voice, loaded))
