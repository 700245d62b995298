"""The lessons' helpers: seeds, figures, data, a trained run, and the picture of the model.

Lessons import this module and `checks`. Everything else they use is the library they explain.
"""

import copy
import dataclasses
import html
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import torch

from ctsm_lib.cache import digest
from ctsm_lib.config import Config, preset
from ctsm_lib.prepare import Prepared, prepare
from ctsm_lib.runs import Run, load_run
from ctsm_lib.sources import PROJECT
from ctsm_lib.sources import find_sources as sources  # the files of the data in use
from ctsm_workbench.pictures.diagram import Diagram
from ctsm_workbench.pictures.house import BLUE, ORANGE, template
from ctsm_workbench.running.train import train

# Nobody waits for a full training on real data in class. So many steps show what training does.
CLASS_ITERATIONS = 120


def begin(part: str = "", seed: int = 0) -> Any:
    """Set seeds and the way figures are shown, and return the picture of the model.

    `part` is the part to highlight, one of `diagram.PARTS`; by default all are.
    """
    torch.manual_seed(seed)
    np.random.seed(seed)
    pio.templates["ctsm"] = template()
    pio.templates.default = "plotly+ctsm"
    # Colab needs HTML. The other programs draw plotly's own type of output.
    pio.renderers.default = "colab" if "google.colab" in sys.modules else "plotly_mimetype"
    return Diagram(part)


@cache
def data(knowledge: str = "auto") -> Prepared:
    """The prepared data: real data if `CTSM_DATA` or `data/raw` has it, otherwise the sample."""
    config = lesson_config(sources().origin).override([f"knowledge={knowledge}"])
    return prepare(config, sources(), progress=False)


def lesson_config(origin: str) -> Config:
    """Settings of the lessons' run: preset `sample`, or a short `improved` on real data."""
    if origin == "sample":
        return preset("sample")
    names = ("max_iterations", "check_every", "check_from")
    return preset("improved", [*(f"{name}={CLASS_ITERATIONS}" for name in names), "warmup=40"])


def portion(prepared: Prepared, **counts: int) -> Prepared:
    """The data with only the first pairs of some splits, for speed: `portion(data(), valid=9)`."""
    pairs = dict(prepared.pairs)
    for split, count in counts.items():
        part = pairs[split] = copy.copy(pairs[split])
        for name in ("context_begin", "context_length", "target_begin", "target_length", "label"):
            setattr(part, name, getattr(part, name)[:count])
    return dataclasses.replace(prepared, pairs=pairs)


def describe() -> str:
    """One line about the data in use, for the top of a lesson."""
    prepared = data()
    counts = f"{len(prepared.pairs['train']):,} training pairs, {len(prepared.corpus.vocabulary):,}"
    origin = prepared.description
    return f"data: {origin['data']}, {counts} words; vectors: {origin['vectors']['note']}"


@cache
def trained_run() -> Run:
    """The trained run that the lessons use. If there is none, it is trained (about a minute).

    To use another run, such as one trained overnight, set `CTSM_RUN` to its folder.
    """
    prepared = data()
    origin = prepared.description["data"]
    config = lesson_config(origin)
    key = digest({"data": prepared.description, "config": config.asdict()})[:10]
    own = (PROJECT or Path.cwd()) / "runs" / f"lessons-{origin.replace('/', '-')}-{key}"
    folder = Path(os.environ.get("CTSM_RUN") or own).expanduser()
    if not (folder / "best.safetensors").is_file():
        task = "Training a small model for the lessons, once (about a minute)"
        print(f"{task}: {folder.name}", flush=True)
        begun = (folder / "run.json").is_file()
        state = torch.random.get_rng_state()
        train(config, prepared, folder, resume=begun, cpu=True, progress=False)
        torch.random.set_rng_state(state)
    return load_run(folder)


def show(figure: Any, caption: str, alt: str = "") -> None:
    """Display a plotly figure with a caption that tells what to look at.

    `alt` describes the figure for people who cannot see it; by default title and caption do.
    """
    from IPython.display import HTML, display

    title = figure.layout.title.text
    figure.update_layout(meta={"alt": alt or (f"{title}. {caption}" if title else caption)})
    display(figure)
    display(HTML(f'<p style="max-width: 46em"><em>{html.escape(caption)}</em></p>'))


def live(figure: Any) -> Callable[[Any], None]:
    """Display a figure that changes while a cell runs: call the result with each new figure."""
    from IPython.display import display

    def bundle(new: Any) -> dict:
        return pio.renderers[pio.renderers.default].to_mimebundle(new.to_dict())

    handle = display(bundle(figure), raw=True, display_id=True)
    return lambda new: handle.update(bundle(new), raw=True) if handle else None


def play(function: Callable[..., Any], **controls: Any) -> None:
    """Show what a function returns, with controls for its arguments.

    The controls are those of `ipywidgets.interact`: a widget, a range, a list of choices, a text.
    """
    from ipywidgets import interact

    interact(function, **controls)


def text(value: str) -> Any:
    """A text field for `play` that reacts to the Enter key, not to every letter."""
    from ipywidgets import Layout, Text

    return Text(value, continuous_update=False, layout=Layout(width="40em"))


def bars(
    values: Mapping[str, Sequence[float]], groups: Sequence[str], title: str, axis: str = ""
) -> Any:
    """Grouped bars: a colour for each key of `values`, and a place for each of `groups`."""
    bars = [go.Bar(name=name, x=list(groups), y=list(values[name])) for name in values]
    layout = {"barmode": "group", "title": title, "yaxis_title": axis, "width": 860, "height": 380}
    return go.Figure(bars).update_layout(**layout)


def heatmap(
    values: Any, rows: Sequence[str], columns: Sequence[str], title: str,
    middle: float | None = None,
) -> Any:  # fmt: skip
    """Values [rows, columns] as colours: white to blue, or blue to orange around `middle`.

    Words may repeat: places are numbered, and words are their labels.
    """
    white = "#f4f4f4"
    above, beside = ([html.escape(word) for word in words] for words in (columns, rows))
    figure = go.Figure().add_heatmap(
        z=np.asarray(values, dtype=float),
        colorscale=[white, BLUE] if middle is None else [BLUE, white, ORANGE],
        zmid=middle,
        customdata=[[f"{row} · {column}" for column in above] for row in beside],
        hovertemplate="%{customdata}<br>%{z:.3f}<extra></extra>",
        xgap=1,
        ygap=1,
    )
    figure.update_xaxes(tickvals=list(range(len(above))), ticktext=above, tickangle=-45)
    figure.update_yaxes(tickvals=list(range(len(beside))), ticktext=beside, autorange="reversed")
    return figure.update_layout(title=title, width=860, height=160 + 20 * max(len(rows), 4))
