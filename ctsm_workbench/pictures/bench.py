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
    axes = [axis for axis in _STYLE["axes"] if axis in grown]
    half = max(len(axes), 1)
    above = [{"colspan": half}, *[None] * (half - 1)] * 2
    below = [{"colspan": 2}, None] * len(axes)
    specs = [above, below] if axes else [above]
    titles = _STYLE["titles"] + [f"time by {_STYLE['axes'][axis]}" for axis in axes]
    grid = {"rows": len(specs), "cols": 2 * half, "specs": specs, "subplot_titles": titles}
    figure = make_subplots(**grid, **_STYLE["grid"])
    _bars(figure, rows, half + 1)
    for place, axis in enumerate(axes):
        _growth(figure, rows, axis, 2 * place + 1)
    threads = f"{result['threads']} thread{'s' if result['threads'] != 1 else ''}"
    title = f"Speed: preset {result['preset']}, {threads}"
    return finish(figure, "bench", title, inner=70 + 26 * len(rows) + (330 if axes else 0))


def _bars(figure: go.Figure, rows: dict, second: int) -> None:
    """The share of the limit in the first column, the rate in column `second`."""
    rows = dict(reversed(rows.items()))
    for kind, color in _STYLE["limits"].items():
        limited = [name for name, row in rows.items() if row.get("bound") == kind]
        if some := [name for name in limited if rows[name].get("share_of_limit") is not None]:
            x = [100 * rows[name]["share_of_limit"] for name in some]
            own = {"name": f"limit: {kind}", "text": [f"{share:.0f} %" for share in x]}
            figure.add_bar(x=x, y=some, marker_color=color, **own, **_STYLE["bars"])
    values = [row["value"] for row in rows.values()]
    # Three digits that count, and none behind the point above a hundred.
    rates = [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values]
    text = [f"{rate} {row['unit']}" for rate, row in zip(rates, rows.values(), strict=True)]
    beside = ["middle left" if value > 20 else "middle right" for value in values]
    look = _STYLE["rates"] | {"textposition": beside, "col": second}
    figure.add_scatter(x=values, y=list(rows), text=text, **look)
    order = {"categoryorder": "array", "categoryarray": list(rows)}
    figure.update_yaxes(range=[-0.6, len(rows) - 0.4], row=1, **order)


def _growth(figure: go.Figure, rows: dict, axis: str, column: int) -> None:
    """Lines from (1, 1), size and time in units of the smallest; dotted: time grows as size."""
    panel = {"row": 2, "col": column}
    grown = {
        name: row["growth"][axis] for name, row in rows.items() if axis in row.get("growth", {})
    }
    key = []
    most = 1.0
    symbols = _STYLE["symbols"].items()
    for (name, found), (symbol, sign) in zip(grown.items(), symbols, strict=False):
        slope = "" if found["slope"] is None else f" {found['slope']:.2f}"
        key.append((found["slope"] or 0.0, f"{sign} {name}{slope}"))
        sizes = found["sizes"]
        seconds = found["seconds"]
        most = max(most, max(sizes) / sizes[0])
        figure.add_scatter(
            x=[size / sizes[0] for size in sizes],
            y=[second / seconds[0] for second in seconds],
            name=name,
            marker={"symbol": symbol, "size": 8},
            customdata=list(zip(sizes, seconds, strict=True)),
            **_STYLE["growth"] | panel,
        )
    text = "<br>".join(line for _, line in sorted(key, reverse=True))
    note(figure, text, **_STYLE["key"], **panel)
    figure.add_scatter(x=[1, most], y=[1, most], showlegend=column == 1, **_STYLE["even"], **panel)
    figure.update_xaxes(**_STYLE["ticks"], **panel)
    figure.update_yaxes(**_STYLE["ticks"], **panel)
