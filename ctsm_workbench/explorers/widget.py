"""Widgets that the explorers are made of: drawn figures, titled controls, and a panel of both.

plotly's own `FigureWidget` is not used: each of its figures sends a 5 MB script to the browser,
and a page that connects after its kernel has drawn, as Voila's does, shows empty axes.
"""

import gzip
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from ctsm_lib.errors import CtsmError
from ctsm_workbench.explorers import figures, texts
from ctsm_workbench.extras import needed_by

with needed_by("An explorer"):
    import anywidget
    import ipywidgets as ipw
    import traitlets

ROW = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-end", "width": "auto"}
_HERE = Path(__file__).parent
CONTROLS = json.loads((_HERE / "controls.json").read_text(encoding="utf-8"))


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

    def draw(self, drawn: Sequence[go.Figure]) -> None:
        """Show these figures in place of the present ones."""
        self.figures = [figures.as_json(figure) for figure in drawn]


def row(*parts: Any, **layout: str) -> Any:
    """Widgets beside each other, or below each other where the window is narrow."""
    return ipw.Box(list(parts), layout=ROW | layout)


def field(name: str, **options: Any) -> tuple[Any, Any]:
    """A box with a control of `controls.json` below its title, and the control itself."""
    options = CONTROLS[name] | options
    options.pop("methods", None)
    # Labels are not escaped, so a title must never be a visitor's text.
    title = ipw.Label(options.pop("title"), layout={"margin": "0"})
    layout = {"width": options.pop("width"), "max_width": "100%", "margin": "0 0.6rem 0.3rem 0"}
    control = getattr(ipw, options.pop("kind"))(layout={"width": "auto"}, **options)
    return ipw.VBox([title, control], layout=layout), control


class Panel:
    """A column of controls, text and figures; `view` is the widget.

    Every error is a sentence in the panel, since nobody sees a traceback in a server's log.
    """

    quiet = False  # while the panel itself changes its controls

    def __init__(self, *controls: Any):
        self.message = ipw.HTML()
        self.figures = Figures(library=_library())
        self.below = ipw.HTML()
        parts = [*controls, self.message, self.figures, self.below]
        self.view = ipw.VBox(parts, layout={"width": "auto"})
        self.view.add_class("ctsm-explorer")
        self.view.panel = self  # the panel lives as long as its widget

    def guarded(self, action: Callable[[], None]) -> None:
        """Do something, and show an error that the user can correct."""
        try:
            action()
        except CtsmError as error:
            self.message.value = texts.in_words("warning", str(error))
            self.below.value = ""
            self.figures.draw([])

    def on_change(self, action: Callable[[], None], *controls: Any) -> None:
        """Do something whenever the user changes the value of a control."""
        for control in controls:
            control.observe(lambda _: None if self.quiet else self.guarded(action), names="value")

    def button(self, name: str, action: Callable[[], None]) -> Any:
        """A button that does something."""
        layout = {"width": "auto", "margin": "0 0.6rem 0.45rem 0"}
        made = ipw.Button(description=name, layout=layout)
        made.on_click(lambda _: self.guarded(action))
        return made
