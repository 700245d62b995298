"""Table 2 as Markdown and as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctsm_workbench.judging.files import write_whole
from ctsm_workbench.pictures import BLUE, INK, ORANGE, template, write_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Landis and Koch (1977), as the paper reads kappa: up to this value it is called so.
_WORDS = (
    (0.0, "poor"),
    (0.2, "slight"),
    (0.4, "fair"),
    (0.6, "moderate"),
    (0.8, "substantial"),
    (1.0, "almost perfect"),
)


def in_words(kappa: float) -> str:
    """Landis and Koch's word for a kappa."""
    return next(word for limit, word in _WORDS if kappa <= limit or limit == 1.0)


def write_table(result: dict[str, Any], out: Path, note: str = "") -> list[Path]:
    """Write table2.md, and table2.json, .html and, where possible, .png and .svg; returns what was written.

    Args:
        result: what `score` returns.
        note: a line above the table and below the picture, such as that the judgements are made up.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "table2.md", markdown(result, note))
    return [
        out / "table2.md",
        *write_figure(
            figure(result, note), result | ({"note": note} if note else {}), out, "table2"
        ),
    ]


def markdown(result: dict[str, Any], note: str = "") -> str:
    """Table 2, with the judges' reliability below it."""
    lines = [f"**{_cell(note)}**", ""] if note else []
    lines += [
        "| comparison | aspect | win % | tie % | lose % | by majority: win / tie / lose / none % | p | p (Holm) | kappa |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["table"]:
        pooled, majority = row["pooled"], row["majority"]
        cells = [
            _cell(row["comparison"]),
            row["aspect"],
            *(f"{pooled[name]:.1f}" for name in ("win", "tie", "lose")),
            " / ".join(f"{majority[name]:.1f}" for name in ("win", "tie", "lose", "none")),
            _p(row["test"]["p"]),
            _p(row["p_holm"]),
            _kappa(row["kappa"]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    first = result["table"][0]
    lines += [
        "",
        f"{first['items']} items a comparison, {first['judges']} judge{'s' * (first['judges'] != 1)}. Win, tie, lose: share "
        "of all judgements, seen from the first system. Majority: more than half of the judges. p: two-sided binomial test "
        "of wins against losses by majority; Holm: corrected for all rows. Kappa: Fleiss', 95 % bootstrap interval over "
        "items.",
    ]
    if result["left_out"]:
        lines.append(
            f"Left out, because a judge has not finished them: {', '.join(result['left_out'])}."
        )
    lines += [
        "",
        "| judge | took A | tie | took B | p of a side | attention checks |",
        "|---|---|---|---|---|---|",
    ]
    for judge, about in result["judges"].items():
        sides = about["sides"]
        checks = f"{about['passed']} of {about['checks']}" if about["checks"] else "none"
        if about["failed"]:
            checks += f" (failed {', '.join(about['failed'])})"
        p = _p(about["side_test"]["p"])
        lines.append(
            f"| {_cell(judge)} | {sides['A']} | {sides['tie']} | {sides['B']} | {p} | {checks} |"
        )
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text in a table's cell: no bar ends it, no markup works in it."""
    for sign in "\\`*_<>|[]":
        text = text.replace(sign, f"&#{ord(sign)};")
    return text


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _kappa(kappa: dict[str, Any]) -> str:
    if kappa["value"] is None:
        return f"- ({kappa['note']})"
    text = f"{kappa['value']:.2f}"
    if kappa["low"] is not None:
        text += f" [{kappa['low']:.2f}, {kappa['high']:.2f}]"
    return f"{text} {in_words(kappa['value'])}" + (f" ({kappa['note']})" if kappa["note"] else "")


def figure(result: dict[str, Any], note: str = "") -> go.Figure:
    """A bar for each comparison and aspect: win, tie and lose of all judgements, kappa at its end.

    Args:
        result: what `score` returns.
        note: a line below the picture, such as that the judgements are made up.
    """
    import html

    import plotly.graph_objects as go

    rows = list(_placed(result["table"]))
    drawn = go.Figure()
    for name, color, pattern in (("win", BLUE, ""), ("tie", INK, "/"), ("lose", ORANGE, "x")):
        shares = [row["pooled"][name] for _, row in rows]
        drawn.add_bar(
            x=shares, y=[y for y, _ in rows], name=name, orientation="h", width=0.72,
            marker={"color": color, "pattern": {"shape": pattern, "fgcolor": "white", "fgopacity": 0.35, "size": 6}},
            text=[f"{share:.0f}" if share >= 6 else "" for share in shares], textposition="inside",
            insidetextanchor="middle", textangle=0, textfont={"color": "white", "size": 14},
            hovertemplate=f"{name}: %{{x:.1f}} %<extra></extra>",
        )  # fmt: skip
    beside = {"xref": "paper", "showarrow": False, "font": {"size": 13}}
    for y, row in rows:
        kappa = row["kappa"]["value"]
        agreed = "-" if kappa is None else f"{kappa:.2f}"
        drawn.add_annotation(y=y, x=1.015, xanchor="left", text=agreed, **beside)
        if row is rows[0][1] or row["aspect"] == rows[0][1]["aspect"]:
            title = html.escape(row["comparison"], False)
            drawn.add_annotation(y=y - 0.75, x=0, xanchor="left", text=f"<b>{title}</b>", **beside)
    drawn.add_annotation(y=rows[0][0] - 0.75, x=1.015, xanchor="left", text="kappa", **beside)
    last = rows[-1][0]
    if note:
        place = {
            "xref": "paper",
            "yref": "paper",
            "x": 0,
            "y": 0,
            "yanchor": "top",
            "yshift": -62,
            "showarrow": False,
        }
        drawn.add_annotation(
            text=html.escape(note, False), xanchor="left", font={"size": 14}, **place
        )
    first = result["table"][0]
    count = f"{first['items']} items, {first['judges']} judge{'s' * (first['judges'] != 1)}"
    return drawn.update_layout(
        template=template(), barmode="stack", width=860, height=int(170 + 40 * (last + 1)),
        margin={"l": 96, "r": 76, "t": 84, "b": 96 if note else 66},
        title={"text": f"Whose answer is better? ({count})", "y": 0.985, "yanchor": "top"},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        xaxis={"title": {"text": "share of all judgements (%)"}, "range": [0, 100]},
        yaxis={"range": [last + 0.6, -1.1], "tickvals": [y for y, _ in rows], "showgrid": False, "ticks": "",
               "ticktext": [row["aspect"] for _, row in rows], "ticksuffix": " "},
    )  # fmt: skip


def _placed(table: list[dict[str, Any]]) -> Iterator[tuple[float, dict[str, Any]]]:
    """Rows with their height; a comparison has room for its name above it."""
    y, before = -1.0, table[0]["comparison"]
    for row in table:
        y += 1 if row["comparison"] == before else 2
        before = row["comparison"]
        yield y, row
