"""How much words vary between contexts, and whether that follows what the dialogues are about."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

from ctsm_workbench.pictures.house import BLUE, GRID, INK, ORANGE, size

if TYPE_CHECKING:
    import plotly.graph_objects as go

_NAMED = 8  # words most and least dependent that are named
_DECADE = 280  # pixels of a factor ten upwards, about; for the names only
_MODELS = {"trained": (BLUE, "circle", 0.12), "untrained": (ORANGE, "diamond-open", -0.12)}


def contextual_figure(data: dict) -> go.Figure:
    """Context dependence of H_s by frequency beside its null; below, what follows the dialogue, trained and untrained.

    Args:
        data: what `contextual.analyse_contexts` returns.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    count = data["words"]["count"]
    ratio = data["words"]["H_s"]["dependence"]
    figure.add_scatter(
        x=count, y=ratio, mode="markers", name="a word", text=[html.escape(word) for word in data["words"]["word"]],
        marker={"color": INK, "size": 5, "opacity": 0.45, "line": {"width": 0}},
        hovertemplate="%{text}: %{y:.2f}, %{x:,} times<extra></extra>",
    )  # fmt: skip
    bands = [row for row in data["trained"]["bands"] if row["H_s"]["mean"] > 0]
    middle = [row["median"] for row in bands]
    for name, label in (("low", "chance: 95 %"), ("high", "")):
        edge = [row["H_s"][name] / row["H_s"]["mean"] for row in bands]
        figure.add_scatter(
            x=middle, y=edge, mode="lines", line={"color": ORANGE, "width": 2, "dash": "dot"}, name=label,
            showlegend=bool(label), hoverinfo="skip",
        )  # fmt: skip
    for kind, shift in (("most", 1), ("least", -1)):
        for note in _spread(data["trained"][kind]["H_s"], shift):
            figure.add_annotation(note)
    _follows(figure, data)
    _sources(figure, data)
    size(figure, 980, left=20, right=30, top=92, bottom=92).update_layout(
        title={"text": "How much a word's state depends on its context", "y": 0.98, "yanchor": "top"},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom", "itemsizing": "constant"},
        xaxis={"type": "log", "domain": [0.02, 1], "anchor": "y", "title": {"text": "times in EmpatheticDialogues"
               if data["description"]["data"] != "sample" else "times in the sample"}, "dtick": 1},
        yaxis={"type": "log", "domain": [0.54, 1], "title": {"text": "variance of H<sub>s</sub> / of words as frequent"},
               "tickvals": [0.1, 0.2, 0.5, 1, 2, 5], "anchor": "x"},
        xaxis2={"domain": [0.3, 0.66], "anchor": "y2", "title": {"text": "AUC between the word's own occurrences"}},
        yaxis2={"domain": [0, 0.34], "anchor": "x2", "showgrid": False, "zeroline": False, "ticks": "", "range": [-0.6, 3.6],
                "tickvals": [0, 1, 2, 3], "ticktext": _ROWS[::-1]},
        xaxis3={"domain": [0.76, 1], "anchor": "y3", "range": [0, 100], "title": {"text": "% of a word's variance"}},
        yaxis3={"domain": [0, 0.34], "anchor": "x3", "showgrid": False, "ticks": ""},
        barmode="stack",
    )  # fmt: skip
    for x, y, text in (
        (0, 1, f"<b>context dependence of {len(count):,} words</b>"),
        (
            0,
            0.34,
            "<b>Is the same word more positive in positive dialogues (held out)? 0.5: no</b>",
        ),
        (0.76, 0.34, "<b>where it comes from</b>"),
    ):
        place = {
            "x": x,
            "y": y,
            "xref": "paper",
            "yref": "paper",
            "xanchor": "left",
            "yanchor": "bottom",
            "yshift": 6,
        }
        figure.add_annotation(text=text, showarrow=False, font={"size": 13}, **place)
    run = data["description"]
    where = "the invented sample" if run["data"] == "sample" else "EmpatheticDialogues"
    text = f"preset {run['preset']}, {run['iterations']:,} iterations on {where}; bars: 95 % intervals over words"
    place = {
        "x": 0,
        "y": 0,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "top",
        "yshift": -64,
    }
    return figure.add_annotation(text=text, showarrow=False, font={"size": 12}, **place)


_KEYS = ("V_cos", "V_cos, fitted", "H_s", "H_s, fitted")
_ROWS = [
    "V<sub>cos</sub>: polarity ", "V<sub>cos</sub>: best direction ", "H<sub>s</sub>: polarity ",
    "H<sub>s</sub>: best direction ",
]  # fmt: skip


def _follows(figure: go.Figure, data: dict) -> None:
    for model, (color, symbol, shift) in _MODELS.items():
        if model not in data:
            continue
        row = next(row for row in data[model]["within_words"] if row["dialogues_of"] == "held out")
        known = [(3 - i, row[key]) for i, key in enumerate(_KEYS) if row[key]["value"] is not None]
        values = np.array([[v["value"], v["low"], v["high"]] for _, v in known]).reshape(-1, 3)
        figure.add_scatter(
            x=values[:, 0].tolist(), y=[place + shift for place, _ in known], mode="markers", name=model, xaxis="x2",
            yaxis="y2", marker={"color": color, "symbol": symbol, "size": 9},
            error_x={"array": (values[:, 2] - values[:, 0]).round(4).tolist(), "symmetric": False, "color": color,
                     "arrayminus": (values[:, 0] - values[:, 1]).round(4).tolist(), "thickness": 2, "width": 4},
            hovertemplate="%{x:.3f}<extra>" + model + "</extra>",
        )  # fmt: skip
    figure.add_shape(
        type="line",
        x0=0.5,
        x1=0.5,
        y0=0,
        y1=1,
        xref="x2",
        yref="y2 domain",
        line={"color": INK, "dash": "dash"},
    )


def _sources(figure: go.Figure, data: dict) -> None:
    source = data["trained"]["explained"]
    rows = [
        (name, source[key])
        for name, key in (("H<sub>s</sub>", "H_s"), ("V<sub>cos</sub>", "V_cos"))
        if source[key]
    ]
    for label, color, values in (
        ("speaker and place", INK, [row["explained"] for _, row in rows]),
        ("the other words", BLUE, [100 - row["explained"] for _, row in rows]),
    ):
        figure.add_bar(
            x=values, y=[name for name, _ in rows], orientation="h", name=label, marker={"color": color}, xaxis="x3",
            yaxis="y3", width=0.5, text=[label if value > 25 else "" for value in values], textposition="inside",
            insidetextanchor="middle", showlegend=False, hovertemplate="%{x:.1f} %<extra>" + label + "</extra>",
        )  # fmt: skip


def _spread(rows: list[dict], shift: int) -> list[dict]:
    """Names beside their marks, each a little further out than the one before where they would collide."""
    notes: list[dict] = []
    placed: list[tuple[float, float]] = []
    for row in rows[:_NAMED]:
        x, y = float(np.log10(row["count"])), float(np.log10(row["ratio"]))
        away = 14
        while any(abs(x - a) < 0.2 and abs(y * _DECADE + shift * away - b) < 15 for a, b in placed):
            away += 15
        placed.append((x, y * _DECADE + shift * away))
        notes.append(
            {"x": x, "y": y, "text": html.escape(row["word"]), "ax": 0, "ay": -shift * away, "showarrow": True,
             "arrowhead": 0, "arrowwidth": 1, "arrowcolor": GRID, "font": {"size": 13, "color": BLUE}}
        )  # fmt: skip
    return notes
