"""Figure 1: one word, its trait, and its state in different contexts. Paper: Figure 1."""

import html
import re
import textwrap

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ctsm_workbench.pictures.house import ORANGE, STYLE, finish, note, run_line

_ROW = 34  # pixels of one row of a heat map
_BARS = 120  # pixels of the bars and contexts
_GAP = 54  # pixels between the parts
_CONTEXTS = 0.34  # of the width: where the contexts begin


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
