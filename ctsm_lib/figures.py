"""Pictures of the paper and ours, each written with the JSON it was drawn from.

Paper: Figure 3 and Sec. 5.4. plotly is imported when a picture is drawn: reading results needs no plotting library.
"""

from __future__ import annotations

import html
import json
import logging
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import plotly.graph_objects as go

log = logging.getLogger(__name__)

# The background is transparent: each colour has a contrast of at least 4 to white and to a dark page (#0d1117) alike.
# Blue and orange stay apart for every kind of colour blindness; marks differ in shape, too.
INK, BLUE, ORANGE, GRID = "#75797f", "#2a7de1", "#c45f0a", "rgba(125,130,138,0.28)"
SOLID_GRID = "#9a9da3"  # WebGL draws half-transparent lines white on transparent ground
FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"

_EYE = np.array([-1.0, -1.75, 0.62])  # Figure 3 is seen from here: valence runs to the right
_ASPECT = np.array([1.75, 1.35, 1.35])  # valence is the longest axis: it is what the picture is about
_PIXELS = 325.0  # of one unit along an axis of aspect 1, in the still picture; for the labels only
_OFFSET = 0.09  # how far the state mark lies from the trait mark where they differ


def template() -> dict:
    """The house template: fonts, colours and transparent paper, as plotly's `layout.template` takes it."""
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": INK, "automargin": True, "ticks": "outside"}
    scene_axis = {"gridcolor": SOLID_GRID, "zeroline": False, "showbackground": False, "linecolor": INK, "color": INK}
    layout = {
        "font": {"family": FONT, "size": 14, "color": INK},
        "title": {"x": 0.01, "xanchor": "left", "font": {"size": 18}},
        "colorway": [BLUE, ORANGE, INK],
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"bgcolor": "rgba(0,0,0,0)"},
        "hoverlabel": {"font": {"family": FONT, "size": 14}},
        "xaxis": axis,
        "yaxis": axis,
        "scene": {"bgcolor": "rgba(0,0,0,0)", "xaxis": scene_axis, "yaxis": scene_axis, "zaxis": scene_axis},
    }
    return {"layout": layout}


def fig3(analysis: dict, rated_only: bool = False) -> go.Figure:
    """Figure 3: the emotion words in VAD space, the state mark beside the trait mark where the two polarities differ.

    Args:
        analysis: what `polarity.analyse` returns, with arousal and dominance.
        rated_only: take the centroids of rated words instead of the paper's rule.

    Returns:
        A figure whose labels are placed for the still picture; they follow when it is turned.

    Paper: Figure 3.
    """
    import plotly.graph_objects as go

    suffix = "_rated_only" if rated_only else ""
    rows = [row for row in analysis["labels"] if row["arousal"] is not None]
    trait = np.array([[row["valence"], row["arousal"], row["dominance"]] for row in rows]).reshape(-1, 3)
    known = np.array([row[f"state{suffix}"] is not None for row in rows], dtype=bool)
    differ = np.array([bool(row[f"differ{suffix}"]) for row in rows], dtype=bool)
    state = trait.copy()
    state[:, 0] += _OFFSET * differ * np.array([1 - 2 * row["trait"] for row in rows])

    def marks(where: np.ndarray, points: np.ndarray, name: str, marker: dict, **options: Any) -> go.Scatter3d:
        texts = [_hover(row, suffix) for row, yes in zip(rows, where, strict=True) if yes]
        x, y, z = points[where].T.tolist()
        hover = {"hovertext": texts, "hoverinfo": "text"}
        return go.Scatter3d(x=x, y=y, z=z, name=name, mode="markers", marker=marker, **hover, **options)

    circle, diamond = {"size": 6, "symbol": "circle"}, {"size": 9, "symbol": "diamond-open", "line": {"width": 2}}
    figure = go.Figure(
        [
            _middle(),
            _links(trait[differ], state[differ]),
            marks(~differ, trait, "Trait", circle | {"color": ORANGE}),
            marks(known & ~differ, state, "State", diamond | {"color": INK}),
            marks(differ, trait, "differs: trait", circle | {"color": BLUE}),
            marks(differ, state, "differs: state", diamond | {"color": BLUE}),
        ]
    )
    choice = "centroids of rated words" if rated_only else "the paper's rule"
    # No tick at 0.5: the titles stand there.
    axis = {"range": [-0.04, 1.06], "tickvals": [0, 0.25, 0.75, 1], "title": {"font": {"size": 16}}}
    camera = {"eye": dict(zip("xyz", _EYE.tolist(), strict=True)), "projection": {"type": "orthographic"}}
    _size(figure, 820, left=0, right=0, top=60, bottom=40).update_layout(
        title_text=f"Trait and state of {len(rows)} emotion words: {int(differ.sum())} differ",
        legend={"x": 0.99, "xanchor": "right", "y": 0.99, "font": {"size": 15}, "itemsizing": "constant"},
        scene={
            "xaxis": axis | {"title": {"text": "Valence"}},
            "yaxis": axis | {"title": {"text": "Arousal"}},
            "zaxis": axis | {"title": {"text": "Dominance"}},
            "aspectratio": dict(zip("xyz", _ASPECT.tolist(), strict=True)),
            "camera": camera,
            "annotations": _labels(rows, trait, state, differ),
        },
    )
    return _source(figure, analysis, choice)


