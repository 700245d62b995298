"""Figure 1: one word, its trait, and its state in different contexts. Paper: Figure 1."""

from __future__ import annotations

import html
import re
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from ctsm_workbench.pictures.house import BLUE, GRID, INK, ORANGE, size

if TYPE_CHECKING:
    import plotly.graph_objects as go

_ROW = 34  # pixels of one row of a heat map
_TOP, _BARS, _GAP, _BOTTOM = (
    60,
    120,
    46,
    150,
)  # pixels: title, bars and contexts, between the parts, emotions and source
_LEFT = 0.3  # of the width: the bars


def fig1(data: dict) -> go.Figure:
    """Trait bars beside the contexts, below them the state inclination to the 32 emotions and the emotions heard.

    Args:
        data: what `contextual.word_in_contexts` returns.

    Returns:
        Both heat maps have a row for each context; emotions stand from the most negative label word to the most positive.

    Paper: Figure 1. Departure: V_cos (Eq. 7) sees the word, who speaks and the place, but no other word; therefore the
    emotions that the model hears in the whole context stand below it.
    """
    import plotly.graph_objects as go

    rows = data["rows"]
    order = np.argsort(data["label_valence"], kind="stable")
    emotions = [data["emotions"][i] for i in order]
    names = [_name(rows, row) for row in rows]
    contexts = {_letter(row): row for row in reversed(rows)}  # the first row of each
    letters = sorted(contexts)
    inclination = np.array([row["V_cos"] for row in rows])[:, order]
    heard = np.array([contexts[letter]["heard"] for letter in letters])[:, order] * 100
    heights = (_BARS, _ROW * len(names), _ROW * len(letters))
    total = sum(heights) + 2 * _GAP
    tops = [1 - (sum(heights[:i]) + i * _GAP) / total for i in range(3)]
    spans = [
        (max(top - height / total, 0.0), top) for top, height in zip(tops, heights, strict=True)
    ]
    middle = [sum(span) / 2 for span in spans]
    widest = max(float(np.abs(inclination).max()), 1e-3)
    looks: dict[str, Any] = {"x": emotions, "xgap": 1, "ygap": 3, "xaxis": "x2"}
    bar = {
        "lenmode": "pixels",
        "thickness": 10,
        "outlinewidth": 0,
        "x": 1.01,
        "tickfont": {"size": 11},
        "nticks": 4,
    }

    figure = go.Figure()
    _trait(figure, data)
    figure.add_heatmap(
        z=inclination, y=names, yaxis="y2", name="V_cos", zmin=-widest, zmax=widest, **looks,
        colorscale=[[0, BLUE], [0.5, GRID], [1, ORANGE]], colorbar=bar | {"y": middle[1], "len": heights[1] + 20},
        hovertemplate="context %{y}: %{x}<br>inclination %{z:.3f}<extra></extra>",
    )  # fmt: skip
    figure.add_heatmap(
        z=heard, y=letters, yaxis="y3", name="heard", zmin=0, **looks,
        colorscale=[[0, GRID], [1, ORANGE]], colorbar=bar | {"y": middle[2], "len": heights[2] + 20, "ticksuffix": " %"},
        hovertemplate="context %{y}: %{x}<br>heard with %{z:.1f} %<extra></extra>",
    )  # fmt: skip
    plain = {"showgrid": False, "ticks": "", "zeroline": False}
    size(figure, _TOP + total + _BOTTOM, left=20, right=70, top=_TOP, bottom=_BOTTOM).update_layout(
        title={
            "text": f"Trait and state of “{html.escape(data['word'])}” in {len(letters)} contexts",
            "y": 0.97,
        },
        xaxis={"domain": [0, _LEFT], "range": [0, 1], "anchor": "y", "tickvals": [0, 0.5, 1]},
        yaxis={"domain": spans[0], "autorange": "reversed", **plain},
        xaxis2={"anchor": "y3", "tickangle": -60, **plain},
        yaxis2={
            "domain": spans[1],
            "autorange": "reversed",
            "anchor": "x2",
            "type": "category",
            **plain,
        },
        yaxis3={
            "domain": spans[2],
            "autorange": "reversed",
            "anchor": "x2",
            "type": "category",
            **plain,
        },
        showlegend=False,
    )
    _heading(figure, tops[0], 0, "trait of the word by itself")
    _heading(figure, tops[0], _LEFT + 0.04, "contexts")
    _heading(
        figure,
        tops[1],
        0,
        "state inclination V<sub>cos</sub> of the word (Eq. 7): it sees speaker and place",
    )
    _heading(figure, tops[2], 0, "emotions that the model hears in the whole context")
    said = "<br>".join(
        _quoted(contexts[letter]["context"], data["word"], letter) for letter in letters
    )
    figure.add_annotation(
        text=said, x=_LEFT + 0.04, y=tops[0], xref="paper", yref="paper", xanchor="left", yanchor="top",
        align="left", showarrow=False,
    )  # fmt: skip
    return _source(figure, data)


def _trait(figure: go.Figure, data: dict) -> None:
    trait = data["trait"] or {}
    values = [trait.get(name) for name in ("valence", "arousal", "dominance")]
    texts = ["not in the lexicon" if value is None else f"{value:.3f}" for value in values]
    figure.add_bar(
        x=[value or 0 for value in values], y=["valence", "arousal", "dominance"], orientation="h", text=texts,
        textposition="auto", marker={"color": INK}, width=0.6, name="trait", hovertemplate="%{y} %{text}<extra></extra>",
    )  # fmt: skip


def _letter(row: dict) -> str:
    return chr(ord("A") + row["number"]) if row["number"] < 26 else str(row["number"] + 1)


def _name(rows: list[dict], row: dict) -> str:
    """A, B, ...; A1, A2, ... where the word stands several times in a context."""
    same = [other["place"] for other in rows if other["number"] == row["number"]]
    return _letter(row) + (str(same.index(row["place"]) + 1) if len(same) > 1 else "")


def _quoted(context: str, word: str, letter: str) -> str:
    lines = textwrap.wrap(context, 72) or [""]
    text = "<br>     ".join(html.escape(line, quote=False) for line in lines)
    marked = re.sub(
        rf"(?i)\b({re.escape(html.escape(word, quote=False))})\b",
        rf'<b style="color:{ORANGE}">\1</b>',
        text,
    )
    return f"<b>{letter}</b>  {marked}"


def _heading(figure: go.Figure, y: float, x: float, text: str) -> None:
    figure.add_annotation(
        text=f"<b>{text}</b>", x=x, y=y, xref="paper", yref="paper", xanchor="left", yanchor="bottom", yshift=4,
        showarrow=False, font={"size": 13},
    )  # fmt: skip


def _source(figure: go.Figure, data: dict) -> go.Figure:
    """Below the picture: which run it is of, and how far that was trained."""
    run = data["description"]
    where = "the invented sample" if run["data"] == "sample" else "EmpatheticDialogues"
    text = f"preset {run['preset']}, {run['iterations']:,} iterations on {where}; commonsense: {data['knowledge']}"
    text += f"; {data['note']}" if data["note"] else ""
    return figure.add_annotation(
        text=html.escape(text, False), x=0, y=0, xref="paper", yref="paper", xanchor="left", yanchor="top",
        yshift=26 - _BOTTOM, showarrow=False, font={"size": 12},
    )  # fmt: skip
