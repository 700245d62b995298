"""Accuracy and perplexity against diversity, a line for each setting that is varied."""

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ctsm_workbench.pictures.house import STYLE, finish
from ctsm_workbench.study.comparison.published import ROWS, SCORES

_KINDS = {"copying": "copy_bias", "tilt": "tilt", "penalty on frequent words": "penalty"}
_DASHES = ("solid", "dot", "dash", "dashdot")
_PANELS = ("acc", "ppl_peer")
_HOVER = ("dist1", "mean_length", "distinct_responses")
# Runs that agree in these and differ in their strength of L_div are a line.
_TRAINING = ("preset", "model", "seed", "iteration", "dropout", "copy_once", "repeat_bias")


def tradeoff_figure(rows: Sequence[dict]) -> go.Figure:
    """Dist-2 to the right, one panel for accuracy and one for perplexity.

    `rows` are as `comparison.tradeoff.measure` gives them, of one split.
    """
    style = STYLE["tradeoff"]
    figure = make_subplots(**style["grid"])
    paper = dict(zip(SCORES, ROWS["ctsm"].paper, strict=True))
    for column, score in enumerate(_PANELS, start=1):
        panel = {"row": 1, "col": column, "showlegend": column == 1}
        for name, key, line, dash in _lines(rows):
            points = [row for row in line if row[score] is not None]
            # Of a flat line the labels would lie on those of other lines.
            flat = score == "acc" and len(points) > 1 and len({row[score] for row in points}) == 1
            figure.add_scatter(
                x=[row["dist2"] for row in points],
                y=[row[score] for row in points],
                text=[f"{row[key]:g}" for row in points],
                customdata=[[row[about] for about in _HOVER] for row in points],
                mode="lines+markers" if flat else "lines+markers+text",
                **style["shared"] | style["lines"][key] | panel,
                **{"name": name, "legendgroup": name, "line_dash": dash},
            )
        look = STYLE["shared"]["paper"] | {"name": "the paper (test)"} | panel
        figure.add_scatter(x=[paper["dist2"]], y=[paper[score]], **look)
    return finish(figure, "tradeoff", "Accuracy and perplexity against diversity")


def _lines(rows: Sequence[dict]) -> Iterator[tuple[str, str, list[dict], str]]:
    """Name, setting that varies, points and dash of each line.

    Lines go along one setting of the answers of a run, or along the strength of L_div of runs.
    """
    trained = _over_runs(rows)
    for kind, key in _KINDS.items():
        for number, run in enumerate(dict.fromkeys(row["run"] for row in rows)):
            own = [row for row in rows if row["run"] == run]
            line = _longest(own, key)
            # A run of one point is shown once, as a copying line.
            alone = kind == "copying" and len(own) == 1 and not any(own[0] in of for of in trained)
            if len(line) > 1 or alone:
                yield f"{run}: {kind}", key, line, _DASHES[number % len(_DASHES)]
    for number, line in enumerate(trained, start=1):
        name = f"preset {line[0]['preset']}, {line[0]['iteration']:,} iterations: L_div in training"
        yield name, "weight_diversity", line, _DASHES[number % len(_DASHES)]


def _longest(rows: Sequence[dict], key: str) -> list[dict]:
    """The longest line along `key`, all other settings of the answers the same."""
    lines = _grouped(rows, [name for name in _KINDS.values() if name != key])
    longest: list[dict] = max(lines, key=len)
    return sorted(longest, key=lambda row: row[key])


def _over_runs(rows: Sequence[dict]) -> list[list[dict]]:
    """Lines of runs that differ in their strength of L_div alone."""
    groups = _grouped(rows, [*_TRAINING, *_KINDS.values()])
    by_weight = [{row["weight_diversity"]: row for row in group} for group in groups]
    return [[found[weight] for weight in sorted(found)] for found in by_weight if len(found) > 1]


def _grouped(rows: Sequence[dict], keys: Sequence[str]) -> list[list[dict]]:
    """Rows that agree in all keys, group by group."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(key, 0.0) for key in keys), []).append(row)
    return list(groups.values())
