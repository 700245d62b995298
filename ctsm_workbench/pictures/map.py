"""The map of the vocabulary by word vectors, coloured by trait, state or their disagreement."""

import html
import json
from string import Template

import numpy as np
import plotly.graph_objects as go

from ctsm_lib.corpus import EMOTIONS
from ctsm_workbench.pictures.house import BLUE, BUTTONS, HERE, INK, ORANGE, data_line, finish, note

_PALE = "#a9adb3"


def word_map_figure(data: dict) -> go.Figure:
    """Every word as a mark, larger the more often it occurs; buttons choose what the colours mean.

    `data` is what `polarity.word_map` returns.
    """
    trait = np.array([-1 if polarity is None else polarity for polarity in data["trait"]])
    state = np.array(data["state"])
    rated = trait >= 0
    groups = (  # view, name, words, colour, mark
        ("disagreement", "not rated", ~rated, _PALE, "circle"),
        ("disagreement", "trait and state agree", rated & (trait == state), INK, "circle"),
        ("disagreement", "trait and state differ", rated & (trait != state), BLUE, "diamond"),
        ("trait", "not rated", ~rated, _PALE, "circle"),
        ("trait", "positive trait", trait == 1, ORANGE, "circle"),
        ("trait", "negative trait", trait == 0, BLUE, "diamond"),
        ("state", "positive state", state == 1, ORANGE, "circle"),
        ("state", "negative state", state == 0, BLUE, "diamond"),
    )
    x = np.array(data["x"])
    y = np.array(data["y"])
    large = np.round(2.5 + 1.6 * np.log10(np.maximum(data["count"], 1)), 1)
    polarities = np.array(["negative", "positive", "not rated"])
    columns = zip(data["word"], polarities[trait], polarities[state], data["count"], strict=True)
    tips = np.array([
        f"{html.escape(word)}: trait {own}, state {near}, {count:,} times"
        for word, own, near, count in columns
    ])  # fmt: skip
    figure = go.Figure()
    for view, name, some, color, symbol in groups:
        look = {"color": color, "symbol": symbol, "opacity": 0.75, "line": {"width": 0}}
        figure.add_scattergl(
            x=x[some].tolist(), y=y[some].tolist(), mode="markers", name=name,
            marker=look | {"size": large[some].tolist()}, visible=view == "disagreement",
            hovertext=tips[some].tolist(), hoverinfo="text",
        )  # fmt: skip
    buttons = []
    for view in ("disagreement", "trait", "state"):
        visible = [group[0] == view for group in groups]
        args = [{"visible": visible}]
        buttons.append({"label": f"colour: {view}", "method": "restyle", "args": args})
    menu = BUTTONS | {"buttons": buttons, "x": 0, "y": 1, "yanchor": "bottom"}
    layout = {"updatemenus": [menu], "annotations": _labels(data)}
    finish(figure, "map", f"{len(tips):,} words placed by their vectors", **layout)
    meaning = "Distances between groups, their sizes and the axes mean nothing."
    text = f"Near words have similar vectors. {meaning}"
    note(figure, text, size=12, yanchor="top", yshift=-14)
    settings = data["settings"]
    drawn = f"UMAP, {settings['neighbours']} neighbours, seed {settings['seed']}"
    return data_line(figure, data, drawn)


def search_box(data: dict) -> str:
    """HTML below the map: a field that finds a word, and the note on the meaning of distances."""
    columns = {key: data[key] for key in ("word", "x", "y")}
    # A "</script>" in a word must not end the script.
    table = json.dumps(columns, ensure_ascii=False).replace("</", "<\\/")
    template = Template((HERE / "map.html").read_text(encoding="utf-8"))
    return template.substitute(note=html.escape(data["note"]), table=table, color=ORANGE)


def _labels(data: dict) -> list[dict]:
    """The emotion words' names, as many as find room: none lies on another."""
    places = dict(zip(data["word"], zip(data["x"], data["y"], strict=True), strict=True))
    pixels = 740 / max(float(np.ptp(data["x"])), float(np.ptp(data["y"])), 1e-9)  # about
    placed: dict[str, tuple[float, float, float]] = {}
    for emotion in EMOTIONS:
        if emotion in places:
            x, y = places[emotion]
            half = (4 * len(emotion) + 3) / pixels
            near = [name for name, (_, b, _) in placed.items() if abs(y - b) < 20 / pixels]
            if all(abs(x - placed[name][0]) >= half + placed[name][2] for name in near):
                placed[emotion] = (x, y, half)
    look = {"showarrow": False, "yshift": 12, "bgcolor": INK, "borderpad": 2}
    look |= {"font": {"size": 12, "color": "white"}}
    return [look | {"text": name, "x": x, "y": y} for name, (x, y, _) in placed.items()]
