"""How a run learned. Paper: Sec. 4.3 names the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ctsm_workbench.pictures.house import BLUE, INK, ORANGE, size

if TYPE_CHECKING:
    import plotly.graph_objects as go


def training_curve(records: Sequence[dict]) -> go.Figure:
    """Perplexity and emotion accuracy of a run, on training batches and on the dev split.

    Args:
        records: the lines of a run's log.jsonl; other keys and missing ones are left alone.

    Paper: Sec. 4.3 names the scores.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2, subplot_titles=("perplexity", "emotion accuracy (%)"))
    series: tuple[tuple[str, str, int, dict], ...] = (
        ("ppl", "training", 1, {"mode": "lines", "line": {"color": INK, "width": 1.5}}),
        ("dev_ppl_token", "dev, per token", 1, {"mode": "lines+markers", "line": {"color": BLUE}}),
        (
            "dev_ppl_peer",
            "dev, mean of answers",
            1,
            {"mode": "lines+markers", "line": {"color": ORANGE}},
        ),
        (
            "acc",
            "training",
            2,
            {"mode": "lines", "line": {"color": INK, "width": 1.5}, "showlegend": False},
        ),
        (
            "dev_acc",
            "dev",
            2,
            {"mode": "lines+markers", "line": {"color": BLUE}, "showlegend": False},
        ),
    )
    for key, name, column, options in series:
        points = [
            (record["iteration"], record[key])
            for record in records
            if key in record and "iteration" in record
        ]
        if points:
            x, y = zip(*points, strict=True)
            figure.add_scatter(x=x, y=y, name=name, row=1, col=column, **options)
    figure.update_xaxes(title_text="iteration", rangemode="tozero")
    ticks = [
        base * 10**power for power in range(1, 6) for base in (1, 2, 3, 5)
    ]  # plotly labels 20 as "2" by itself
    figure.update_yaxes(type="log", tickvals=ticks, row=1, col=1)
    figure.update_yaxes(rangemode="tozero", row=1, col=2)
    legend = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
    return size(figure, 460, left=60, right=20, top=50, bottom=100).update_layout(legend=legend)
