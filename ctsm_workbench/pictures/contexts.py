"""A word's trait and its states in contexts: of one word (Figure 1), and of all words of a run."""

import html
import re
import textwrap

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ctsm_workbench.pictures.house import ORANGE, STYLE, corpus, finish, interval, note, run_line

_ROW = 34  # pixels of one row of a heat map
_BARS = 120  # pixels of the bars and contexts
_GAP = 54  # pixels between the parts
_CONTEXTS = 0.34  # of the width: where the contexts begin
_STYLE = STYLE["contextual"]
_NAMED = 8  # words most and least dependent that are named
_DECADE = 280  # pixels of a factor ten upwards, about; for the names only


def fig1(data: dict) -> go.Figure:
    """Trait bars beside the contexts; below, state inclination and predicted emotions of each.

    Both heat maps have a row for each context. Emotions stand from the most negative label word to
    the most positive. `data` is what `word_in_contexts` returns.

    Paper: Figure 1. Departure: V_cos (Eq. 7) depends on the word, on the speaker and on the place,
    but on no other word; therefore the emotions that the model predicts from the whole context
    stand below it.
    """
    style = STYLE["fig1"]
    rows = data["rows"]
    names = [_name(rows, row) for row in rows]
    contexts = {_letter(row): row for row in reversed(rows)}  # the first row of each
    letters = sorted(contexts)
    heights = (_BARS, _ROW * len(names), _ROW * len(letters))
    inner = sum(heights) + 2 * _GAP
    figure = make_subplots(rows=3, cols=1, row_heights=heights, vertical_spacing=_GAP / inner)
    trait = data["trait"] or dict.fromkeys(("valence", "arousal", "dominance"))
    text = ["not in the lexicon" if x is None else f"{x:.3f}" for x in trait.values()]
    x = [value or 0 for value in trait.values()]
    figure.add_bar(x=x, y=list(trait), text=text, **style["trait"])
    order = np.argsort(data["label_valence"], kind="stable")
    inclination = np.array([row["V_cos"] for row in rows])[:, order]
    predicted = np.array([contexts[letter]["heard"] for letter in letters])[:, order] * 100
    widest = max(float(np.abs(inclination).max()), 1e-3)
    emotions = [data["emotions"][i] for i in order]
    scale = {"zmin": -widest, "zmax": widest} | style["inclination"]
    figure.add_heatmap(x=emotions, y=names, z=inclination, row=2, col=1, **scale)
    figure.add_heatmap(x=emotions, y=letters, z=predicted, row=3, col=1, **style["predicted"])
    title = f"Trait and state of “{html.escape(data['word'])}” in {len(letters)} contexts"
    finish(figure, "fig1", title, inner=inner)
    spans = [axis.domain for axis in figure.select_yaxes()]
    for heat, span, height in zip(figure.data[1:], spans[1:], heights[1:], strict=True):
        heat.colorbar.update(style["colorbar"], y=sum(span) / 2, len=height + 20)
    for heading, (_, top) in zip(style["headings"], spans, strict=True):
        note(figure, f"<b>{heading}</b>", 0, top, yshift=4)
    note(figure, "<b>contexts</b>", _CONTEXTS, 1, yshift=4)
    quoted = [_quoted(contexts[letter]["context"], data["word"], letter) for letter in letters]
    note(figure, "<br>".join(quoted), _CONTEXTS, 1, size=14, yanchor="top", align="left")
    remarks = [f"commonsense: {data['knowledge']}", *filter(None, [data["note"]])]
    return run_line(figure, data["description"], *remarks)


def _letter(row: dict) -> str:
    return chr(ord("A") + row["number"]) if row["number"] < 26 else str(row["number"] + 1)


def _name(rows: list[dict], row: dict) -> str:
    """A, B, ...; A1, A2, ... where the word stands several times in a context."""
    same = [other["place"] for other in rows if other["number"] == row["number"]]
    return _letter(row) + (str(same.index(row["place"]) + 1) if len(same) > 1 else "")


def _quoted(context: str, word: str, letter: str) -> str:
    """A context on lines of 72 characters, with the word in bold and its letter before it."""
    lines = [html.escape(line, quote=False) for line in textwrap.wrap(context, 72)]
    wanted = rf"(?i)\b({re.escape(html.escape(word, quote=False))})\b"
    marked = re.sub(wanted, rf'<b style="color:{ORANGE}">\1</b>', "<br>     ".join(lines))
    return f"<b>{letter}</b>  {marked}"


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
    figure.layout.xaxis.title.text = f"times in {corpus(data['description'])}"
    heading = f"<b>context dependence of {len(data['words']['count']):,} words</b>"
    note(figure, heading, 0, 1, yshift=6)
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
