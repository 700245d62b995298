"""Figure 3: the 32 emotion words in valence-arousal-dominance space. Paper: Figure 3."""

import html
import math

import numpy as np
import plotly.graph_objects as go

from ctsm_workbench.pictures.house import STYLE, data_line, finish, menu

_VAD = ("valence", "arousal", "dominance")
_POLARITY = {0: "negative", 1: "positive", None: "none (no vector)"}
_OFFSET = 0.09  # distance of the state mark from the trait mark where they differ
# For the labels, which are placed for the still picture:
_STYLE = STYLE["fig3"]
_SCENE = _STYLE["layout"]["scene"]
_EYE = np.array(list(_SCENE["camera"]["eye"].values()))
_ASPECT = np.array(list(_SCENE["aspectratio"].values()))
_PIXELS = 325.0  # of one unit along an axis of aspect 1
_STEPS = (0.3, 0.5, 0.7)  # points of the line from a mark to its label that should be free
_GAPS = (8, 14, 22, 34, 48, 64)  # pixels between a mark and its label


def fig3(analysis: dict) -> go.Figure:
    """The emotion words in VAD space, with a state mark beside the trait mark where they differ.

    The labels are placed for the still picture; they follow when the figure is turned.
    Paper: Figure 3. `analysis` is what `polarity.analyse` returns, with arousal and dominance.
    """
    rows = [row for row in analysis["labels"] if row["arousal"] is not None]
    trait = np.array([[row[name] for name in _VAD] for row in rows]).reshape(-1, 3)
    known = np.array([row["state"] is not None for row in rows], dtype=bool)
    differ = np.array([row["differ"] for row in rows], dtype=bool)
    state = trait.copy()
    state[:, 0] += _OFFSET * differ * np.array([1 - 2 * row["trait"] for row in rows])
    # Lines from the trait marks to their state marks; None ends a line.
    gaps = np.full((len(rows), 3), None)
    links = np.stack([trait, state, gaps], axis=1)[differ].reshape(-1, 3)
    tips = np.array([_hover(row) for row in rows])
    figure = go.Figure()
    figure.add_mesh3d(**_STYLE["plane"])
    figure.add_scatter3d(**_xyz(links), **_STYLE["links"])
    groups = ((trait, ~differ), (state, known & ~differ), (trait, differ), (state, differ))
    for (name, marker), (points, some) in zip(_STYLE["marks"].items(), groups, strict=True):
        own = {"name": name, "marker": marker, "hovertext": tips[some].tolist()}
        figure.add_scatter3d(**_xyz(points[some]), **own, **_STYLE["mark"])
    notes = _labels(rows, trait, state, differ)
    finish(figure, "fig3", f"Trait and state of {len(rows)} emotion words: {differ.sum()} differ")
    choices = {}
    for label, (same, other) in _STYLE["filters"].items():
        wanted = [True, *np.where(differ, other, same)]
        shown = [text for text, yes in zip(notes, wanted, strict=True) if yes]
        visible = {"visible": [True, other, same, same, other, other]}
        choices[label] = [visible, {"scene.annotations": shown}]
    figure.update_layout(scene_annotations=notes, updatemenus=menu("fig3", "update", choices))
    return data_line(figure, analysis, "the paper's rule")


def _xyz(points: np.ndarray) -> dict:
    return dict(zip("xyz", points.T.tolist(), strict=True))


def _hover(row: dict) -> str:
    texts = {name: _POLARITY[row[name]] for name in ("trait", "state")}
    for name in ("cos_positive", "cos_negative"):
        texts[name] = "none" if row[name] is None else f"{row[name]:.3f}"
    unrated = "" if row["rated"] else " (not in the lexicon: neutral)"
    texts |= {"word": html.escape(row["word"]), "unrated": unrated}
    return _STYLE["tip"].format_map(row | texts)


def _labels(rows: list, trait: np.ndarray, state: np.ndarray, differ: np.ndarray) -> list[dict]:
    """Scene annotations: one at the middle plane, and a label for each word, tied to its mark."""
    texts = [row["word"] + ("" if row["rated"] else " (unrated)") for row in rows]
    view = -_EYE / np.linalg.norm(_EYE)
    right = np.cross(view, [0, 0, 1])
    right /= np.linalg.norm(right)
    # [3, 2] from the space to pixels of the still picture, to the right and down.
    screen = _ASPECT[:, None] * np.stack([right, -np.cross(right, view)], axis=1) * _PIXELS
    letter = np.where(differ, 4.9, 4.2)  # half of one; bold ones are wider
    half = [[width * len(text) + 2, 9.5] for width, text in zip(letter, texts, strict=True)]
    away = _place(trait @ screen, state[differ] @ screen, np.array(half).reshape(-1, 2))
    offsets = away.round(1).tolist()
    annotations: list[dict] = [_STYLE["middle"]]
    for text, mark, (ax, ay), other in zip(texts, trait, offsets, differ, strict=True):
        look = _STYLE["label"] | _STYLE["differs" if other else "agrees"]
        annotations.append(look | _xyz(mark) | {"text": html.escape(text), "ax": ax, "ay": ay})
    return annotations


def _place(anchors: np.ndarray, others: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Offsets [n, 2] of labels from their marks, where they cover the fewest marks and labels.

    All in pixels: `anchors` [n, 2] and `others` [m, 2] are marks, those with a label and those
    without; `half` [n, 2] is half the width and height of each label.
    """
    angles = np.arange(24) * math.tau / 24
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    away = np.full_like(half, np.inf)  # not placed yet
    for _ in range(4):  # the first round places, the others mend
        for i in np.argsort(anchors[:, 1], kind="stable"):
            spots = np.concatenate([ring * (half[i] * [1, 0.9] + gap) for gap in _GAPS])
            away[i] = np.inf
            points = np.concatenate([anchors, others, *(anchors + step * away for step in _STEPS)])
            boxes = anchors[i] + spots
            labels = anchors + away
            cost = 4 * _overlap(boxes, labels, half[i] + half)
            cost += 3 * _overlap(boxes, points, half[i] + 7)
            for step in _STEPS:  # the own line should cross no label
                cost += 3 * _overlap(anchors[i] + step * spots, labels, 4 + half)
            away[i] = spots[np.argmin(cost + 2 * np.linalg.norm(spots, axis=1))]
    return away


def _overlap(middles: np.ndarray, others: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """[m] area that m boxes share with all others; `halves` are half the sizes of both, added."""
    reach = halves - np.abs(middles[:, None] - others[None])
    return np.clip(reach, 0, None).prod(axis=-1).sum(axis=1)
