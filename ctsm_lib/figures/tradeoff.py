"""Accuracy and perplexity against diversity, a line for each thing that can be turned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ctsm_lib.comparison.published import ROWS, SCORES
from ctsm_lib.figures.house import BLUE, INK, ORANGE, size

if TYPE_CHECKING:
    import plotly.graph_objects as go

KINDS = {"copying": "copy_bias", "tilt": "tilt", "penalty on frequent words": "penalty"}
SYMBOLS = ("circle", "triangle-up", "square")
LABELS = ("top left", "bottom right", "top right")  # lines meet in one point, and each has a label there
PANELS = {"acc": "accuracy (%)", "ppl_peer": "perplexity (less is better)"}


def _line(rows: Sequence[dict], run: str, key: str) -> list[dict]:
    """The longest line along `key` of a run, everything else the same, in order."""
    others = [name for name in KINDS.values() if name != key]
    lines: dict[tuple, list[dict]] = {}
    for row in rows:
        if row["run"] == run:
            lines.setdefault(tuple(row[name] for name in others), []).append(row)
    longest = max(lines.values(), key=len)
    return sorted(longest, key=lambda row: row[key])


def tradeoff_figure(rows: Sequence[dict]) -> go.Figure:
    """Dist-2 to the right, one panel for accuracy and one for perplexity.

    Args:
        rows: as `comparison.tradeoff.measure` gives them, of one split.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2, subplot_titles=list(PANELS.values()), horizontal_spacing=0.09)
    paper = dict(zip(SCORES, ROWS["ctsm"].paper, strict=True))
    for column, score in enumerate(PANELS, start=1):
        for (kind, key), colour, symbol, place in zip(KINDS.items(), (BLUE, INK, ORANGE), SYMBOLS, LABELS, strict=True):
            for number, run in enumerate(dict.fromkeys(row["run"] for row in rows)):
                line = [row for row in _line(rows, run, key) if row[score] is not None]
                alone = kind == "copying" and sum(row["run"] == run for row in rows) == 1
                if len(line) < 2 and not alone:
                    continue
                figure.add_scatter(
                    x=[row["dist2"] for row in line], y=[row[score] for row in line], row=1, col=column,
                    mode="lines+markers+text", text=[f"{row[key]:g}" for row in line], textposition=place,
                    name=f"{run}: {kind}", legendgroup=f"{run}{kind}", showlegend=column == 1,
                    line={"color": colour, "dash": ("solid", "dot", "dash", "dashdot")[number % 4]},
                    marker={"symbol": symbol, "size": 8},
                    customdata=[[row["dist1"], row["mean_length"], row["distinct_responses"]] for row in line],
                    hovertemplate="%{y:.2f}, Dist-2 %{x:.2f}, Dist-1 %{customdata[0]:.2f}, %{customdata[1]:.1f} words, "
                    "%{customdata[2]:.0f} % distinct",
                )  # fmt: skip
        figure.add_scatter(
            x=[paper["dist2"]], y=[paper[score]], row=1, col=column, mode="markers", name="the paper (test)",
            showlegend=column == 1, marker={"symbol": "diamond-open", "size": 11, "color": INK},
        )  # fmt: skip
    figure.update_xaxes(title_text="Dist-2, greedy")
    legend = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
    return size(figure, 520, left=60, right=20, top=80, bottom=130).update_layout(
        legend=legend, title="What diversity costs"
    )
