"""Table 2 as Markdown and as a figure."""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctsm_workbench.judging.files import CHOICES, write_whole
from ctsm_workbench.judging.scoring import OUTCOMES
from ctsm_workbench.pictures import BLUE, INK, ORANGE, template, write_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Words for kappa by Landis and Koch (1977), as the paper uses them: each up to its limit.
_LIMITS = (0.0, 0.2, 0.4, 0.6, 0.8)
_WORDS = ("poor", "slight", "fair", "moderate", "substantial", "almost perfect")

_EXPLANATION = """\
Win, tie, lose: share of all judgements, from the view of the first system. Majority: more than \
half of the judges. p: two-sided binomial test of wins against losses by majority; Holm: corrected \
for all rows. Kappa: Fleiss' kappa with a 95 % bootstrap interval over items."""


def in_words(kappa: float) -> str:
    """Landis and Koch's word for a kappa."""
    return _WORDS[bisect_left(_LIMITS, kappa)]


def write_table(result: dict[str, Any], out: Path, note: str = "") -> list[Path]:
    """Write table2.md, .json, .html and, where possible, .png and .svg; return the paths.

    `note` is a line above the table and below the figure, such as whose judgements these are.
    """
    path = out / "table2.md"
    write_whole(path, markdown(result, note))
    noted = result | ({"note": note} if note else {})
    return [path, *write_figure(figure(result, note), noted, out, "table2")]


def markdown(result: dict[str, Any], note: str = "") -> str:
    """Table 2, with the judges' reliability below it."""
    names = ["comparison", "aspect", "win %", "tie %", "lose %"]
    names += ["by majority: win / tie / lose / none %", "p", "p (Holm)", "kappa"]
    rows = []
    for row in result["table"]:
        shares = [f"{row['pooled'][name]:.1f}" for name in OUTCOMES]
        majority = " / ".join(f"{share:.1f}" for share in row["majority"].values())
        tests = [_p(row["test"]["p"]), _p(row["p_holm"]), _kappa(row["kappa"])]
        rows.append([_cell(row["comparison"]), row["aspect"], *shares, majority, *tests])
    judges = []
    for judge, about in result["judges"].items():
        checks = f"{about['passed']} of {about['checks']}" if about["checks"] else "none"
        if about["failed"]:
            checks += f" (failed {', '.join(about['failed'])})"
        sides = [str(about["sides"][choice]) for choice in CHOICES]
        judges.append([_cell(judge), *sides, _p(about["side_test"]["p"]), checks])
    lines = [f"**{_cell(note)}**", ""] if note else []
    lines += [*_table(names, rows), "", f"{_size(result, ' per comparison')}. {_EXPLANATION}"]
    if result["left_out"]:
        items = ", ".join(result["left_out"])
        lines.append(f"Left out, because a judge has not finished them: {items}.")
    names = ["judge", "chose A", "tie", "chose B", "p (A against B)", "attention checks"]
    lines += ["", *_table(names, judges)]
    return "\n".join(lines) + "\n"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    body = ["| " + " | ".join(cells) + " |" for cells in (names, *rows)]
    return [body[0], "|---" * len(names) + "|", *body[1:]]


def _cell(text: str) -> str:
    """Text in a table's cell, with the signs replaced that would end the cell or be markup."""
    return re.sub(r"[\\`*_<>|\[\]]", lambda sign: f"&#{ord(sign[0])};", text)


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _kappa(kappa: dict[str, Any]) -> str:
    if kappa["value"] is None:
        return f"- ({kappa['note']})"
    interval = "" if kappa["low"] is None else f" [{kappa['low']:.2f}, {kappa['high']:.2f}]"
    note = f" ({kappa['note']})" if kappa["note"] else ""
    return f"{kappa['value']:.2f}{interval} {in_words(kappa['value'])}{note}"


def _size(result: dict[str, Any], of: str = "") -> str:
    first = result["table"][0]
    return f"{first['items']} items{of}, {first['judges']} judge{'s' * (first['judges'] != 1)}"


def figure(result: dict[str, Any], note: str = "") -> go.Figure:
    """A bar for each comparison and aspect: win, tie and lose of all judgements, and kappa."""
    import plotly.graph_objects as go

    rows = result["table"]
    aspect = rows[0]["aspect"]  # each comparison begins with it, and has its name in a line above
    names = accumulate(row["aspect"] == aspect for row in rows)
    heights = [place + lines - 1.0 for place, lines in enumerate(names)]
    drawn = go.Figure()
    for name, color, pattern in (("win", BLUE, ""), ("tie", INK, "/"), ("lose", ORANGE, "x")):
        shares = [row["pooled"][name] for row in rows]
        shape = {"shape": pattern, "fgcolor": "white", "fgopacity": 0.35, "size": 6}
        drawn.add_bar(
            x=shares, y=heights, name=name, orientation="h", width=0.72,
            marker={"color": color, "pattern": shape},
            text=[f"{share:.0f}" if share >= 6 else "" for share in shares],
            textposition="inside", insidetextanchor="middle", textangle=0,
            textfont={"color": "white", "size": 14},
            hovertemplate=f"{name}: %{{x:.1f}} %<extra></extra>",
        )  # fmt: skip

    def write(text: str, y: float, x: float = 0, **options: Any) -> None:
        place = {"xref": "paper", "showarrow": False, "font": {"size": 13}} | options
        drawn.add_annotation(text=text, x=x, y=y, xanchor="left", **place)

    for y, row in zip(heights, rows, strict=True):
        kappa = row["kappa"]["value"]
        write("-" if kappa is None else f"{kappa:.2f}", y, 1.015)
        if row["aspect"] == aspect:
            write(f"<b>{html.escape(row['comparison'], False)}</b>", y - 0.75)
    write("kappa", heights[0] - 0.75, 1.015)
    if note:
        place: dict[str, Any] = {"yref": "paper", "yanchor": "top", "yshift": -62}
        write(html.escape(note, False), 0, font={"size": 14}, **place)
    return drawn.update_layout(
        template=template(), barmode="stack", width=860, height=int(210 + 40 * heights[-1]),
        margin={"l": 96, "r": 76, "t": 84, "b": 96 if note else 66},
        title={"text": f"Whose answer is better? ({_size(result)})", "y": 0.985, "yanchor": "top"},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        xaxis={"title": {"text": "share of all judgements (%)"}, "range": [0, 100]},
        yaxis={
            "range": [heights[-1] + 0.6, -1.1], "tickvals": heights, "showgrid": False,
            "ticks": "", "ticktext": [row["aspect"] for row in rows], "ticksuffix": " ",
        },
    )  # fmt: skip
