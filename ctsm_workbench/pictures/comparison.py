"""Tables 1 and 3 as dot plots: our mean and interval beside the paper's value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctsm_workbench.pictures.house import BLUE, INK, size
from ctsm_workbench.study.comparison.tables import caption

if TYPE_CHECKING:
    import plotly.graph_objects as go

TITLES = {
    "acc": "accuracy (%)",
    "ppl_peer": "perplexity (less is better)",
    "dist1": "Dist-1",
    "dist2": "Dist-2",
}


def comparison_figure(table: dict, title: str) -> go.Figure:
    """One panel a score, one line a row; filled: ours with its 95 % interval, hollow: the paper's."""
    from plotly.subplots import make_subplots

    names = [row["name"] for row in table["rows"]][::-1]
    figure = make_subplots(
        rows=1,
        cols=len(TITLES),
        shared_yaxes=True,
        subplot_titles=list(TITLES.values()),
        horizontal_spacing=0.03,
    )
    for column, score in enumerate(TITLES, start=1):
        paper = [
            (row["paper"][score], row["name"])
            for row in table["rows"]
            if row["paper"][score] is not None
        ]
        ours = [
            (row["scores"][score], row["name"])
            for row in table["rows"]
            if row.get("scores", {}).get(score)
        ]
        if paper:
            x, y = zip(*paper, strict=True)
            figure.add_scatter(
                x=x, y=y, mode="markers", name="the paper", showlegend=column == 1, row=1, col=column,
                marker={"symbol": "diamond-open", "size": 10, "color": INK},
            )  # fmt: skip
        if ours:
            means = [summary["mean"] for summary, _ in ours]
            above = [(summary["high"] or summary["mean"]) - summary["mean"] for summary, _ in ours]
            below = [summary["mean"] - (summary["low"] or summary["mean"]) for summary, _ in ours]
            figure.add_scatter(
                x=means, y=[name for _, name in ours], mode="markers", name="here, 95 % interval", row=1, col=column,
                showlegend=column == 1, marker={"size": 9, "color": BLUE},
                error_x={"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": BLUE},
            )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=names)
    bottom = 130
    figure = size(figure, 190 + 34 * len(names), left=10, right=20, top=90, bottom=bottom)
    words, lines = caption(table).split(), [""]
    for word in words:
        lines = (
            [*lines[:-1], f"{lines[-1]} {word}".strip()]
            if len(lines[-1]) + len(word) < 118
            else [*lines, word]
        )
    figure.add_annotation(
        text="<br>".join(lines), xref="paper", yref="paper", x=0, y=0, xanchor="left", yanchor="top", yshift=-36,
        align="left", showarrow=False, font={"size": 12},
    )  # fmt: skip
    legend = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.12, "yanchor": "bottom"}
    return figure.update_layout(title=title, legend=legend)
