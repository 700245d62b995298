"""The explorers as a page without code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ctsm_workbench.explorers.serving import serve_page


def serve(runs: Sequence[Path], *, port: int = 8867, **options: Any) -> None:
    """Serve the three explorers until Ctrl-C, by default to this computer only.

    Args:
        runs: run folders; by default the lessons' run, which is trained now where it is missing.
        port, options: as for `serve_page`.

    Raises:
        ConfigError: as `serve_page`, or ipywidgets or anywidget is not installed.
        RunError: a folder holds no run that can be explored, or there are too many.
        DataError: the data cannot be read. All errors come before anything is served.
    """
    from ctsm_workbench import explorers
    from ctsm_workbench.course import lessons
    from ctsm_workbench.explorers import panels  # noqa: F401  names the package that is missing

    loaded = explorers.load_runs(runs)
    loaded[0].ctsm()
    lessons.data()
    folders = ", ".join(repr(str(run.folder.resolve())) for run in loaded)
    code = f"from ctsm_workbench import explorers\nexplorers.explorer({folders})"
    serve_page(code, "explorers", port=port, **options)
