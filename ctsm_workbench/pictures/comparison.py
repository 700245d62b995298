"""Tables 1 and 3 as dot plots: the mean and interval of the runs here beside the paper's value."""

import textwrap

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ctsm_workbench.pictures.house import BLUE, STYLE, finish, interval, note
from ctsm_workbench.study.comparison.published import SCORES
from ctsm_workbench.study.comparison.tables import caption


def comparison_figure(table: dict, title: str) -> go.Figure:
    """One panel a score, one line a row; filled: runs, with 95 % intervals; hollow: the paper."""
    rows = table["rows"]
    figure = make_subplots(**STYLE["comparison"]["grid"])
    for column, score in enumerate(SCORES, start=1):
        panel = {"row": 1, "col": column, "showlegend": column == 1}
        paper = {row["name"]: value for row in rows if (value := row["paper"][score]) is not None}
        if paper:
            look = STYLE["shared"]["paper"] | {"name": "the paper"} | panel
            figure.add_scatter(x=list(paper.values()), y=list(paper), **look)
        here = {row["name"]: one for row in rows if (one := row.get("scores", {}).get(score))}
        if here:
            means = [one["mean"] for one in here.values()]
            look = STYLE["comparison"]["here"] | panel
            look["error_x"] = interval(means, list(here.values()), BLUE)
            figure.add_scatter(x=means, y=list(here), **look)
    names = [row["name"] for row in reversed(rows)]
    figure.update_yaxes(categoryorder="array", categoryarray=names)
    finish(figure, "comparison", title, inner=34 * len(rows) - 30)
    text = "<br>".join(textwrap.wrap(caption(table), 118))
    return note(figure, text, size=12, yanchor="top", yshift=-36, align="left")
