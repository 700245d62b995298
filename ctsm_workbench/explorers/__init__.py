"""Interactive explorers of words, contexts and answers, for notebook cells and for a page.

    from ctsm_workbench import explorers as widgets
    widgets.explorer()                  # all three, with the lessons' data and run
    widgets.answer_explorer("runs/one", "runs/two")

`word` and `conversations` compute reports, `figures` draws and describes them, and `panels`
shows them. Without ipywidgets and anywidget, the import raises `ConfigError`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ctsm_lib.errors import RunError
from ctsm_lib.runs import Run, load_run
from ctsm_workbench.course import lessons
from ctsm_workbench.explorers import panels
from ctsm_workbench.explorers.conversations import Voice
from ctsm_workbench.explorers.word import Words
from ctsm_workbench.serving import serve_page

MOST_RUNS = 8


def word_explorer(start: str = "excited") -> Any:
    """Look words up: ratings, both polarities, nearest words, occurrences."""
    return panels.WordPanel(Words(lessons.data()), start)


def context_explorer(*turns: str, run: Run | Path | str | None = None) -> Any:
    """See how a run reads a dialogue, token by token, and how an edit changes that.

    `turns` begin with the speaker's. `run` is a run of CTSM or its folder, or the lessons' own.
    """
    [reader] = load_voices([] if run is None else [run])
    return panels.ContextPanel(reader, lessons.data(), turns)


def answer_explorer(*runs: Run | Path | str) -> Any:
    """Talk to one run, or to two side by side. The menus offer the runs beside the first one."""
    return panels.AnswerPanel(load_voices(runs))


def explorer(*runs: Run | Path | str) -> Any:
    """Open all three explorers behind tabs; the context explorer reads with the first run."""
    voices = load_voices(runs)
    word = panels.WordPanel(Words(lessons.data()))
    context = panels.ContextPanel(voices[0], lessons.data())
    opened = [word, context, panels.AnswerPanel(voices)]
    return panels.ipw.Tab(opened, titles=["Word", "Context", "Answer"], layout={"width": "auto"})


def serve(runs: Sequence[Path], **options: Any) -> None:
    """Serve all three as a page until Ctrl-C. Options and errors are those of `serve_page`.

    `runs` are run folders; by default the lessons' run, which is trained now where it is missing.
    """
    # The page reads the runs again, in a process and a folder of its own: faults are found here.
    loaded = _loaded(runs)
    loaded[0].ctsm()
    lessons.data()
    serve_page(explorer, *(str(run.folder.resolve()) for run in loaded), **options)


def load_voices(runs: Sequence[Run | Path | str]) -> list[Voice]:
    """Load runs; the lessons' own run where none is named, which may be trained first.

    Raises `RunError` where a folder holds no run, or where there are more than `MOST_RUNS`.
    """
    return list(map(Voice, _loaded(runs)))


def _loaded(runs: Sequence[Run | Path | str]) -> list[Run]:
    if len(runs) > MOST_RUNS:
        raise RunError(f"{len(runs)} runs are too many for one explorer: name at most {MOST_RUNS}.")
    chosen = runs or [lessons.trained_run()]
    paths = [run if isinstance(run, Run) else Path(run).expanduser().resolve() for run in chosen]
    return [path if isinstance(path, Run) else load_run(path) for path in paths]
