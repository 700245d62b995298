"""The map of the vocabulary by word vectors, coloured by trait, state or their disagreement."""

import html
import json
from string import Template

import numpy as np
import plotly.graph_objects as go

from ctsm_lib.corpus import EMOTIONS
from ctsm_workbench.pictures.house import HERE, ORANGE, STYLE, data_line, finish, menu, note

_STYLE = STYLE["map"]


def word_map_figure(data: dict) -> go.Figure:
    """Every word as a mark, larger the more often it occurs; buttons choose what the colours mean.

    `data` is what `polarity.word_map` returns.
    """
    trait = np.array([-1 if polarity is None else polarity for polarity in data["trait"]])
    state = np.array(data["state"])
    rated = trait >= 0
    groups = {
        "not rated": ~rated,
        "trait and state agree": rated & (trait == state),
        "trait and state differ": rated & (trait != state),
        "positive trait": trait == 1,
        "negative trait": trait == 0,
        "positive state": state == 1,
        "negative state": state == 0,
    }
    x = np.array(data["x"])
    y = np.array(data["y"])
    large = np.round(2.5 + 1.6 * np.log10(np.maximum(data["count"], 1)), 1)
    polarities = np.array(["negative", "positive", "not rated"])
    columns = zip(data["word"], polarities[trait], polarities[state], data["count"], strict=True)
    tip = "{}: trait {}, state {}, {:,} times"
    tips = np.array([tip.format(html.escape(word), *values) for word, *values in columns])
    figure = go.Figure()
    views = _STYLE["views"]
    for view, looks in views.items():
        for name, look in looks.items():
            some = groups[name]
            marker = _STYLE["marker"] | look | {"size": large[some].tolist()}
            own = {"name": name, "marker": marker, "visible": view == next(iter(views))}
            for key, values in (("x", x), ("y", y), ("hovertext", tips)):
                own[key] = values[some].tolist()
            figure.add_scattergl(**own, **_STYLE["words"])
    choices = {}
    for view in views:
        visible = [own == view for own, looks in views.items() for _ in looks]
        choices[f"colour: {view}"] = [{"visible": visible}]
    finish(figure, "map", f"{len(tips):,} words placed by their vectors")
    figure.update_layout(updatemenus=menu("map", "restyle", choices), annotations=_labels(data))
    note(figure, _STYLE["meaning"], size=12, yanchor="top", yshift=-14)
    drawn = "UMAP, {neighbours} neighbours, seed {seed}".format(**data["settings"])
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
    return [_STYLE["label"] | {"text": name, "x": x, "y": y} for name, (x, y, _) in placed.items()]
