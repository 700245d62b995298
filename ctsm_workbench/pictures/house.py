"""The house style of all pictures: colours, fonts, sizes, and the line below that says what was drawn."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

# The background is transparent: each colour has a contrast of at least 4 to white and to a dark page (#0d1117) alike.
# Blue and orange stay apart for every kind of colour blindness; marks differ in shape, too.
INK, BLUE, ORANGE, GRID = "#75797f", "#2a7de1", "#c45f0a", "rgba(125,130,138,0.28)"
SOLID_GRID = "#9a9da3"  # WebGL draws half-transparent lines white on transparent ground
FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"


def template() -> dict:
    """The house template: fonts, colours and transparent paper, as plotly's `layout.template` takes it."""
    axis = {
        "gridcolor": GRID,
        "zerolinecolor": GRID,
        "linecolor": INK,
        "automargin": True,
        "ticks": "outside",
    }
    scene_axis = {
        "gridcolor": SOLID_GRID,
        "zeroline": False,
        "showbackground": False,
        "linecolor": INK,
        "color": INK,
    }
    layout = {
        "font": {"family": FONT, "size": 14, "color": INK},
        "title": {"x": 0.01, "xanchor": "left", "font": {"size": 18}},
        "colorway": [BLUE, ORANGE, INK],
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"bgcolor": "rgba(0,0,0,0)"},
        "hoverlabel": {"font": {"family": FONT, "size": 14}},
        "xaxis": axis,
        "yaxis": axis,
        "scene": {
            "bgcolor": "rgba(0,0,0,0)",
            "xaxis": scene_axis,
            "yaxis": scene_axis,
            "zaxis": scene_axis,
        },
    }
    return {"layout": layout}


def size(
    figure: go.Figure, height: int, *, left: int, right: int, top: int, bottom: int
) -> go.Figure:
    """The house template, the width of all pictures, and margins in pixels."""
    margin = {"l": left, "r": right, "t": top, "b": bottom}
    return figure.update_layout(template=template(), width=980, height=height, margin=margin)


def source_line(figure: go.Figure, analysis: dict, choice: str) -> go.Figure:
    """Say below the picture what it was drawn from; approximate vectors are named as such."""
    parts = [choice]
    if description := analysis.get("description"):
        vectors = description["vectors"]
        note = "" if vectors["note"] == vectors["name"] else f" ({vectors['note']})"
        data = "the invented sample" if description["data"] == "sample" else "EmpatheticDialogues"
        parts += [f"data: {data}", f"vectors: {vectors['name']}{note}"]
    place = {
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": 0,
        "xanchor": "left",
        "yanchor": "top",
        "showarrow": False,
    }
    shift = 26 - figure.layout.margin.b
    return figure.add_annotation(
        text=html.escape("; ".join(parts), False),
        font={"size": 12},
        yshift=shift,
        xshift=10,
        **place,
    )
