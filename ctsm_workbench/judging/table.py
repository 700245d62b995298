"""Table 2 as Markdown and as a figure."""

import html
import re
import tomllib
from itertools import accumulate
from pathlib import Path
from string import Template
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, StrictUndefined

from ctsm_lib.files import write_text
from ctsm_workbench.pictures import template, write_figure
from ctsm_workbench.pictures.house import COLOURS

HERE = Path(__file__).parent
STYLE = tomllib.loads(Template((HERE / "table.toml").read_text("utf-8")).substitute(COLOURS))


def in_words(kappa: float) -> str:
    """Landis and Koch's word for a kappa."""
    # Rounding may bring a kappa of 1 a little above the last limit.
    return next(word for word, limit in STYLE["kappa"].items() if min(kappa, 1) <= limit)


def _cell(text: str) -> str:
    """Text in a table's cell, with the signs replaced that would end the cell or be markup."""
    return re.sub(r"[\\`*_<>|\[\]]", lambda sign: f"&#{ord(sign[0])};", text)


_ENVIRONMENT = Environment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
)
_ENVIRONMENT.filters |= {"cell": _cell, "in_words": in_words}
_MARKDOWN = _ENVIRONMENT.from_string((HERE / "table.md").read_text("utf-8"))


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
    return _MARKDOWN.render(result, note=note, size=_size(result, " per comparison"))


def _size(result: dict[str, Any], of: str = "") -> str:
    first = result["table"][0]
    return f"{first['items']} items{of}, {first['judges']} judge{'s' * (first['judges'] != 1)}"


def figure(result: dict[str, Any], note: str = "") -> go.Figure:
    """A bar for each comparison and aspect: win, tie and lose of all judgements, and kappa."""
    rows = result["table"]
    aspects = [row["aspect"] for row in rows]
    begins = [aspect == aspects[0] for aspect in aspects]  # a line above has the comparison's name
    heights = [place + lines - 1.0 for place, lines in enumerate(accumulate(begins))]
    drawn = go.Figure(layout=STYLE["layout"])
    for style in STYLE["bars"]:
        shares = [row["pooled"][style["name"]] for row in rows]
        labels = [f"{share:.0f}" if share >= 6 else "" for share in shares]
        tip = f"{style['name']}: %{{x:.1f}} %<extra></extra>"
        bar = go.Bar(STYLE["bar"], x=shares, y=heights, text=labels, hovertemplate=tip)
        drawn.add_trace(bar.update(style))
    texts = STYLE["text"]
    for y, row, first in zip(heights, rows, begins, strict=True):
        kappa = row["kappa"]["value"]
        drawn.add_annotation(texts["kappa"], y=y, text="-" if kappa is None else f"{kappa:.2f}")
        if first:
            name = f"<b>{html.escape(row['comparison'], False)}</b>"
            drawn.add_annotation(texts["comparison"], y=y - 0.75, text=name)
    drawn.add_annotation(texts["kappa"], y=heights[0] - 0.75, text="kappa")
    if note:
        drawn.add_annotation(texts["note"], text=html.escape(note, False))
        drawn.layout.margin.b = 96
    drawn.update_yaxes(range=[heights[-1] + 0.6, -1.1], tickvals=heights, ticktext=aspects)
    title = f"Whose answer is better? ({_size(result)})"
    height = int(210 + 40 * heights[-1])
    return drawn.update_layout(template=template(), height=height, title_text=title)
