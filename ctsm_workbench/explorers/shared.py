"""What the three explorers share: a run that is ready to read and answer, text shown as text, figures and their widget.

Shapes: L context tokens with CLS.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctsm_lib.errors import ConfigError, CtsmError, RunError
from ctsm_lib.knowledge import Inference, Provider
from ctsm_lib.runs import Run, load_run
from ctsm_lib.sources import PROJECT, Sources, find_sources
from ctsm_workbench.pictures.export import PARTS
from ctsm_workbench.pictures.house import template

if TYPE_CHECKING:
    import plotly.graph_objects as go

_HERE = Path(__file__).parent
LONGEST_LABEL, LONGEST_TURN = 24, 4000  # characters
_KEPT = 256  # inferences


class Remembering(Provider):
    """A provider that keeps its last answers: explorers ask for the same utterance again and again."""

    def __init__(self, provider: Provider):
        self.provider, self.name, self.fingerprint = provider, provider.name, provider.fingerprint
        self._known: dict[str, Inference] = {}

    def infer(self, texts: Sequence[str], progress: bool = False) -> list[Inference]:
        """As the provider's own."""
        answers = []
        for text in texts:
            if text not in self._known:
                if len(self._known) >= _KEPT:
                    self._known.pop(next(iter(self._known)))
                self._known[text] = self.provider.infer([text], progress=progress)[0]
            answers.append(self._known[text])
        return answers


@dataclass
class Voice:
    """A run ready to read and answer.

    Attributes:
        name: its folder's, as menus show it.
        notes: what the user should know of it.
    """

    name: str
    run: Run
    provider: Remembering
    notes: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """One line on what it is."""
        run = self.run
        parts = [run.config.model, f"preset {run.config.preset}", f"{run.iteration:,} iterations"]
        return ", ".join([*parts, f"commonsense: {self.provider.name}", *self.notes])


def voice(run: Run | Path | str) -> Voice:
    """A run with its provider of commonsense, which reads its tables now and not when somebody waits for an answer.

    Raises:
        RunError: the folder holds no run.
    """
    loaded = run if isinstance(run, Run) else load_run(Path(run).expanduser())
    provider, note = loaded.provider(_sources_or_none())
    provider.infer(["hello"], progress=False)
    return Voice(
        loaded.folder.name,
        loaded,
        Remembering(provider),
        [text for text in (loaded.note, note) if text],
    )


def _sources_or_none() -> Sources | None:
    try:
        return find_sources()
    except CtsmError:
        return None


def runs_beside(run: Run) -> dict[str, Path]:
    """Run folders that can be compared with a run: those beside it and those in the project's `runs/`, by name."""
    places = [run.folder.resolve().parent, *([PROJECT / "runs"] if PROJECT else [])]
    found: dict[str, Path] = {run.folder.name: run.folder}
    for place in places:
        for path in sorted(place.glob("*/run.json")) if place.is_dir() else []:
            if path.parent.resolve() != run.folder.resolve():
                found.setdefault(path.parent.name, path.parent)
    return found


# ---------------------------------------------------------------------------------------------------- text and figures


def shown(text: object) -> str:
    """Text as HTML and plotly show it: markup in it does nothing."""
    return html.escape(str(text), quote=True)


def label(word: str) -> str:
    """A word as a figure's label: short, and as text."""
    return shown(word if len(word) <= LONGEST_LABEL else word[: LONGEST_LABEL - 1] + "…")


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{shown(text)}</p>' if kind else f"<p>{shown(text)}</p>"


def turn_of(text: str) -> str:
    """A typed turn on one line.

    Raises:
        RunError: it is longer than the model could ever read.
    """
    if len(text) > LONGEST_TURN:
        raise RunError(f"This turn has {len(text):,} characters. Take at most {LONGEST_TURN:,}.")
    return " ".join(text.split())


def finish(figure: go.Figure, title: str, alt: str, height: int, **layout: Any) -> go.Figure:
    """What all figures of explorers have; the house template is added by whoever shows them, since that takes long here.

    Args:
        alt: what somebody who cannot see the figure should know.
    """
    head = {"text": title, "x": 0.0, "xref": "container", "xanchor": "left", "font": {"size": 15}}
    margin = {"l": 10, "r": 10, "t": 46, "b": 10}
    figure.update_layout(font_size=12, height=height, margin=margin, title=head, meta={"alt": alt})
    return figure.update_layout(**layout)


def as_json(figure: go.Figure) -> dict:
    """A figure as the widget draws it, in the house template."""
    import plotly.io

    drawn = json.loads(plotly.io.to_json(figure, validate=False, engine="json"))
    drawn["layout"]["template"] = template()
    return drawn


@cache
def _figures_class() -> Any:
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise ConfigError(
            "The explorers need anywidget: pip install 'ctsm-lab[notebooks]'."
        ) from None
    packed = base64.b64encode((PARTS / "plotly-cartesian.min.js.gz").read_bytes()).decode("ascii")

    class Figures(anywidget.AnyWidget):
        """Draws figures beside each other, below each other where it is narrow."""

        _esm = (_HERE / "figures.js").read_text(encoding="utf-8").replace("@PLOTLY@", packed)
        _css = _HERE / "figures.css"
        figures: Any = traitlets.List().tag(sync=True)

    return Figures


def figures_widget() -> Any:
    """A widget that draws what its trait `figures` holds, a list of `as_json`.

    Raises:
        ConfigError: anywidget is not installed.
    """
    return _figures_class()()