def _hover(row: dict, suffix: str) -> str:
    sides = {0: "negative", 1: "positive", None: "none (no vector)"}
    unrated = "" if row["rated"] else " (not in the lexicon: neutral)"
    cosine = [("none" if row[name] is None else f"{row[name]:.3f}") for name in ("cos_positive", "cos_negative")]
    return (
        f"<b>{html.escape(row['word'])}</b>{unrated}<br>valence {row['valence']:.3f}, arousal {row['arousal']:.3f}, "
        f"dominance {row['dominance']:.3f}<br>trait {sides[row['trait']]}, state {sides[row['state' + suffix]]}<br>"
        f"cosine to the positive words {cosine[0]}, to the negative words {cosine[1]} (the paper's rule)"
    )


def _middle() -> go.Mesh3d:
    """The plane where the trait's polarity changes."""
    import plotly.graph_objects as go

    y, z = [0, 1, 1, 0], [0, 0, 1, 1]
    return go.Mesh3d(x=[0.5] * 4, y=y, z=z, i=[0, 0], j=[1, 2], k=[2, 3], color=INK, opacity=0.1, hoverinfo="skip")


def _links(begin: np.ndarray, end: np.ndarray) -> go.Scatter3d:
    import plotly.graph_objects as go

    points = np.stack([begin, end, np.full_like(begin, np.nan)], axis=1).reshape(-1, 3)
    x, y, z = ([None if math.isnan(v) else v for v in column] for column in points.T.tolist())
    line = {"color": BLUE, "width": 6}
    return go.Scatter3d(x=x, y=y, z=z, mode="lines", line=line, hoverinfo="skip", showlegend=False)


def _labels(rows: list[dict], trait: np.ndarray, state: np.ndarray, differ: np.ndarray) -> list[dict]:
    """Scene annotations, each pulled from its mark to where it covers the fewest others in the still picture."""
    view = -_EYE / np.linalg.norm(_EYE)
    right = np.cross(view, [0, 0, 1])
    right /= np.linalg.norm(right)
    screen = _ASPECT[:, None] * np.stack([right, -np.cross(right, view)], axis=1) * _PIXELS  # [3, 2] to pixels, y down
    marks = np.concatenate([trait @ screen, state[differ] @ screen])
    anchors = marks[: len(rows)]
    texts = [row["word"] + ("" if row["rated"] else " (unrated)") for row in rows]
    half = np.array([[4.2 * len(text) + 2, 9.5] for text in texts])  # half a label's width and height
    angles = np.arange(24) * math.tau / 24
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    placed = np.zeros((len(rows), 2))
    done = np.zeros(len(rows), dtype=bool)
    for _ in range(4):  # the first round places, the others mend
        for i in np.argsort(anchors[:, 1], kind="stable"):
            spots = np.concatenate([ring * (half[i] * [1, 0.9] + gap) for gap in (8, 14, 22, 34, 48, 64)])
            boxes = anchors[i] + spots  # [spots, 2] middles
            others = done & (np.arange(len(rows)) != i)
            leaders = [anchors[others] + step * (placed - anchors)[others] for step in (0.3, 0.5, 0.7)]
            points = np.concatenate([marks, *leaders])
            cost = 4 * _overlap(boxes, half[i], placed[others], half[others])
            cost += 3 * _overlap(boxes, half[i], points, np.full((len(points), 2), 7.0))
            for step in (0.3, 0.5, 0.7):  # the own leader should cross no label
                cost += 3 * _overlap(anchors[i] + step * spots, np.full(2, 4.0), placed[others], half[others])
            placed[i] = boxes[np.argmin(cost + 2 * np.linalg.norm(spots, axis=1))]
            done[i] = True
    middle = {
        "x": 0.5,
        "y": 1,
        "z": 1,
        "text": "valence 0.5",
        "showarrow": False,
        "xanchor": "left",
        "yanchor": "bottom",
    }
    annotations: list[dict] = [middle | {"font": {"size": 13, "color": INK}}]
    for i, text in enumerate(texts):
        color, (ax, ay) = BLUE if differ[i] else INK, np.round(placed[i] - anchors[i], 1).tolist()
        x, y, z = trait[i].tolist()
        font = {"size": 15, "color": color, "weight": 600 if differ[i] else 400}
        place = {"x": x, "y": y, "z": z, "ax": ax, "ay": ay, "xanchor": "center", "yanchor": "middle", "borderpad": 0}
        arrow = {"showarrow": True, "arrowhead": 0, "arrowwidth": 0.8, "arrowcolor": color, "standoff": 5, "opacity": 1}
        annotations.append({"text": html.escape(text), "font": font, **place, **arrow})
    return annotations


