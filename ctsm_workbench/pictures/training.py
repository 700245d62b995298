"""The course of a run's training. Paper: Sec. 4.3 names the scores."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ctsm_workbench.pictures.house import STYLE, finish


def training_curve(records: Sequence[dict]) -> go.Figure:
    """Perplexity and emotion accuracy of a run, on training batches and on the dev split.

    `records` are the lines of a run's log.jsonl; other keys and missing ones are left alone.
    """
    style = STYLE["training"]
    figure = make_subplots(**style["grid"])
    for key, look in style["curves"].items():
        some = [record for record in records if key in record and "iteration" in record]
        if some:
            x = [record["iteration"] for record in some]
            figure.add_scatter(x=x, y=[record[key] for record in some], row=1, **look)
    return finish(figure, "training")
