"""The house style of all pictures, read from `style.toml`, and the notes on a picture."""

import html
import tomllib
from pathlib import Path
from string import Template
from typing import Any

import plotly.graph_objects as go

HERE = Path(__file__).parent
COLOURS: dict[str, str] = tomllib.loads((HERE / "style.toml").read_text("utf-8"))["colours"]


def fill(file: str, **values: str) -> str:
    """The text of a file of this folder, with values and colours in place of their "$names"."""
    return Template((HERE / file).read_text(encoding="utf-8")).substitute(COLOURS, **values)


STYLE = tomllib.loads(fill("style.toml"))
BLUE = COLOURS["blue"]
ORANGE = COLOURS["orange"]
INK = COLOURS["ink"]


def template() -> dict:
    """The house template: fonts, colours and transparent paper, as `layout.template` takes it."""
    return dict(STYLE["template"])


def finish(figure: go.Figure, picture: str, title: str = "", inner: float = 0) -> go.Figure:
    """Give a figure the house template, its layout of `style.toml` and the width of all pictures.

    `picture` is a table of `style.toml`; `inner` pixels lie between the margins, if data decide it.
    """
    figure.update_layout(template=template(), width=980, **STYLE[picture]["layout"])
    if inner:
        figure.layout.height = inner + figure.layout.margin.t + figure.layout.margin.b
    if title:
        figure.layout.title = {"text": title, "y": 1 - 16 / figure.layout.height, "yanchor": "top"}
    return figure


def note(
    figure: go.Figure, text: str, x: float = 0, y: Any = 0, size: int = 13, **place: Any
) -> go.Figure:
    """Add text above a point, in shares of the picture; `place` changes any option of plotly's."""
    look = STYLE["shared"]["note"] | {"font": {"size": size}} | place
    return figure.add_annotation(text=text, x=x, y=y, **look)


def data_line(figure: go.Figure, analysis: dict, choice: str) -> go.Figure:
    """Add the last line of a finished picture: `choice`, the data and the vectors."""
    parts = [choice]
    if description := analysis.get("description"):
        vectors = description["vectors"]
        kind = "" if vectors["note"] == vectors["name"] else f" ({vectors['note']})"
        parts += [f"data: {corpus(description)}", f"vectors: {vectors['name']}{kind}"]
    return _last_line(figure, parts)


def run_line(figure: go.Figure, run: dict, *remarks: str) -> go.Figure:
    """Add the last line of a picture: a run's preset, its length, its data, and remarks."""
    trained = f"preset {run['preset']}, {run['iterations']:,} iterations on {corpus(run)}"
    return _last_line(figure, [trained, *remarks])


def corpus(description: dict) -> str:
    """The name of the dialogues: the sample is never taken for the real ones."""
    return "the invented sample" if description["data"] == "sample" else "EmpatheticDialogues"


def _last_line(figure: go.Figure, parts: list[str]) -> go.Figure:
    margin = figure.layout.margin
    text = html.escape("; ".join(parts), quote=False)
    shift = {"xshift": max(0, 10 - margin.l), "yshift": 26 - margin.b}
    return note(figure, text, size=12, yanchor="top", **shift)


def menu(picture: str, method: str, choices: dict[str, list]) -> list[dict]:
    """A row of buttons for the live picture: the arguments of plotly's `method` by button."""
    buttons = [{"label": label, "method": method, "args": args} for label, args in choices.items()]
    return [STYLE["shared"]["buttons"] | STYLE[picture]["menu"] | {"buttons": buttons}]


def interval(values: list[float], rows: list[dict], color: str) -> dict:
    """Horizontal error bars from each value to the bounds `low` and `high` of its row, if any."""
    pairs = list(zip(values, rows, strict=True))
    above = [0.0 if row["high"] is None else round(row["high"] - value, 4) for value, row in pairs]
    below = [0.0 if row["low"] is None else round(value - row["low"], 4) for value, row in pairs]
    return STYLE["shared"]["interval"] | {"array": above, "arrayminus": below, "color": color}
