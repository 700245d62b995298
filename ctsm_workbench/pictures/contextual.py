"""The variation of words between contexts, and whether it follows the dialogues' emotions."""

import html

import numpy as np
import plotly.graph_objects as go

from ctsm_workbench.pictures.house import STYLE, corpus_name, finish, interval, note, run_line

_STYLE = STYLE["contextual"]
_NAMED = 8  # words most and least dependent that are named
_DECADE = 280  # pixels of a factor ten upwards, about; for the names only


def contextual_figure(data: dict) -> go.Figure:
    """Context dependence of H_s by frequency; below, whether it follows the dialogue.

    `data` is what `analyse_contexts` returns.
    """
    figure = go.Figure()
    trained = data["trained"]
    _dependence(figure, data["words"], trained)
    for model, shift in (("trained", 0.12), ("untrained", -0.12)):
        if model in data:
            _within_words(figure, data[model]["within_words"], model, shift)
    figure.add_shape(**_STYLE["middle"])
    # The share of a word's variance due to speaker and place, and that due to the other words.
    known = {label: trained["explained"][key] for key, label in _STYLE["labels"].items()}
    own = {label: found["explained"] for label, found in known.items() if found}
    shares = (list(own.values()), [100 - value for value in own.values()])
    for (name, color), values in zip(_STYLE["sources"].items(), shares, strict=True):
        text = [name if value > 25 else "" for value in values]
        look = _STYLE["source"] | {"name": name, "marker_color": color}
        figure.add_bar(x=values, y=list(own), text=text, **look)
    finish(figure, "contextual", "How much a word's state depends on its context")
    figure.layout.xaxis.title.text = f"times in {corpus_name(data['description'])}"
    words = len(data["words"]["count"])
    note(figure, f"<b>context dependence of {words:,} words</b>", 0, 1, yshift=6)
    for heading, x in _STYLE["headings"]:
        note(figure, heading, x, 0.34, yshift=6)
    return run_line(figure, data["description"], "bars: 95 % intervals over words")


def _dependence(figure: go.Figure, words: dict, trained: dict) -> None:
    """Every word by its frequency, the band that chance gives, and the names of extreme words."""
    names = [html.escape(word) for word in words["word"]]
    y = words["H_s"]["dependence"]
    figure.add_scatter(x=words["count"], y=y, text=names, **_STYLE["word"])
    bands = [row for row in trained["bands"] if row["H_s"]["mean"] > 0]
    for bound in ("low", "high"):
        x = [row["median"] for row in bands]
        y = [row["H_s"][bound] / row["H_s"]["mean"] for row in bands]
        figure.add_scatter(x=x, y=y, showlegend=bound == "low", **_STYLE["chance"])
    for kind, upward in (("most", 1), ("least", -1)):
        placed: list[tuple[float, float]] = []
        for row in trained[kind]["H_s"][:_NAMED]:
            x, y = np.log10([row["count"], row["ratio"]]).tolist()
            height = y * _DECADE + upward * 14
            # Further out where a name would collide with the one before.
            while any(abs(x - a) < 0.2 and abs(height - b) < 15 for a, b in placed):
                height += upward * 15
            placed.append((x, height))
            look = _STYLE["label"] | {"ay": y * _DECADE - height}
            figure.add_annotation(x=x, y=y, text=html.escape(row["word"]), **look)


def _within_words(figure: go.Figure, rows: list[dict], model: str, shift: float) -> None:
    """The AUC of a model with its interval, for each measure."""
    row = next(row for row in rows if row["dialogues_of"] == "held out")
    places = {key: 3 - i + shift for i, key in enumerate(_STYLE["measures"])}
    measured = {y: row[key] for key, y in places.items() if row[key]["value"] is not None}
    values = [part["value"] for part in measured.values()]
    marker = _STYLE["models"][model]
    bars = interval(values, list(measured.values()), marker["color"])
    look = _STYLE["auc"] | {"name": model, "marker": marker, "error_x": bars}
    figure.add_scatter(x=values, y=list(measured), **look)
