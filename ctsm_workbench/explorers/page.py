"""The explorers as a page without code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ctsm_workbench.explorers.serving import serve_page


def serve(
    runs: Sequence[Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8867,
    theme: str = "light",
    browser: bool = True,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve the three explorers until Ctrl-C, by default to this computer only.

    Args:
        runs: run folders; none: the lessons' run, which is trained now where there is none yet.
        host, port, theme, browser, announce: as for `serve_page`.

    Raises:
        ConfigError: as `serve_page`, or a widget library is not installed. RunError: a folder holds no run that can be
            explored, or there are too many. DataError: the data cannot be read. All are found out before anything is served.
    """
    from ctsm_lib.runs import load_run
    from ctsm_workbench import explorers as widgets
    from ctsm_workbench.course import lessons
    from ctsm_workbench.explorers import panels  # noqa: F401  says what is not installed

    widgets.require_few(runs)
    loaded = [load_run(path.expanduser()) for path in runs] or [lessons.trained_run()]
    loaded[0].ctsm()
    lessons.data()
    folders = ", ".join(repr(str(run.folder.resolve())) for run in loaded)
    code = f"from ctsm_workbench import explorers as widgets\nwidgets.explorer({folders})"
    serve_page(
        code, "explorers", host=host, port=port, theme=theme, browser=browser, announce=announce
    )