def _overlap(middles: np.ndarray, half: np.ndarray, others: np.ndarray, other_halves: np.ndarray) -> np.ndarray:
    """[m] area that each of m boxes of one size shares with all others."""
    reach = half + other_halves - np.abs(middles[:, None] - others[None])
    return np.clip(reach, 0, None).prod(axis=-1).sum(axis=1)


def sensitivity(analysis: dict) -> go.Figure:
    """The share of words that differ under each choice, with its interval, beside the paper's number and chance.

    Args:
        analysis: what `polarity.analyse` returns.

    Paper: Sec. 5.4 (48.75 %).
    """
    import plotly.graph_objects as go

    rows: list[tuple[str, dict, str]] = []  # label, numbers, which series
    for row in analysis["choices"] + [row for row in analysis["sweep"] if _telling(row)]:
        rated = row["unrated"] == "left out" or row["count"] == "rated"
        rows.append((_row_label(row), row, "rated words" if rated else "unrated words counted, too"))
    for name, numbers in analysis["permutation"].items():
        if isinstance(numbers, dict):
            label = f"chance: {name}" if "shuffled" in name else f"chance: {name}, valences shuffled"
            rows.append((label, numbers | {"share": numbers["mean"]}, "chance"))
    rows = [row for row in rows if row[1]["share"] is not None]
    figure = go.Figure()
    looks = {"unrated words counted, too": (ORANGE, "diamond"), "rated words": (BLUE, "circle"), "chance": (INK, "x")}
    for series, (color, symbol) in looks.items():
        some = [(label, numbers) for label, numbers, kind in rows if kind == series]
        share = [numbers["share"] for _, numbers in some]
        error = {
            "array": [round(n["high"] - n["share"], 4) for _, n in some],
            "arrayminus": [round(n["share"] - n["low"], 4) for _, n in some],
            "symmetric": False, "thickness": 2, "width": 4, "color": color,
        }  # fmt: skip
        marker = {"color": color, "symbol": symbol, "size": 10}
        names = [label for label, _ in some]
        tips = "%{y}<br>%{x:.2f} %<extra></extra>"
        figure.add_scatter(
            x=share, y=names, name=series, mode="markers", marker=marker, error_x=error, hovertemplate=tips
        )
    for label, numbers, _ in rows:
        text = f"{numbers['share']:.1f} %" + (f" of {numbers['words']:,}" if "words" in numbers else "")
        side = {"x": 1.01, "xref": "paper", "xanchor": "left", "showarrow": False, "font": {"size": 13}}
        figure.add_annotation(y=label, text=text, **side)
    paper = analysis["paper_share"]
    figure.add_vline(x=paper, line={"color": INK, "dash": "dash", "width": 2})
    figure.add_annotation(x=paper, y=1, yref="paper", yanchor="bottom", text=f"the paper: {paper} %", showarrow=False)
    order = [label for label, *_ in rows][::-1]
    _size(figure, 190 + 27 * len(rows), left=10, right=140, top=100, bottom=90).update_layout(
        title={"text": "How many words differ depends on what is counted", "y": 0.98, "yanchor": "top"},
        legend={"orientation": "h", "x": 0, "y": 1 + 24 / (27 * len(rows)), "yanchor": "bottom"},
        xaxis={"title": {"text": "words whose trait and state polarity differ (%)"}, "rangemode": "tozero"},
        yaxis={"categoryorder": "array", "categoryarray": order, "range": [-0.6, len(rows) - 0.4], "ticksuffix": " "},
    )
    return _source(figure, analysis, "bars: 95 % intervals")


def _telling(row: dict) -> bool:
    """Which rows of the sweep stand in the picture: one thing changed at a time, and far enough to see it."""
    return (row["band"] == 0 and row["threshold"] in (0.4, 0.6)) or (row["threshold"] == 0.5 and row["band"] >= 0.1)


def _row_label(row: dict) -> str:
    label = row["label"].removeprefix("sweep, ")
    if row["label"] == label:
        return label
    return f"{label}, neutral within {row['band']}" if row["band"] else f"{label}, threshold {row['threshold']}"


def _size(figure: go.Figure, height: int, *, left: int, right: int, top: int, bottom: int) -> go.Figure:
    margin = {"l": left, "r": right, "t": top, "b": bottom}
    return figure.update_layout(template=template(), width=980, height=height, margin=margin)


