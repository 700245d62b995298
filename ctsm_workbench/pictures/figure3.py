"""Figure 3: the 32 emotion words in valence-arousal-dominance space. Paper: Figure 3."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ctsm_workbench.pictures.house import BLUE, INK, ORANGE, size, source_line

if TYPE_CHECKING:
    import plotly.graph_objects as go

_EYE = np.array([-1.0, -1.75, 0.62])  # Figure 3 is seen from here: valence runs to the right
_ASPECT = np.array(
    [1.75, 1.35, 1.35]
)  # valence is the longest axis: it is what the picture is about
_PIXELS = 325.0  # of one unit along an axis of aspect 1, in the still picture; for the labels only
_OFFSET = 0.09  # how far the state mark lies from the trait mark where they differ


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
    trait = np.array([[row["valence"], row["arousal"], row["dominance"]] for row in rows]).reshape(
        -1, 3
    )
    known = np.array([row[f"state{suffix}"] is not None for row in rows], dtype=bool)
    differ = np.array([bool(row[f"differ{suffix}"]) for row in rows], dtype=bool)
    state = trait.copy()
    state[:, 0] += _OFFSET * differ * np.array([1 - 2 * row["trait"] for row in rows])

    def marks(
        where: np.ndarray, points: np.ndarray, name: str, marker: dict, **options: Any
    ) -> go.Scatter3d:
        texts = [_hover(row, suffix) for row, yes in zip(rows, where, strict=True) if yes]
        x, y, z = points[where].T.tolist()
        hover = {"hovertext": texts, "hoverinfo": "text"}
        return go.Scatter3d(
            x=x, y=y, z=z, name=name, mode="markers", marker=marker, **hover, **options
        )

    circle, diamond = (
        {"size": 6, "symbol": "circle"},
        {"size": 9, "symbol": "diamond-open", "line": {"width": 2}},
    )
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
    camera = {
        "eye": dict(zip("xyz", _EYE.tolist(), strict=True)),
        "projection": {"type": "orthographic"},
    }
    annotations = _labels(rows, trait, state, differ)
    size(figure, 820, left=0, right=0, top=60, bottom=40).update_layout(
        title_text=f"Trait and state of {len(rows)} emotion words: {int(differ.sum())} differ",
        legend={
            "x": 0.99,
            "xanchor": "right",
            "y": 0.99,
            "font": {"size": 15},
            "itemsizing": "constant",
        },
        scene={
            "xaxis": axis | {"title": {"text": "Valence"}},
            "yaxis": axis | {"title": {"text": "Arousal"}},
            "zaxis": axis | {"title": {"text": "Dominance"}},
            "aspectratio": dict(zip("xyz", _ASPECT.tolist(), strict=True)),
            "camera": camera,
            "annotations": annotations,
        },
        updatemenus=[_filters(annotations, differ)],
    )
    return source_line(figure, analysis, choice)


def _filters(annotations: list[dict], differ: np.ndarray) -> dict:
    """Buttons of the live picture: all words, those that differ, those that agree."""
    buttons = []
    for label, same, other in (
        ("all words", True, True),
        ("words that differ", False, True),
        ("that agree", True, False),
    ):
        shown = [
            note
            for note, blue in zip(annotations[1:], differ, strict=True)
            if (other if blue else same)
        ]
        visible = {"visible": [True, other, same, same, other, other]}
        args = [visible, {"scene.annotations": [annotations[0], *shown]}]
        buttons.append({"label": label, "method": "update", "args": args})
    place = {
        "x": 0.01,
        "xanchor": "left",
        "y": 0.99,
        "yanchor": "top",
        "direction": "right",
        "showactive": True,
    }
    return {
        "type": "buttons",
        "buttons": buttons,
        "font": {"color": INK},
        "bgcolor": "rgba(0,0,0,0)",
    } | place


def _hover(row: dict, suffix: str) -> str:
    sides = {0: "negative", 1: "positive", None: "none (no vector)"}
    unrated = "" if row["rated"] else " (not in the lexicon: neutral)"
    cosine = [
        ("none" if row[name] is None else f"{row[name]:.3f}")
        for name in ("cos_positive", "cos_negative")
    ]
    return (
        f"<b>{html.escape(row['word'])}</b>{unrated}<br>valence {row['valence']:.3f}, arousal {row['arousal']:.3f}, "
        f"dominance {row['dominance']:.3f}<br>trait {sides[row['trait']]}, state {sides[row['state' + suffix]]}<br>"
        f"cosine to the positive words {cosine[0]}, to the negative words {cosine[1]} (the paper's rule)"
    )


def _middle() -> go.Mesh3d:
    """The plane where the trait's polarity changes."""
    import plotly.graph_objects as go

    y, z = [0, 1, 1, 0], [0, 0, 1, 1]
    return go.Mesh3d(
        x=[0.5] * 4,
        y=y,
        z=z,
        i=[0, 0],
        j=[1, 2],
        k=[2, 3],
        color=INK,
        opacity=0.1,
        hoverinfo="skip",
    )


