"""The variation of words between contexts, and whether it follows the dialogues' emotions."""

import html

import numpy as np
import plotly.graph_objects as go

from ctsm_workbench.pictures.house import (
    BLUE,
    GRID,
    INK,
    ORANGE,
    corpus_name,
    finish,
    interval,
    note,
    run_line,
)

_NAMED = 8  # words most and least dependent that are named
_DECADE = 280  # pixels of a factor ten upwards, about; for the names only
_MODELS = {"trained": (BLUE, "circle", 0.12), "untrained": (ORANGE, "diamond-open", -0.12)}
_ROWS = {
    "V_cos": "V<sub>cos</sub>: polarity ",
    "V_cos, fitted": "V<sub>cos</sub>: best direction ",
    "H_s": "H<sub>s</sub>: polarity ",
    "H_s, fitted": "H<sub>s</sub>: best direction ",
}


def contextual_figure(data: dict) -> go.Figure:
    """Context dependence of H_s by frequency; below, whether it follows the dialogue.

    `data` is what `analyse_contexts` returns.
    """
    figure = go.Figure()
    _dependence(figure, data)
    _within_words(figure, data)
    _sources(figure, data)
    finish(figure, "contextual", "How much a word's state depends on its context")
    figure.layout.xaxis.title.text = f"times in {corpus_name(data['description'])}"
    figure.layout.yaxis2.update(tickvals=[3, 2, 1, 0], ticktext=list(_ROWS.values()))
    words = len(data["words"]["count"])
    note(figure, f"<b>context dependence of {words:,} words</b>", 0, 1, yshift=6)
    question = "is the same word more positive in positive dialogues (held out)?"
    note(figure, f"<b>{question}</b>", 0, 0.34, yshift=6)
    note(figure, "<b>source of the variance</b>", 0.76, 0.34, yshift=6)
    return run_line(figure, data["description"], "bars: 95 % intervals over words")


def _dependence(figure: go.Figure, data: dict) -> None:
    """Every word by its frequency, the band that chance gives, and the names of the extreme words."""
    words = data["words"]
    figure.add_scatter(
        x=words["count"], y=words["H_s"]["dependence"], mode="markers", name="a word",
        text=[html.escape(word) for word in words["word"]],
        marker={"color": INK, "size": 5, "opacity": 0.45, "line": {"width": 0}},
        hovertemplate="%{text}: %{y:.2f}, %{x:,} times<extra></extra>",
    )  # fmt: skip
    bands = [row for row in data["trained"]["bands"] if row["H_s"]["mean"] > 0]
    for name, label in (("low", "chance: 95 %"), ("high", "")):
        figure.add_scatter(
            x=[row["median"] for row in bands],
            y=[row["H_s"][name] / row["H_s"]["mean"] for row in bands],
            mode="lines", line={"color": ORANGE, "width": 2, "dash": "dot"}, name=label,
            showlegend=bool(label), hoverinfo="skip",
        )  # fmt: skip
    for kind, upward in (("most", 1), ("least", -1)):
        _name_words(figure, data["trained"][kind]["H_s"][:_NAMED], upward)


def _name_words(figure: go.Figure, rows: list[dict], upward: int) -> None:
    """Names beside their marks, further out where they would collide with the one before."""
    placed: list[tuple[float, float]] = []
    for row in rows:
        x, y = np.log10([row["count"], row["ratio"]]).tolist()
        away = 14
        while any(
            abs(x - a) < 0.2 and abs(y * _DECADE + upward * away - b) < 15 for a, b in placed
        ):
            away += 15
        placed.append((x, y * _DECADE + upward * away))
        figure.add_annotation(
            x=x, y=y, text=html.escape(row["word"]), font={"size": 13, "color": BLUE},
            ax=0, ay=-upward * away, arrowhead=0, arrowwidth=1, arrowcolor=GRID,
        )  # fmt: skip


def _within_words(figure: go.Figure, data: dict) -> None:
    """AUC with its interval, for each measure and model."""
    for model, (color, symbol, shift) in _MODELS.items():
        if model not in data:
            continue
        row = next(row for row in data[model]["within_words"] if row["dialogues_of"] == "held out")
        measured = {
            3 - i + shift: row[key] for i, key in enumerate(_ROWS) if row[key]["value"] is not None
        }
        values = [part["value"] for part in measured.values()]
        figure.add_scatter(
            x=values, y=list(measured), mode="markers", name=model, xaxis="x2", yaxis="y2",
            marker={"color": color, "symbol": symbol, "size": 9},
            error_x=interval(values, list(measured.values()), color),
            hovertemplate="%{x:.3f}<extra>" + model + "</extra>",
        )  # fmt: skip
    chance = {"x0": 0.5, "x1": 0.5, "xref": "x2", "y0": 0, "y1": 1, "yref": "y2 domain"}
    figure.add_shape(type="line", line={"color": INK, "dash": "dash"}, **chance)


def _sources(figure: go.Figure, data: dict) -> None:
    """The share of a word's variance due to speaker and place, and that due to the other words."""
    explained = {
        name: data["trained"]["explained"][key]["explained"]
        for key, name in (("H_s", "H<sub>s</sub>"), ("V_cos", "V<sub>cos</sub>"))
        if data["trained"]["explained"][key]
    }
    rest = [100 - value for value in explained.values()]
    for label, color, values in (
        ("speaker and place", INK, list(explained.values())),
        ("the other words", BLUE, rest),
    ):
        figure.add_bar(
            x=values, y=list(explained), orientation="h", name=label, marker={"color": color},
            xaxis="x3", yaxis="y3", width=0.5, showlegend=False,
            text=[label if value > 25 else "" for value in values],
            textposition="inside", insidetextanchor="middle",
            hovertemplate="%{x:.1f} %<extra>" + label + "</extra>",
        )  # fmt: skip
