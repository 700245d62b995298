"""The most frequent words whose trait and state differ, each in a few words of a dialogue."""

import html

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ctsm_workbench.pictures.house import BLUE, ORANGE, STYLE, data_line, finish, note

_SIGN = {1: "+", 0: "−"}
_POLARITY = {1: "positive", 0: "negative"}
_ROW = 26  # pixels of a word
_GAP = 58  # pixels between the parts


def discrepant_figure(data: dict) -> go.Figure:
    """A bar for each word's frequency, its two polarities, and a quotation; a part for each rule.

    `data` is what `polarity.discrepant_words` returns.
    """
    rules = {name: rule for name, rule in data["rules"].items() if rule["words"]}
    heights = [_ROW * len(rule["words"]) for rule in rules.values()]
    inner = sum(heights) + _GAP * (len(rules) - 1)
    parts = {"rows": len(rules), "cols": 1, "row_heights": heights}
    figure = make_subplots(**parts, vertical_spacing=_GAP / inner)
    for number, (name, rule) in enumerate(rules.items(), start=1):
        top = _draw_rule(figure, name, rule["words"], number)
        heading = f"<b>{html.escape(name)}</b>: {rule['differ']:,} of {rule['of']:,} differ"
        note(figure, heading, 0, top, size=14, yshift=4)
    figure.update_xaxes(**STYLE["discrepant"]["counts"])
    figure.update_xaxes(title_text="times in training", row=len(rules))
    title = "The most frequent words whose trait and state polarity differ"
    finish(figure, "discrepant", title, inner=inner)
    positive = f'<span style="color:{ORANGE}">positive</span>'
    negative = f'<span style="color:{BLUE}">negative</span>'
    note(figure, f"trait → state polarity; bars: {positive} or {negative} trait", 0, 1, yshift=32)
    return data_line(figure, data, "unrated words count as negative in the paper's rule")


def _draw_rule(figure: go.Figure, name: str, rows: list[dict], number: int) -> float:
    """Draw bars and quotations of one rule; returns the upper end of its part of the figure."""
    axis = figure.get_subplot(number, 1).yaxis
    labels = [html.escape(row["word"], quote=False) for row in rows]
    tips = []
    for place, (label, row) in enumerate(zip(labels, rows, strict=True)):
        rated = "" if row["rated"] else " (not rated)"
        trait, state = row["trait"], row["state"]
        tips.append(f"{label}: trait {_POLARITY[trait]}{rated}, state {_POLARITY[state]}")
        before, after = (html.escape(text, quote=False) for text in row["quotation"])
        quoted = f"{before} <b>{label}</b> {after}".strip()
        text = f"<b>{_SIGN[trait]} → {_SIGN[state]}</b>   {quoted}"
        reference = axis.plotly_name.replace("axis", "")
        note(figure, text, 0.43, place, yref=reference, yanchor="middle")
    colors = [ORANGE if row["trait"] else BLUE for row in rows]
    look = STYLE["discrepant"]["bars"] | {"name": name, "marker_color": colors, "customdata": tips}
    counts = [row["count"] for row in rows]
    places = list(range(len(rows)))
    figure.add_bar(x=counts, y=places, row=number, col=1, **look)
    axis.update(tickvals=places, ticktext=labels, ticks="", showgrid=False)
    axis.range = [len(rows) - 0.5, -0.5]
    return axis.domain[1]