def _links(begin: np.ndarray, end: np.ndarray) -> go.Scatter3d:
    import plotly.graph_objects as go

    points = np.stack([begin, end, np.full_like(begin, np.nan)], axis=1).reshape(-1, 3)
    x, y, z = ([None if math.isnan(v) else v for v in column] for column in points.T.tolist())
    line = {"color": BLUE, "width": 6}
    return go.Scatter3d(x=x, y=y, z=z, mode="lines", line=line, hoverinfo="skip", showlegend=False)


def _labels(
    rows: list[dict], trait: np.ndarray, state: np.ndarray, differ: np.ndarray
) -> list[dict]:
    """Scene annotations, each pulled from its mark to where it covers the fewest others in the still picture."""
    view = -_EYE / np.linalg.norm(_EYE)
    right = np.cross(view, [0, 0, 1])
    right /= np.linalg.norm(right)
    screen = (
        _ASPECT[:, None] * np.stack([right, -np.cross(right, view)], axis=1) * _PIXELS
    )  # [3, 2] to pixels, y down
    marks = np.concatenate([trait @ screen, state[differ] @ screen])
    anchors = marks[: len(rows)]
    texts = [row["word"] + ("" if row["rated"] else " (unrated)") for row in rows]
    width = np.where(differ, 4.9, 4.2)  # half a letter; bold ones are wider
    half = np.array(
        [[w * len(text) + 2, 9.5] for w, text in zip(width, texts, strict=True)]
    ).reshape(-1, 2)  # of labels
    angles = np.arange(24) * math.tau / 24
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    placed = np.zeros((len(rows), 2))
    done = np.zeros(len(rows), dtype=bool)
    for _ in range(4):  # the first round places, the others mend
        for i in np.argsort(anchors[:, 1], kind="stable"):
            spots = np.concatenate(
                [ring * (half[i] * [1, 0.9] + gap) for gap in (8, 14, 22, 34, 48, 64)]
            )
            boxes = anchors[i] + spots  # [spots, 2] middles
            others = done & (np.arange(len(rows)) != i)
            leaders = [
                anchors[others] + step * (placed - anchors)[others] for step in (0.3, 0.5, 0.7)
            ]
            points = np.concatenate([marks, *leaders])
            cost = 4 * _overlap(boxes, half[i], placed[others], half[others])
            cost += 3 * _overlap(boxes, half[i], points, np.full((len(points), 2), 7.0))
            for step in (0.3, 0.5, 0.7):  # the own leader should cross no label
                cost += 3 * _overlap(
                    anchors[i] + step * spots, np.full(2, 4.0), placed[others], half[others]
                )
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
        place = {
            "x": x,
            "y": y,
            "z": z,
            "ax": ax,
            "ay": ay,
            "xanchor": "center",
            "yanchor": "middle",
            "borderpad": 0,
        }
        arrow = {
            "showarrow": True,
            "arrowhead": 0,
            "arrowwidth": 0.8,
            "arrowcolor": color,
            "standoff": 5,
            "opacity": 1,
        }
        annotations.append({"text": html.escape(text), "font": font, **place, **arrow})
    return annotations


def _overlap(
    middles: np.ndarray, half: np.ndarray, others: np.ndarray, other_halves: np.ndarray
) -> np.ndarray:
    """[m] area that each of m boxes of one size shares with all others."""
    reach = half + other_halves - np.abs(middles[:, None] - others[None])
    return np.clip(reach, 0, None).prod(axis=-1).sum(axis=1)
