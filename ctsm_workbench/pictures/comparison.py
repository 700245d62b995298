"""Scores of runs: the course of training, Tables 1 and 3, and accuracy against diversity."""

import textwrap
from collections.abc import Iterator, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ctsm_workbench.pictures.house import BLUE, STYLE, finish, interval, note
from ctsm_workbench.study.comparison.tables import ROWS, SCORES, caption

_KINDS = {"copying": "copy_bias", "tilt": "tilt", "penalty on frequent words": "penalty"}
_DASHES = ("solid", "dot", "dash", "dashdot")
# Runs that agree in these and differ in their strength of L_div are a line.
_TRAINING = ("preset", "model", "seed", "iteration", "dropout", "copy_once", "repeat_bias")
_STRENGTH = "weight_diversity"


def training_curve(records: Sequence[dict]) -> go.Figure:
    """Perplexity and emotion accuracy of a run, on training batches and on the dev split.

    `records` are the lines of a run's log.jsonl; other keys and missing ones are left alone.
    """
    style = STYLE["training"]
    figure = make_subplots(**style["grid"])
    for key, look in style["curves"].items():
        if some := [record for record in records if key in record and "iteration" in record]:
            x = [record["iteration"] for record in some]
            figure.add_scatter(x=x, y=[record[key] for record in some], row=1, **look)
    return finish(figure, "training")


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


def tradeoff_figure(rows: Sequence[dict]) -> go.Figure:
    """Dist-2 to the right, one panel for accuracy and one for perplexity.

    `rows` are as `comparison.tradeoff.measure` gives them, of one split.
    """
    style = STYLE["tradeoff"]
    also = ("dist1", "mean_length", "distinct_responses")
    figure = make_subplots(**style["grid"])
    paper = dict(zip(SCORES, ROWS["ctsm"].paper, strict=True))
    for column, score in enumerate(("acc", "ppl_peer"), start=1):
        panel = {"row": 1, "col": column, "showlegend": column == 1}
        for number, name, key, line in _lines(rows):
            points = [row for row in line if row[score] is not None]
            # Of a flat line the labels would lie on those of other lines.
            flat = score == "acc" and len(points) > 1 and len({row[score] for row in points}) == 1
            figure.add_scatter(
                x=[row["dist2"] for row in points],
                y=[row[score] for row in points],
                text=[f"{row[key]:g}" for row in points],
                customdata=[[row[about] for about in also] for row in points],
                mode="lines+markers" if flat else "lines+markers+text",
                **style["shared"] | style["lines"][key] | panel,
                **{"name": name, "legendgroup": name, "line_dash": _DASHES[number % len(_DASHES)]},
            )
        look = STYLE["shared"]["paper"] | {"name": "the paper (test)"} | panel
        figure.add_scatter(x=[paper["dist2"]], y=[paper[score]], **look)
    return finish(figure, "tradeoff", "Accuracy and perplexity against diversity")


def _lines(rows: Sequence[dict]) -> Iterator[tuple[int, str, str, list[dict]]]:
    """Number among its like, name, setting that varies, and points of each line.

    Lines go along one setting of the answers of a run, or along the strength of L_div of runs.
    """
    like = _along(_STRENGTH, [*_TRAINING, *_KINDS.values()], rows)
    trained = [list({row[_STRENGTH]: row for row in line}.values()) for line in like]
    trained = [line for line in trained if len(line) > 1]
    for kind, key in _KINDS.items():
        others = [name for name in _KINDS.values() if name != key]
        for number, run in enumerate(dict.fromkeys(row["run"] for row in rows)):
            own = [row for row in rows if row["run"] == run]
            line = max(_along(key, others, own), key=len)
            # A run of one point is shown once, as a copying line.
            alone = kind == "copying" and len(own) == 1 and not any(own[0] in of for of in trained)
            if len(line) > 1 or alone:
                yield number, f"{run}: {kind}", key, line
    for number, line in enumerate(trained, start=1):
        name = f"preset {line[0]['preset']}, {line[0]['iteration']:,} iterations: L_div in training"
        yield number, name, _STRENGTH, line


def _along(key: str, others: Sequence[str], rows: Sequence[dict]) -> list[list[dict]]:
    """Lines of rows that agree in all `others`, each in the order of `key`."""
    lines: dict[tuple, list[dict]] = {}
    for row in rows:
        lines.setdefault(tuple(row.get(name, 0.0) for name in others), []).append(row)
    return [sorted(line, key=lambda row: row[key]) for line in lines.values()]
