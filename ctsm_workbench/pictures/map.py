"""The map of the vocabulary: neighbours by their vectors, coloured by trait, state or their disagreement."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ctsm_lib.corpus import EMOTIONS
from ctsm_workbench.pictures.house import BLUE, FONT, INK, ORANGE, size, source_line

if TYPE_CHECKING:
    import plotly.graph_objects as go

_PALE = "#a9adb3"
_VIEWS = ("disagreement", "trait", "state")


def word_map_figure(data: dict) -> go.Figure:
    """Every word as a mark, larger the more often it occurs; buttons choose what the colours mean.

    Args:
        data: what `polarity.word_map` returns.
    """
    import plotly.graph_objects as go

    trait = np.array([-1 if side is None else side for side in data["trait"]])
    state, rated = np.array(data["state"]), trait >= 0
    groups: list[tuple[str, str, np.ndarray, str, str]] = [  # view, name, which words, colour, mark
        ("disagreement", "not rated", ~rated, _PALE, "circle"),
        ("disagreement", "trait and state agree", rated & (trait == state), INK, "circle"),
        ("disagreement", "trait and state differ", rated & (trait != state), BLUE, "diamond"),
        ("trait", "not rated", ~rated, _PALE, "circle"),
        ("trait", "positive trait", trait == 1, ORANGE, "circle"),
        ("trait", "negative trait", trait == 0, BLUE, "diamond"),
        ("state", "positive state", state == 1, ORANGE, "circle"),
        ("state", "negative state", state == 0, BLUE, "diamond"),
    ]
    x, y = np.array(data["x"]), np.array(data["y"])
    large = np.round(2.5 + 1.6 * np.log10(np.maximum(data["count"], 1)), 1)
    words = np.array([html.escape(word) for word in data["word"]])
    sides = {1: "positive", 0: "negative", -1: "not rated"}
    tips = np.array([
        f"{word}: trait {sides[int(t)]}, state {sides[int(s)]}, {count:,} times"
        for word, t, s, count in zip(words, trait, state, data["count"], strict=True)
    ])  # fmt: skip
    figure = go.Figure()
    for view, name, some, color, symbol in groups:
        marker = {
            "color": color,
            "symbol": symbol,
            "size": large[some].tolist(),
            "opacity": 0.75,
            "line": {"width": 0},
        }
        figure.add_scattergl(
            x=x[some].tolist(), y=y[some].tolist(), mode="markers", name=name, marker=marker, visible=view == _VIEWS[0],
            hovertext=tips[some].tolist(), hoverinfo="text",
        )  # fmt: skip
    buttons = [
        {
            "label": f"colour: {view}",
            "method": "restyle",
            "args": [{"visible": [g[0] == view for g in groups]}],
        }
        for view in _VIEWS
    ]
    menu = {
        "type": "buttons",
        "direction": "right",
        "x": 0,
        "xanchor": "left",
        "y": 1.0,
        "yanchor": "bottom",
    }
    bare = {
        "showgrid": False,
        "zeroline": False,
        "showticklabels": False,
        "ticks": "",
        "showline": False,
    }
    size(figure, 860, left=10, right=10, top=100, bottom=70).update_layout(
        title={"text": f"{len(words):,} words as their vectors lie", "y": 0.98, "yanchor": "top"},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom", "itemsizing": "constant"},
        updatemenus=[menu | {"buttons": buttons, "font": {"color": INK}, "bgcolor": "rgba(0,0,0,0)"}],
        xaxis=bare, yaxis=bare | {"scaleanchor": "x"}, dragmode="pan", hovermode="closest", annotations=_labels(data, x, y),
    )  # fmt: skip
    figure.add_annotation(
        text="Near words have similar vectors. Distances between groups, their sizes and the axes mean nothing.",
        x=0, y=0, xref="paper", yref="paper", xanchor="left", yanchor="top", yshift=-14, xshift=10, showarrow=False,
        font={"size": 12},
    )  # fmt: skip
    return source_line(
        figure,
        data,
        f"UMAP, {data['settings']['neighbours']} neighbours, seed {data['settings']['seed']}",
    )


def _labels(data: dict, x: np.ndarray, y: np.ndarray) -> list[dict]:
    """The emotion words' names, as many as find room: none lies on another."""
    index = {word: i for i, word in enumerate(data["word"])}
    unit = 740 / max(float(np.ptp(x)), float(np.ptp(y)), 1e-9)  # pixels, about
    placed: list[tuple[float, float, float]] = []
    notes = []
    for emotion in EMOTIONS:
        if (i := index.get(emotion)) is None:
            continue
        left, top, half = x[i] * unit, y[i] * unit, 4 * len(emotion) + 3
        if all(abs(left - a) >= half + other or abs(top - b) >= 20 for a, b, other in placed):
            placed.append((left, top, half))
            notes.append(
                {"x": float(x[i]), "y": float(y[i]), "text": emotion, "showarrow": False, "yshift": 12, "bgcolor": INK,
                 "font": {"size": 12, "color": "white"}, "borderpad": 2}
            )  # fmt: skip
    return notes


def search_box(data: dict, name: str = "map") -> str:
    """HTML below the map: a field that finds a word, and the note on what the map's distances mean.

    Args:
        name: the picture's element in the page.
    """
    columns: dict[str, Any] = {key: data[key] for key in ("word", "x", "y")}
    table = json.dumps(columns, ensure_ascii=False).replace("</", "<\\/")
    return f"""<p><label>Find a word: <input id="find" autocomplete="off" style="font:15px {FONT.replace('"', "'")}"></label>
<output id="found" aria-live="polite"></output></p>
<p>{html.escape(data["note"])}</p>
<script type="application/json" id="words">{table}</script>
<script>
document.getElementById("{name}").addEventListener("drawn", event => {{
  const words = JSON.parse(document.getElementById("words").textContent);
  const place = event.target, labels = place.layout.annotations.slice(), found = document.getElementById("found");
  document.getElementById("find").addEventListener("input", typed => {{
    const wanted = typed.target.value.trim().toLowerCase(), i = words.word.indexOf(wanted);
    const near = wanted && i < 0 ? words.word.filter(word => word.startsWith(wanted)).slice(0, 5).join(", ") : "";
    found.textContent = !wanted ? "" : i >= 0 ? "marked on the map" : near ? "there are: " + near : "not on the map";
    const mark = {{x: words.x[i], y: words.y[i], text: "<b>" + wanted.replace(/[&<>]/g, "") + "</b>", showarrow: true,
                  ax: 0, ay: -46, arrowwidth: 2, arrowcolor: "{ORANGE}", bgcolor: "{ORANGE}", font: {{size: 16, color: "white"}}}};
    Plotly.relayout(place, {{annotations: i >= 0 ? [...labels, mark] : labels}});
  }});
}});
</script>"""
