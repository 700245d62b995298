"""The most frequent words whose trait and state polarity differ, with a few words of a dialogue around each."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from ctsm_workbench.pictures.house import BLUE, ORANGE, size, source_line

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SIGN = {1: "+", 0: "−"}
_ROW, _GAP, _TOP, _BOTTOM = 26, 58, 104, 88  # pixels


def discrepant_figure(data: dict) -> go.Figure:
    """A bar for each word as long as it is frequent, its two sides, and a quotation; a part for each rule.

    Args:
        data: what `polarity.discrepant_words` returns.
    """
    import plotly.graph_objects as go

    parts = [(name, part) for name, part in data["rules"].items() if part["words"]]
    heights = [_ROW * len(part["words"]) for _, part in parts]
    total = max(sum(heights) + _GAP * (len(parts) - 1), _ROW)
    figure, top = go.Figure(), 1.0
    for number, ((name, part), height) in enumerate(zip(parts, heights, strict=True), start=1):
        rows, suffix = part["words"], "" if number == 1 else str(number)
        labels = [html.escape(row["word"], quote=False) for row in rows]
        figure.add_bar(
            y=list(range(len(rows))), x=[row["count"] for row in rows], orientation="h", name=name, showlegend=False,
            marker={"color": [ORANGE if row["trait"] else BLUE for row in rows]}, width=0.7,
            xaxis=f"x{suffix}", yaxis=f"y{suffix}", customdata=[[label, _sides(row)] for label, row in zip(labels, rows, strict=True)],
            hovertemplate="%{customdata[0]}: %{customdata[1]}, %{x:,} times<extra></extra>",
        )  # fmt: skip
        for i, row in enumerate(rows):
            figure.add_annotation(
                text=f"<b>{_SIGN[row['trait']]} → {_SIGN[row['state']]}</b>   {_marked(row)}", x=0.43, y=i,
                xref="paper", yref=f"y{suffix}", xanchor="left", showarrow=False, font={"size": 13}, align="left",
            )  # fmt: skip
        figure.add_annotation(
            text=f"<b>{html.escape(name)}</b>: {part['differ']:,} of {part['of']:,} differ", x=0, y=top, xref="paper",
            yref="paper", xanchor="left", yanchor="bottom", yshift=4, showarrow=False,
        )  # fmt: skip
        bottom = max(top - height / total, 0.0)
        figure.update_layout({
            f"xaxis{suffix}": {"rangemode": "tozero", "domain": [0, 0.4], "anchor": f"y{suffix}", "nticks": 5, "ticks": "",
                               "title": {"text": "times in training" if number == len(parts) else ""}},
            f"yaxis{suffix}": {"domain": [bottom, top], "anchor": f"x{suffix}", "range": [len(rows) - 0.5, -0.5],
                               "tickvals": list(range(len(rows))), "ticktext": labels, "ticks": "", "showgrid": False},
        })  # fmt: skip
        top = bottom - _GAP / total
    size(figure, _TOP + total + _BOTTOM, left=20, right=20, top=_TOP, bottom=_BOTTOM).update_layout(
        title={
            "text": "The most frequent words that mean one thing and lie with the other",
            "y": 0.98,
            "yanchor": "top",
        }
    )
    figure.add_annotation(
        text=f'trait → state polarity; bars: <span style="color:{ORANGE}">positive</span> or '
        f'<span style="color:{BLUE}">negative</span> trait', x=0, y=1, xref="paper", yref="paper", xanchor="left",
        yanchor="bottom", yshift=32, showarrow=False, font={"size": 13},
    )  # fmt: skip
    return source_line(figure, data, "unrated words count as negative in the paper's rule")


def _sides(row: dict) -> str:
    words = {1: "positive", 0: "negative"}
    return f"trait {words[row['trait']]}{'' if row['rated'] else ' (not rated)'}, state {words[row['state']]}"


def _marked(row: dict) -> str:
    """The quotation with its word in bold."""
    before, after = (html.escape(text, quote=False) for text in row["quotation"])
    return f"{before} <b>{html.escape(row['word'], quote=False)}</b> {after}".strip()
