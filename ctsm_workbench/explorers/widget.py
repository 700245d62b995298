"""The widget that draws the explorers' figures with the plotly.js of plotly's Python package.

plotly's own `FigureWidget` is not used: each of its figures sends a 5 MB script to the browser,
and a page that connects after its kernel has drawn, as Voila's does, shows empty axes.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from ctsm_lib.errors import ConfigError
from ctsm_workbench.explorers.figures import as_json

try:
    import anywidget
    import ipywidgets as ipw
    import traitlets
except ImportError as error:
    raise ConfigError(
        f"The explorers need {error.name}: pip install 'ctsm-lab[notebooks]'."
    ) from None

_HERE = Path(__file__).parent


class Library(ipw.Widget):
    """Holds the compressed plotly.js, so that a page receives it once for all its figures."""

    packed: Any = traitlets.Bytes().tag(sync=True)


@cache
def _library() -> Library:
    return Library(packed=gzip.compress(get_plotlyjs().encode("utf-8"), mtime=0))


class Figures(anywidget.AnyWidget):
    """Draws figures beside each other, or one below the other where the window is narrow."""

    _esm = _HERE / "figures.js"
    _css = _HERE / "figures.css"
    library: Any = traitlets.Instance(Library).tag(sync=True, **ipw.widget_serialization)
    figures: Any = traitlets.List().tag(sync=True)

    def __init__(self) -> None:
        super().__init__(library=_library())

    def draw(self, figures: Sequence[go.Figure]) -> None:
        """Show these figures in place of the present ones."""
        self.figures = [as_json(figure) for figure in figures]
