"""Runs: their training, Tables 1 and 3, accuracy against diversity, and the speed of each part."""

import textwrap
from collections.abc import Iterator, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ctsm_workbench.pictures.house import BLUE, STYLE, finish, interval, note
from ctsm_workbench.study.comparison.tables import ROWS, SCORES, caption

_BENCH = STYLE["bench"]
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
    """Each line's number among those of its kind, its name, the setting that varies, its points.

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


def bench_figure(result: dict) -> go.Figure:
    """Shares of the limit and rates above, a panel of growth for each thing that grows below.

    `result` is what `bench.measure.measure` returns; parts that were not measured are left out.
    """
    rows = result["parts"]
    grown = {axis for row in rows.values() for axis in row.get("growth", {})}
    axes = [axis for axis in _BENCH["axes"] if axis in grown]
    half = max(len(axes), 1)
    above = [{"colspan": half}, *[None] * (half - 1)] * 2
    below = [{"colspan": 2}, None] * len(axes)
    specs = [above, below] if axes else [above]
    titles = _BENCH["titles"] + [f"time by {_BENCH['axes'][axis]}" for axis in axes]
    grid = {"rows": len(specs), "cols": 2 * half, "specs": specs, "subplot_titles": titles}
    figure = make_subplots(**grid, **_BENCH["grid"])
    _draw_speeds(figure, rows, half + 1)
    for place, axis in enumerate(axes):
        _draw_growth(figure, rows, axis, 2 * place + 1)
    threads = f"{result['threads']} thread{'s' if result['threads'] != 1 else ''}"
    title = f"Speed: preset {result['preset']}, {threads}"
    return finish(figure, "bench", title, inner=70 + 26 * len(rows) + (330 if axes else 0))


def _draw_speeds(figure: go.Figure, rows: dict, second: int) -> None:
    """The share of the limit in the first column, the rate in column `second`."""
    rows = dict(reversed(rows.items()))
    for kind, color in _BENCH["limits"].items():
        if some := [name for name, row in rows.items() if row.get("bound") == kind]:
            x = [100 * rows[name]["share_of_limit"] for name in some]
            own = {"name": f"limit: {kind}", "text": [f"{share:.0f} %" for share in x]}
            figure.add_bar(x=x, y=some, marker_color=color, **own, **_BENCH["bars"])
    values = [row["value"] for row in rows.values()]
    # Three digits that count, and none behind the point above a hundred.
    rates = [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values]
    text = [f"{rate} {row['unit']}" for rate, row in zip(rates, rows.values(), strict=True)]
    beside = ["middle left" if value > 20 else "middle right" for value in values]
    look = _BENCH["rates"] | {"textposition": beside, "col": second}
    figure.add_scatter(x=values, y=list(rows), text=text, **look)
    figure.update_yaxes(categoryarray=list(rows), range=[-0.6, len(rows) - 0.4], row=1)


def _draw_growth(figure: go.Figure, rows: dict, axis: str, column: int) -> None:
    """Lines from (1, 1), size and time in units of the smallest; dotted: time grows as size."""
    panel = {"row": 2, "col": column}
    every = {name: row.get("growth", {}) for name, row in rows.items()}
    grown = {name: found[axis] for name, found in every.items() if axis in found}
    key = []
    most = max(max(found["sizes"]) / found["sizes"][0] for found in grown.values())
    symbols = _BENCH["symbols"].items()
    for (name, found), (symbol, sign) in zip(grown.items(), symbols, strict=False):
        slope = "" if found["slope"] is None else f" {found['slope']:.2f}"
        key.append((found["slope"] or 0.0, f"{sign} {name}{slope}"))
        sizes = found["sizes"]
        seconds = found["seconds"]
        figure.add_scatter(
            x=[size / sizes[0] for size in sizes],
            y=[second / seconds[0] for second in seconds],
            name=name,
            marker={"symbol": symbol, "size": 8},
            customdata=list(zip(sizes, seconds, strict=True)),
            **_BENCH["growth"] | panel,
        )
    text = "<br>".join(line for _, line in sorted(key, reverse=True))
    note(figure, text, **_BENCH["key"], **panel)
    figure.add_scatter(x=[1, most], y=[1, most], showlegend=column == 1, **_BENCH["even"], **panel)
    figure.update_xaxes(**_BENCH["ticks"], **panel)
    figure.update_yaxes(**_BENCH["ticks"], **panel)