def _source(figure: go.Figure, analysis: dict, choice: str) -> go.Figure:
    """Say below the picture what it was drawn from; approximate vectors are named as such."""
    parts = [choice]
    if description := analysis.get("description"):
        vectors = description["vectors"]
        note = "" if vectors["note"] == vectors["name"] else f" ({vectors['note']})"
        parts += [f"data: {description['data']}", f"vectors: {vectors['name']}{note}"]
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": 0, "xanchor": "left", "yanchor": "top", "showarrow": False}
    shift = 26 - figure.layout.margin.b
    return figure.add_annotation(
        text=html.escape("; ".join(parts), False), font={"size": 12}, yshift=shift, xshift=10, **place
    )


def training_curve(records: Sequence[dict]) -> go.Figure:
    """Perplexity and emotion accuracy of a run, on training batches and on the dev split.

    Args:
        records: the lines of a run's log.jsonl; other keys and missing ones are left alone.

    Paper: Sec. 4.3 names the scores.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2, subplot_titles=("perplexity", "emotion accuracy (%)"))
    series: tuple[tuple[str, str, int, dict], ...] = (
        ("ppl", "training", 1, {"mode": "lines", "line": {"color": INK, "width": 1.5}}),
        ("dev_ppl_token", "dev, per token", 1, {"mode": "lines+markers", "line": {"color": BLUE}}),
        ("dev_ppl_peer", "dev, mean of answers", 1, {"mode": "lines+markers", "line": {"color": ORANGE}}),
        ("acc", "training", 2, {"mode": "lines", "line": {"color": INK, "width": 1.5}, "showlegend": False}),
        ("dev_acc", "dev", 2, {"mode": "lines+markers", "line": {"color": BLUE}, "showlegend": False}),
    )
    for key, name, column, options in series:
        points = [(record["iteration"], record[key]) for record in records if key in record and "iteration" in record]
        if points:
            x, y = zip(*points, strict=True)
            figure.add_scatter(x=x, y=y, name=name, row=1, col=column, **options)
    figure.update_xaxes(title_text="iteration", rangemode="tozero")
    ticks = [base * 10**power for power in range(1, 6) for base in (1, 2, 3, 5)]  # plotly labels 20 as "2" by itself
    figure.update_yaxes(type="log", tickvals=ticks, row=1, col=1)
    figure.update_yaxes(rangemode="tozero", row=1, col=2)
    legend = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
    return _size(figure, 460, left=60, right=20, top=50, bottom=100).update_layout(legend=legend)


def write_figure(figure: go.Figure, data: dict, out: Path, name: str) -> list[Path]:
    """Write a figure as HTML that works offline, the JSON it was drawn from, and PNG and SVG where that is possible.

    Args:
        data: what the figure was drawn from.
        out, name: folder, made when missing, and the files' name without ending.

    Returns:
        What was written. Without kaleido or Chromium that is HTML and JSON, and one logged sentence says so.
    """
    document = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for ending, text in (("html", _page(figure, name)), ("json", document)):
        written.append(out / f"{name}.{ending}")
        written[-1].write_text(text, encoding="utf-8")
    return written + _stills(figure, out, name)


def _page(figure: go.Figure, name: str) -> str:
    # A fixed id keeps the file the same byte for byte; `color-scheme` lets the transparent picture lie on a dark page.
    body = figure.to_html(full_html=False, include_plotlyjs=True, div_id=name, config={"displaylogo": False})
    title = html.escape(figure.layout.title.text or name)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><style>:root{color-scheme:light dark}</style></head>'
        f"<body>\n{body}\n</body></html>\n"
    )


def _stills(figure: go.Figure, out: Path, name: str) -> list[Path]:
    written: list[Path] = []
    size = {"width": figure.layout.width, "height": figure.layout.height}
    try:
        import kaleido

        for ending, scale in (("png", 2), ("svg", 1)):
            options = size | {"format": ending, "scale": scale}
            # MathJax would be fetched from the network. Kaleido itself looks at BROWSER_PATH for the browser.
            image = kaleido.calc_fig_sync(figure.to_dict(), options, kopts={"mathjax": False, "timeout": 60})
            if ending == "svg":  # plotly.js draws the six digits in these names at random
                image = re.sub(rb"\b(topdefs-|defs-|clip|legend|trace)[0-9a-f]{6}", rb"\1", image)
            (out / f"{name}.{ending}").write_bytes(image)
            written.append(out / f"{name}.{ending}")
    except Exception as error:  # whatever a browser does wrong, the picture itself is there
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        log.warning("%s has no new PNG and SVG, which need kaleido and Chromium: %s", name, reason)
    return written


FIGURES: dict[str, Callable[[dict], go.Figure]] = {"fig3": fig3, "sensitivity": sensitivity}
