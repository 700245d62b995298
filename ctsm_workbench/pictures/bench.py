"""Speed of each part: its share of this machine's limit, its rate, and the growth of its time."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ctsm_workbench.pictures.house import STYLE, finish, note

_STYLE = STYLE["bench"]


def bench_figure(result: dict) -> go.Figure:
    """Shares of the limit and rates above, a panel of growth for each thing that grows below.

    `result` is what `bench.measure.measure` returns; parts that were not measured are left out.
    """
    rows = result["parts"]
    grown = {axis for row in rows.values() for axis in row.get("growth", {})}
    axes = {axis: name for axis, name in _STYLE["axes"].items() if axis in grown}
    columns = max(2 * len(axes), 2)
    half = columns // 2
    above = [{"colspan": half}, *[None] * (half - 1)] * 2
    below = [{"colspan": 2}, None] * len(axes)
    growth = [f"time by {name}" for name in axes.values()]
    figure = make_subplots(
        rows=1 + bool(axes),
        cols=columns,
        specs=[above, below] if axes else [above],
        subplot_titles=["share of the limit (%)", "rate, or seconds (s)", *growth],
        **_STYLE["grid"],
    )
    _bars(figure, rows, half + 1)
    for place, axis in enumerate(axes):
        _growth(figure, rows, axis, 2 * place + 1)
    threads = f"{result['threads']} thread{'s' if result['threads'] != 1 else ''}"
    title = f"Speed: preset {result['preset']}, {threads}"
    return finish(figure, "bench", title, inner=70 + 26 * len(rows) + (330 if axes else 0))


def _bars(figure: go.Figure, rows: dict, second: int) -> None:
    """The share of the limit in the first column, the rate in column `second`."""
    names = list(rows)[::-1]
    for kind, color in _STYLE["limits"].items():
        some = [name for name in names if rows[name].get("share_of_limit") is not None]
        some = [name for name in some if rows[name]["bound"] == kind]
        if some:
            x = [100 * rows[name]["share_of_limit"] for name in some]
            text = [f"{share:.0f} %" for share in x]
            own = {"name": f"limit: {kind}", "marker_color": color}
            figure.add_bar(x=x, y=some, text=text, **own, **_STYLE["bars"])
    values = [rows[name]["value"] for name in names]
    # Three digits that count, and none behind the point above a hundred.
    rates = [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values]
    text = [f"{rate} {rows[name]['unit']}" for rate, name in zip(rates, names, strict=True)]
    beside = ["middle left" if value > 20 else "middle right" for value in values]
    look = _STYLE["rates"] | {"textposition": beside, "col": second}
    figure.add_scatter(x=values, y=names, text=text, **look)
    order = {"categoryorder": "array", "categoryarray": names}
    figure.update_yaxes(range=[-0.6, len(names) - 0.4], row=1, **order)


def _growth(figure: go.Figure, rows: dict, axis: str, column: int) -> None:
    """Lines from (1, 1), size and time in units of the smallest; dotted: time grows as size."""
    panel = {"row": 2, "col": column}
    grows = [name for name, row in rows.items() if axis in row.get("growth", {})]
    most = 1.0
    slopes = {}  # of each line of the key
    for name, (symbol, sign) in zip(grows, _STYLE["symbols"].items(), strict=False):
        found = rows[name]["growth"][axis]
        sizes, seconds = found["sizes"], found["seconds"]
        x = [value / sizes[0] for value in sizes]
        most = max(most, *x)
        slope = "" if found["slope"] is None else f" {found['slope']:.2f}"
        slopes[f"{sign} {name}{slope}"] = found["slope"] or 0.0
        y = [value / seconds[0] for value in seconds]
        own = {"name": name, "marker": {"symbol": symbol, "size": 8}}
        own |= {"customdata": list(zip(sizes, seconds, strict=True))}
        figure.add_scatter(x=x, y=y, **own, **_STYLE["growth"], **panel)
    key = "<br>".join(sorted(slopes, key=lambda line: (slopes[line], line), reverse=True))
    note(figure, key, **_STYLE["key"], **panel)
    even = _STYLE["even"] | panel
    figure.add_scatter(x=[1, most], y=[1, most], showlegend=column == 1, **even)
    figure.update_xaxes(**_STYLE["ticks"], **panel)
    figure.update_yaxes(**_STYLE["ticks"], **panel)
