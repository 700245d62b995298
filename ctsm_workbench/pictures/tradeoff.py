"""Accuracy and perplexity against diversity, a line for each thing that can be turned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ctsm_workbench.pictures.house import BLUE, INK, ORANGE, size
from ctsm_workbench.study.comparison.published import ROWS, SCORES

if TYPE_CHECKING:
    import plotly.graph_objects as go

KINDS = {"copying": "copy_bias", "tilt": "tilt", "penalty on frequent words": "penalty"}
# Colour, mark, where its labels are: lines meet in one point.
STYLES = (
    (BLUE, "circle", "top left"),
    (INK, "triangle-up", "bottom right"),
    (ORANGE, "square", "top right"),
)
TRAINED = (ORANGE, "star", "top right")
SAME = (
    "preset",
    "model",
    "seed",
    "iteration",
    "dropout",
    "copy_once",
    "repeat_bias",
    *KINDS.values(),
)
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


def _trained_apart(rows: Sequence[dict]) -> list[list[dict]]:
    """Lines of runs that differ in their strength of L_div alone."""
    lines: dict[tuple, dict[float, dict]] = {}
    for row in rows:
        lines.setdefault(tuple(row.get(name, 0.0) for name in SAME), {})[
            row["weight_diversity"]
        ] = row
    return [[line[weight] for weight in sorted(line)] for line in lines.values() if len(line) > 1]


def _lines(rows: Sequence[dict]) -> list[tuple[str, str, list[dict], tuple[str, str, str], int]]:
    """Name, what varies, points, style, and which one of its kind, of every line."""
    apart = _trained_apart(rows)
    found = []
    for (kind, key), style in zip(KINDS.items(), STYLES, strict=True):
        for number, run in enumerate(dict.fromkeys(row["run"] for row in rows)):
            line = _line(rows, run, key)
            own = [row for row in rows if row["run"] == run]
            alone = (
                kind == "copying" and len(own) == 1 and not any(own[0] in other for other in apart)
            )
            if len(line) > 1 or alone:
                found.append((f"{run}: {kind}", key, line, style, number))
    for number, line in enumerate(apart, start=1):
        name = f"preset {line[0]['preset']}, {line[0]['iteration']:,} iterations: L_div in training"
        found.append((name, "weight_diversity", line, TRAINED, number))
    return found


def tradeoff_figure(rows: Sequence[dict]) -> go.Figure:
    """Dist-2 to the right, one panel for accuracy and one for perplexity.

    Args:
        rows: as `comparison.tradeoff.measure` gives them, of one split.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=1, cols=2, subplot_titles=list(PANELS.values()), horizontal_spacing=0.09
    )
    paper = dict(zip(SCORES, ROWS["ctsm"].paper, strict=True))
    for column, score in enumerate(PANELS, start=1):
        for name, key, points, (colour, symbol, place), number in _lines(rows):
            line = [row for row in points if row[score] is not None]
            flat = (
                len({row[score] for row in line}) == 1 and len(line) > 1
            )  # labels would lie on those of other lines
            figure.add_scatter(
                x=[row["dist2"] for row in line], y=[row[score] for row in line], row=1, col=column,
                mode="lines+markers" if flat and score == "acc" else "lines+markers+text",
                text=[f"{row[key]:g}" for row in line], textposition=place,
                name=name, legendgroup=name, showlegend=column == 1,
                line={"color": colour, "dash": ("solid", "dot", "dash", "dashdot")[number % 4]},
                marker={"symbol": symbol, "size": 8},
                customdata=[[row["dist1"], row["mean_length"], row["distinct_responses"]] for row in line],
                hovertemplate="%{text}: %{y:.2f}, Dist-2 %{x:.2f}, Dist-1 %{customdata[0]:.2f}, %{customdata[1]:.1f} words, "
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
