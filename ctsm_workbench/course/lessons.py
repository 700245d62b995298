"""What every notebook begins with: seeds, how figures are shown, data, a trained run, and the picture of the model.

Lessons import this and `checks`; everything else they use is the library that they explain.
"""

from __future__ import annotations

import copy
import dataclasses
import html
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ctsm_lib.cache import digest
from ctsm_lib.config import Config, preset
from ctsm_lib.prepare import Prepared, prepare
from ctsm_lib.runs import Run, load_run
from ctsm_lib.sources import PROJECT, Sources, find_sources

log = logging.getLogger(__name__)

# On real data nobody waits for a full training in class: this many steps of preset `improved` show what training does.
CLASS_ITERATIONS = 120


def begin(part: str = "", seed: int = 0) -> Any:
    """Set seeds and the way figures are shown, and return the picture of the model with this lesson's part lit.

    Args:
        part: a name that `diagram.architecture` can light.
    """
    from ctsm_workbench.pictures.diagram import Diagram

    torch.manual_seed(seed)
    np.random.seed(seed)
    _show_figures()
    return Diagram(part)


def _show_figures() -> None:
    """JupyterLab, VS Code and nbconvert draw plotly's own type of output; Colab wants HTML. Both in the house template."""
    import plotly.io as pio

    from ctsm_workbench.pictures import template

    pio.templates["ctsm"] = template()
    pio.templates.default = "plotly+ctsm"
    pio.renderers.default = "colab" if "google.colab" in sys.modules else "plotly_mimetype"


@cache
def data(knowledge: str = "auto") -> Prepared:
    """The data that this computer has, prepared: the real one where `CTSM_DATA` or `data/raw` holds it, else the sample."""
    sources = find_sources()
    return prepare(
        lesson_config(sources.origin).override([f"knowledge={knowledge}"]), sources, progress=False
    )


def lesson_config(origin: str) -> Config:
    """Settings of the run that lessons look into: preset `sample`, or on real data a short training of `improved`."""
    if origin == "sample":
        return preset("sample")
    checks = [
        f"max_iterations={CLASS_ITERATIONS}",
        f"check_every={CLASS_ITERATIONS}",
        f"check_from={CLASS_ITERATIONS}",
    ]
    return preset("improved", [*checks, "warmup=40"])


def portion(prepared: Prepared, **counts: int) -> Prepared:
    """The same data with only the first pairs of some splits, for what must be quick: `portion(data(), valid=100)`."""
    pairs = dict(prepared.pairs)
    for split, count in counts.items():
        part = copy.copy(pairs[split])
        for name in ("context_begin", "context_length", "target_begin", "target_length", "label"):
            setattr(part, name, getattr(part, name)[:count])
        pairs[split] = part
    return dataclasses.replace(prepared, pairs=pairs)


def describe() -> str:
    """One line on the data in use, for the top of a lesson."""
    prepared = data()
    pairs, words = len(prepared.pairs["train"]), len(prepared.corpus.vocabulary)
    return (
        f"data: {prepared.description['data']}, {pairs:,} training pairs, {words:,} words; "
        + _vectors(prepared)
    )


def _vectors(prepared: Prepared) -> str:
    return f"vectors: {prepared.description['vectors']['note']}"


def sources() -> Sources:
    """The files of the data in use."""
    return find_sources()


def run_folder() -> Path:
    """Where the lessons' trained run lies: `CTSM_RUN`, else a folder under `runs/` that belongs to the data in use."""
    if chosen := os.environ.get("CTSM_RUN"):
        return Path(chosen).expanduser()
    prepared = data()
    key = digest(
        {
            "data": prepared.description,
            "config": lesson_config(prepared.description["data"]).asdict(),
        }
    )[:10]
    return (
        (PROJECT or Path.cwd())
        / "runs"
        / f"lessons-{prepared.description['data'].replace('/', '-')}-{key}"
    )


