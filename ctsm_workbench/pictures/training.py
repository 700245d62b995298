"""The course of a run's training. Paper: Sec. 4.3 names the scores."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ctsm_workbench.pictures.house import BLUE, INK, ORANGE, finish

# Key of the log, name, panel, colour.
_SERIES = (
    ("ppl", "training", 1, INK),
    ("dev_ppl_token", "dev, per token", 1, BLUE),
    ("dev_ppl_peer", "dev, mean of answers", 1, ORANGE),
    ("acc", "training", 2, INK),
    ("dev_acc", "dev", 2, BLUE),
)


def training_curve(records: Sequence[dict]) -> go.Figure:
    """Perplexity and emotion accuracy of a run, on training batches and on the dev split.

    `records` are the lines of a run's log.jsonl; other keys and missing ones are left alone.
    """
    figure = make_subplots(rows=1, cols=2, subplot_titles=("perplexity", "emotion accuracy (%)"))
    for key, name, column, color in _SERIES:
        some = [record for record in records if key in record and "iteration" in record]
        if some:
            of_training = color == INK
            figure.add_scatter(
                x=[record["iteration"] for record in some],
                y=[record[key] for record in some],
                name=name,
                mode="lines" if of_training else "lines+markers",
                line={"color": color, "width": 1.5 if of_training else 2},
                showlegend=column == 1,
                row=1,
                col=column,
            )
    return finish(figure, "training")
