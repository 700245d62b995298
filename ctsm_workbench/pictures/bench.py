"""Speed: what share of this machine's limit each part reaches, its rate, and how its time grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctsm_workbench.pictures.house import BLUE, INK, ORANGE, size

if TYPE_CHECKING:
    import plotly.graph_objects as go

AXES = {
    "batch": "batch",
    "context": "context length",
    "vocabulary": "vocabulary",
    "corpus": "corpus",
}
SYMBOLS = {"circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲"}


def bench_figure(result: dict) -> go.Figure:
    """Shares of the limit and rates above, a panel of growth for each thing that grows below.

    Args:
        result: what `bench.measure.measure` returns; parts that were not measured are left out.
    """
    from plotly.subplots import make_subplots

    rows = result["parts"]
    axes = {
        axis: name
        for axis, name in AXES.items()
        if any(axis in row.get("growth", {}) for row in rows.values())
    }
    columns = max(2 * len(axes), 2)
    half = columns // 2
    above = [{"colspan": half}, *[None] * (half - 1)]
    below = [cell for _ in axes for cell in ({"colspan": 2}, None)]
    figure = make_subplots(
        rows=1 + bool(axes), cols=columns, specs=[above * 2, below] if axes else [above * 2], vertical_spacing=0.16,
        subplot_titles=["share of the limit (%)", "rate, or seconds (s)", *(f"time by {name}" for name in axes.values())],
        horizontal_spacing=0.03,
    )  # fmt: skip
    _bars(figure, rows, half + 1)
    for place, axis in enumerate(axes):
        _growth(figure, rows, axis, 2 * place + 1)
    threads = f"{result['threads']} thread{'s' if result['threads'] != 1 else ''}"
    title = f"Speed: preset {result['preset']}, {threads}"
    legend = {"orientation": "h", "x": 0, "y": -0.1, "yanchor": "top"}
    height = 230 + 26 * len(rows) + (330 if axes else 0)
    return size(figure, height, left=10, right=30, top=80, bottom=80).update_layout(
        title=title, legend=legend
    )


def _said(value: float) -> str:
    """A number with three digits that count, and none behind the point above a hundred."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _bars(figure: go.Figure, rows: dict, second: int) -> None:
    names = list(rows)[::-1]
    bound = [name for name in names if rows[name].get("share_of_limit") is not None]
    for kind, colour in (("matrix products", BLUE), ("memory", ORANGE), ("importing torch", INK)):
        some = [name for name in bound if rows[name]["bound"] == kind]
        if some:
            shares = [100 * rows[name]["share_of_limit"] for name in some]
            figure.add_bar(
                x=shares, y=some, orientation="h", name=f"limit: {kind}", marker_color=colour, row=1, col=1,
                text=[f"{share:.0f} %" for share in shares], textposition="outside", cliponaxis=False,
            )  # fmt: skip
    values = [rows[name]["value"] for name in names]
    figure.add_scatter(
        x=values, y=names, mode="markers+text", marker={"color": INK, "size": 8}, showlegend=False, row=1, col=second,
        text=[f"{_said(value)} {rows[name]['unit']}" for name, value in zip(names, values, strict=True)],
        textposition=["middle left" if value > 20 else "middle right" for value in values], cliponaxis=False,
    )  # fmt: skip
    figure.update_xaxes(range=[0, 110], row=1, col=1)
    figure.update_xaxes(type="log", dtick=1, row=1, col=second)
    for column in (1, second):
        figure.update_yaxes(
            categoryorder="array",
            categoryarray=names,
            range=[-0.6, len(names) - 0.4],
            row=1,
            col=column,
        )
    figure.update_yaxes(showticklabels=False, row=1, col=second)


def _growth(figure: go.Figure, rows: dict, axis: str, column: int) -> None:
    """Lines from (1, 1): size and time in units of the smallest; dotted where time grows as size does."""
    grows = {
        name: row["growth"][axis] for name, row in rows.items() if axis in row.get("growth", {})
    }
    most, key = 1.0, []
    for (name, found), (symbol, sign) in zip(grows.items(), SYMBOLS.items(), strict=False):
        sizes, seconds = found["sizes"], found["seconds"]
        x = [value / sizes[0] for value in sizes]
        most = max(most, *x)
        key.append(
            (
                found["slope"] or 0.0,
                f"{sign} {name}" + ("" if found["slope"] is None else f" {found['slope']:.2f}"),
            )
        )
        figure.add_scatter(
            x=x, y=[value / seconds[0] for value in seconds], name=name, showlegend=False, row=2, col=column,
            mode="lines+markers", line={"color": BLUE}, marker={"symbol": symbol, "size": 8},
            customdata=list(zip(sizes, seconds, strict=True)), hovertemplate="%{customdata[0]:,}: %{customdata[1]:.3g} s",
        )  # fmt: skip
    figure.add_annotation(  # lines begin in the lower left corner, so that the upper one is free
        text="<br>".join(line for _, line in sorted(key, reverse=True)), xref="x domain", yref="y domain", x=0.03, y=0.98,
        xanchor="left", yanchor="top", align="left", showarrow=False, font={"size": 11}, row=2, col=column,
    )  # fmt: skip
    figure.add_scatter(
        x=[1, most], y=[1, most], mode="lines", line={"color": INK, "dash": "dot", "width": 1}, row=2, col=column,
        showlegend=column == 1, name="as size does", hoverinfo="skip",
    )  # fmt: skip
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(
            type="log",
            tickvals=[1, 2, 4, 8, 16],
            ticktext=["1x", "2x", "4x", "8x", "16x"],
            row=2,
            col=column,
        )
