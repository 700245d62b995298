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
    large = np.round(2.5 + 1.6 * np.log10(np.maximum(data["count"], 1)), 1)
    polarities = np.array(["negative", "positive", "not rated"])
    rows = zip(data["word"], polarities[trait], polarities[state], data["count"], strict=True)
    tip = "{}: trait {}, state {}, {:,} times"
    tips = [tip.format(html.escape(word), *values) for word, *values in rows]
    columns = {"x": np.array(data["x"]), "y": np.array(data["y"]), "hovertext": np.array(tips)}
    figure = go.Figure()
    choices = {}
    views = _STYLE["views"]
    for view, looks in views.items():
        for name, look in looks.items():
            some = groups[name]
            marker = _STYLE["marker"] | look | {"size": large[some].tolist()}
            own = {"name": name, "marker": marker, "visible": view == next(iter(views))}
            own |= {key: column[some].tolist() for key, column in columns.items()}
            figure.add_scattergl(**own, **_STYLE["words"])
        visible = [other == view for other, looks in views.items() for _ in looks]
        choices[f"colour: {view}"] = [{"visible": visible}]
    finish(figure, "map", f"{len(tips):,} words placed by their vectors")
    figure.update_layout(updatemenus=menu("map", "restyle", choices), annotations=_labels(data))
    note(figure, _STYLE["meaning"], size=12, yanchor="top", yshift=-14)
    remark = "UMAP, {neighbours} neighbours, seed {seed}".format(**data["settings"])
    return data_line(figure, data, remark)


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
    labels: list[dict] = []
    for emotion in filter(places.get, EMOTIONS):
        x, y = places[emotion]
        near = [label for label in labels if abs(y - label["y"]) < 20 / pixels]
        letters = [len(emotion) + len(label["text"]) for label in near]
        apart = [abs(x - label["x"]) for label in near]
        if all(gap >= (4 * n + 6) / pixels for gap, n in zip(apart, letters, strict=True)):
            labels.append(_STYLE["label"] | {"text": emotion, "x": x, "y": y})
    return labels
