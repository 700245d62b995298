"""The share of words that differ under each choice of Section 5.4's rule, one row a choice."""

import plotly.graph_objects as go

from ctsm_workbench.pictures.house import INK, STYLE, data_line, finish, interval, note


def sensitivity(analysis: dict) -> go.Figure:
    """The share of words that differ under each choice, beside the paper's number and chance.

    Paper: Sec. 5.4 (48.75 %). `analysis` is what `polarity.analyse` returns.
    """
    rows = [row for row in _rows(analysis) if row["share"] is not None]
    style = STYLE["sensitivity"]
    figure = go.Figure()
    for series, marker in style["series"].items():
        some = [row for row in rows if row["series"] == series]
        share = [row["share"] for row in some]
        look = style["share"] | {"name": series, "marker": marker}
        bars = interval(share, some, marker["color"])
        figure.add_scatter(x=share, y=[row["label"] for row in some], error_x=bars, **look)
    for row in rows:
        words = f" of {row['words']:,}" if "words" in row else ""
        place = {"y": row["label"], "yref": "y", "yanchor": "middle"}
        note(figure, f"{row['share']:.1f} %{words}", 1.01, **place)
    paper = analysis["paper_share"]
    figure.add_vline(x=paper, line={"color": INK, "dash": "dash", "width": 2})
    note(figure, f"the paper: {paper} %", paper, 1, size=14, xref="x", xanchor="center")
    title = "Share of words that differ, by what is counted"
    finish(figure, "sensitivity", title, inner=27 * len(rows))
    figure.layout.legend.y = 1 + 24 / (27 * len(rows))
    order = [row["label"] for row in reversed(rows)]
    figure.update_yaxes(categoryarray=order, range=[-0.6, len(rows) - 0.4])
    return data_line(figure, analysis, "bars: 95 % intervals")


def _rows(analysis: dict) -> list[dict]:
    """Choices, the sweep's rows that tell something, and chance, each with its label and series."""
    rows = []
    for row in analysis["choices"] + analysis["sweep"]:
        rated = row["unrated"] == "left out" or row["count"] == "rated"
        series = "rated words" if rated else "unrated words counted, too"
        if label := _label(row):
            rows.append(row | {"label": label, "series": series})
    for name, numbers in analysis["permutation"].items():
        if isinstance(numbers, dict):
            shuffled = "" if "shuffled" in name else ", valences shuffled"
            label = f"chance: {name}{shuffled}"
            rows.append(numbers | {"share": numbers["mean"], "label": label, "series": "chance"})
    return rows


def _label(row: dict) -> str:
    """The label of a row, or nothing: bounds and small changes of the sweep are not shown."""
    label = row["label"].removeprefix("sweep, ")
    if label == row["label"]:
        shown = row["vectors"] != "exact" or row["missing"] in ("left out", "random")
    elif row["band"]:
        shown = row["threshold"] == 0.5 and row["band"] >= 0.1
        label += f", neutral within {row['band']}"
    else:
        shown = row["threshold"] in (0.4, 0.6)
        label += f", threshold {row['threshold']}"
    return label if shown else ""
