"""Tables 1 and 3 as dot plots: the mean and interval of the runs here beside the paper's value."""

import textwrap

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ctsm_workbench.pictures.house import BLUE, INK, finish, interval, note
from ctsm_workbench.study.comparison.tables import caption

_TITLES = {
    "acc": "accuracy (%)",
    "ppl_peer": "perplexity (less is better)",
    "dist1": "Dist-1",
    "dist2": "Dist-2",
}


def comparison_figure(table: dict, title: str) -> go.Figure:
    """One panel a score, one line a row; filled: runs with their 95 % interval, hollow: the paper."""
    rows = table["rows"]
    titles = list(_TITLES.values())
    look = {"shared_yaxes": True, "horizontal_spacing": 0.03}
    figure = make_subplots(rows=1, cols=len(titles), subplot_titles=titles, **look)
    for column, score in enumerate(_TITLES, start=1):
        panel = {"row": 1, "col": column, "mode": "markers", "showlegend": column == 1}
        paper = {
            row["name"]: row["paper"][score] for row in rows if row["paper"][score] is not None
        }
        if paper:
            marker = {"symbol": "diamond-open", "size": 10, "color": INK}
            x = list(paper.values())
            figure.add_scatter(x=x, y=list(paper), name="the paper", marker=marker, **panel)
        here = {
            row["name"]: row["scores"][score] for row in rows if row.get("scores", {}).get(score)
        }
        if here:
            means = [summary["mean"] for summary in here.values()]
            figure.add_scatter(
                x=means, y=list(here), name="here, 95 % interval", marker={"size": 9, "color": BLUE},
                error_x=interval(means, [_bounds(summary) for summary in here.values()], BLUE), **panel,
            )  # fmt: skip
    names = [row["name"] for row in reversed(rows)]
    figure.update_yaxes(categoryorder="array", categoryarray=names)
    finish(figure, "comparison", title, inner=34 * len(rows) - 30)
    text = "<br>".join(textwrap.wrap(caption(table), 118))
    return note(figure, text, size=12, yanchor="top", yshift=-36, align="left")


def _bounds(summary: dict) -> dict:
    """A score's interval; one seed has none."""
    return {name: summary[name] or summary["mean"] for name in ("low", "high")}
