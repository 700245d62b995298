"""Table 2 as Markdown and as a figure."""

import html
import re
import tomllib
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from ctsm_lib.files import write_text
from ctsm_workbench.judging.files import CHOICES
from ctsm_workbench.judging.scoring import OUTCOMES
from ctsm_workbench.pictures import BLUE, INK, ORANGE, template, write_figure

TEXTS = tomllib.loads(Path(__file__).with_name("table.toml").read_text(encoding="utf-8"))


def in_words(kappa: float) -> str:
    """Landis and Koch's word for a kappa."""
    # Rounding may bring a kappa of 1 a little above the last limit.
    return next(word for word, limit in TEXTS["kappa"].items() if min(kappa, 1) <= limit)


def write_table(result: dict[str, Any], out: Path, note: str = "") -> list[Path]:
    """Write table2.md, .json, .html and, where possible, .png and .svg; return the paths.

    `note` is a line above the table and below the figure, such as whose judgements these are.
    """
    path = out / "table2.md"
    write_text(path, markdown(result, note))
    noted = result | ({"note": note} if note else {})
    return [path, *write_figure(figure(result, note), noted, out, "table2")]


def markdown(result: dict[str, Any], note: str = "") -> str:
    """Table 2, with the judges' reliability below it."""
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
    explanation = " ".join(TEXTS["explanation"].split())
    lines += _table(TEXTS["columns"], rows)
    lines += ["", f"{_size(result, ' per comparison')}. {explanation}"]
    if result["left_out"]:
        items = ", ".join(result["left_out"])
        lines.append(f"Left out, because a judge has not finished them: {items}.")
    lines += ["", *_table(TEXTS["judge_columns"], judges)]
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
    rows = result["table"]
    aspect = rows[0]["aspect"]  # each comparison begins with it, and has its name in a line above
    names = accumulate(row["aspect"] == aspect for row in rows)
    heights = [place + lines - 1.0 for place, lines in enumerate(names)]
    drawn = go.Figure(layout=TEXTS["layout"])
    for name, color, pattern in (("win", BLUE, ""), ("tie", INK, "/"), ("lose", ORANGE, "x")):
        shares = [row["pooled"][name] for row in rows]
        labels = [f"{share:.0f}" if share >= 6 else "" for share in shares]
        tip = f"{name}: %{{x:.1f}} %<extra></extra>"
        bar = go.Bar(TEXTS["bar"], x=shares, y=heights, name=name, text=labels, hovertemplate=tip)
        bar.marker.update(color=color, pattern_shape=pattern)
        drawn.add_trace(bar)
    texts = TEXTS["text"]
    for y, row in zip(heights, rows, strict=True):
        kappa = row["kappa"]["value"]
        drawn.add_annotation(texts["kappa"], y=y, text="-" if kappa is None else f"{kappa:.2f}")
        if row["aspect"] == aspect:
            name = f"<b>{html.escape(row['comparison'], False)}</b>"
            drawn.add_annotation(texts["comparison"], y=y - 0.75, text=name)
    drawn.add_annotation(texts["kappa"], y=heights[0] - 0.75, text="kappa")
    if note:
        drawn.add_annotation(texts["note"], text=html.escape(note, False))
        drawn.layout.margin.b = 96
    aspects = [row["aspect"] for row in rows]
    drawn.update_yaxes(range=[heights[-1] + 0.6, -1.1], tickvals=heights, ticktext=aspects)
    title = f"Whose answer is better? ({_size(result)})"
    height = int(210 + 40 * heights[-1])
    return drawn.update_layout(template=template(), height=height, title_text=title)
