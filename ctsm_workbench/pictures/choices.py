"""What the share of differing words rests on: one row a choice. Paper: Sec. 5.4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctsm_workbench.pictures.house import BLUE, INK, ORANGE, size, source_line

if TYPE_CHECKING:
    import plotly.graph_objects as go


def sensitivity(analysis: dict) -> go.Figure:
    """The share of words that differ under each choice, with its interval, beside the paper's number and chance.

    Args:
        analysis: what `polarity.analyse` returns.

    Paper: Sec. 5.4 (48.75 %).
    """
    import plotly.graph_objects as go

    rows: list[tuple[str, dict, str]] = []  # label, numbers, which series
    choices = [
        row
        for row in analysis["choices"]
        if row["vectors"] != "exact" or row["missing"] in ("left out", "random")
    ]
    for row in choices + [row for row in analysis["sweep"] if _telling(row)]:
        rated = row["unrated"] == "left out" or row["count"] == "rated"
        rows.append(
            (_row_label(row), row, "rated words" if rated else "unrated words counted, too")
        )
    for name, numbers in analysis["permutation"].items():
        if isinstance(numbers, dict):
            label = (
                f"chance: {name}" if "shuffled" in name else f"chance: {name}, valences shuffled"
            )
            rows.append((label, numbers | {"share": numbers["mean"]}, "chance"))
    rows = [row for row in rows if row[1]["share"] is not None]
    figure = go.Figure()
    looks = {
        "unrated words counted, too": (ORANGE, "diamond"),
        "rated words": (BLUE, "circle"),
        "chance": (INK, "x"),
    }
    for series, (color, symbol) in looks.items():
        some = [(label, numbers) for label, numbers, kind in rows if kind == series]
        share = [numbers["share"] for _, numbers in some]
        error = {
            "array": [round(n["high"] - n["share"], 4) for _, n in some],
            "arrayminus": [round(n["share"] - n["low"], 4) for _, n in some],
            "symmetric": False, "thickness": 2, "width": 4, "color": color,
        }  # fmt: skip
        marker = {"color": color, "symbol": symbol, "size": 10}
        names = [label for label, _ in some]
        tips = "%{y}<br>%{x:.2f} %<extra></extra>"
        figure.add_scatter(
            x=share,
            y=names,
            name=series,
            mode="markers",
            marker=marker,
            error_x=error,
            hovertemplate=tips,
        )
    for label, numbers, _ in rows:
        text = f"{numbers['share']:.1f} %" + (
            f" of {numbers['words']:,}" if "words" in numbers else ""
        )
        side = {
            "x": 1.01,
            "xref": "paper",
            "xanchor": "left",
            "showarrow": False,
            "font": {"size": 13},
        }
        figure.add_annotation(y=label, text=text, **side)
    paper = analysis["paper_share"]
    figure.add_vline(x=paper, line={"color": INK, "dash": "dash", "width": 2})
    figure.add_annotation(
        x=paper, y=1, yref="paper", yanchor="bottom", text=f"the paper: {paper} %", showarrow=False
    )
    order = [label for label, *_ in rows][::-1]
    size(figure, 190 + 27 * len(rows), left=10, right=140, top=100, bottom=90).update_layout(
        title={
            "text": "How many words differ depends on what is counted",
            "y": 0.98,
            "yanchor": "top",
        },
        legend={"orientation": "h", "x": 0, "y": 1 + 24 / (27 * len(rows)), "yanchor": "bottom"},
        xaxis={
            "title": {"text": "words whose trait and state polarity differ (%)"},
            "rangemode": "tozero",
        },
        yaxis={
            "categoryorder": "array",
            "categoryarray": order,
            "range": [-0.6, len(rows) - 0.4],
            "ticksuffix": " ",
        },
    )
    return source_line(figure, analysis, "bars: 95 % intervals")


def _telling(row: dict) -> bool:
    """Which rows of the sweep stand in the picture: one thing changed at a time, and far enough to see it."""
    return (row["band"] == 0 and row["threshold"] in (0.4, 0.6)) or (
        row["threshold"] == 0.5 and row["band"] >= 0.1
    )


def _row_label(row: dict) -> str:
    label = row["label"].removeprefix("sweep, ")
    if row["label"] == label:
        return label
    return (
        f"{label}, neutral within {row['band']}"
        if row["band"]
        else f"{label}, threshold {row['threshold']}"
    )