@cache
def trained_run() -> Run:
    """A trained run to look into; trained now (about a minute) where there is none yet.

    Set `CTSM_RUN` to a run folder to look into that one, e.g. one that was trained for a night.
    """
    from ctsm_lib.training import train

    folder, prepared = run_folder(), data()
    if not (folder / "best.safetensors").is_file():
        print(
            f"Training a small model for the lessons, once (about a minute): {folder.name}",
            flush=True,
        )
        begun = (folder / "run.json").is_file()
        state = torch.random.get_rng_state()
        train(
            lesson_config(prepared.description["data"]),
            prepared,
            folder,
            resume=begun,
            cpu=True,
            progress=False,
        )
        torch.random.set_rng_state(state)
    return load_run(folder)


def show(figure: Any, caption: str, alt: str = "") -> None:
    """Display a plotly figure with a caption that says what to see.

    Args:
        alt: what somebody who cannot see the figure should know; the caption where there is no more to say.
    """
    from IPython.display import HTML, display

    title = figure.layout.title.text
    figure.update_layout(meta={"alt": alt or (f"{title}. {caption}" if title else caption)})
    display(figure)
    display(HTML(f'<p style="max-width: 46em"><em>{html.escape(caption)}</em></p>'))


def live(figure: Any) -> Callable[[Any], None]:
    """Display a plotly figure that changes while a cell runs: call the result with each new one. It has no caption."""
    import plotly.io as pio
    from IPython.display import display

    def bundle(new: Any) -> dict:
        return pio.renderers[pio.renderers.default].to_mimebundle(new.to_dict())

    handle = display(bundle(figure), raw=True, display_id=True)
    return lambda new: handle.update(bundle(new), raw=True) if handle else None


def play(function: Callable[..., Any], **controls: Any) -> None:
    """Show what a function returns, with controls for its arguments; `ipywidgets.interact` in a form that prints nothing.

    Args:
        controls: as `interact` takes them: a widget, a range, a list of choices, a text.
    """
    from ipywidgets import interact

    interact(function, **controls)


def text(value: str) -> Any:
    """A text field for `play` that reacts when Enter is pressed, not at every letter."""
    from ipywidgets import Layout, Text

    return Text(value, continuous_update=False, layout=Layout(width="40em"))


def bars(
    values: Mapping[str, Sequence[float]], groups: Sequence[str], title: str, axis: str = ""
) -> Any:
    """Grouped bars: a colour for each key of `values`, a place for each of `groups`."""
    import plotly.graph_objects as go

    figure = go.Figure(
        [go.Bar(name=name, x=list(groups), y=list(heights)) for name, heights in values.items()]
    )
    return figure.update_layout(
        barmode="group", title=title, yaxis_title=axis, width=860, height=380
    )


def heatmap(
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    middle: float | None = None,
) -> Any:
    """Values [rows, columns] as colours: blue to orange around `middle` where there is one, else white to blue.

    Words may repeat: places are numbered, words are their labels.
    """
    import plotly.graph_objects as go

    scale = (
        [[0, "#2a7de1"], [0.5, "#f4f4f4"], [1, "#c45f0a"]]
        if middle is not None
        else [[0, "#f4f4f4"], [1, "#2a7de1"]]
    )
    array = np.asarray(values, dtype=float)
    tips = "%{customdata}<br>%{z:.3f}<extra></extra>"
    names = [[f"{html.escape(row)} · {html.escape(column)}" for column in columns] for row in rows]
    picture = go.Heatmap(
        z=array, colorscale=scale, zmid=middle, customdata=names, hovertemplate=tips, xgap=1, ygap=1
    )
    figure = go.Figure(picture)
    figure.update_xaxes(
        tickvals=list(range(len(columns))),
        ticktext=[html.escape(c) for c in columns],
        tickangle=-45,
    )
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[html.escape(r) for r in rows],
        autorange="reversed",
    )
    return figure.update_layout(title=title, width=860, height=160 + 20 * max(len(rows), 4))
