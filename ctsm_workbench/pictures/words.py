"""Section 5.4: Figure 3, words that differ under each choice, the most frequent ones, and a map."""

import html
import json
import math

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ctsm_lib.corpus import EMOTIONS
from ctsm_workbench.pictures.house import STYLE, data_line, fill, finish, interval, menu, note

_MAP = STYLE["map"]
_SIGN = {1: "+", 0: "−"}
_POLARITY = {0: "negative", 1: "positive", None: "none (no vector)"}
_ROW = 26  # pixels of a word
_GAP = 58  # pixels between the parts
_VAD = ("valence", "arousal", "dominance")
_OFFSET = 0.09  # distance of the state mark from the trait mark where they differ
# For the labels, which are placed for the still picture:
_FIG3 = STYLE["fig3"]
_SCENE = _FIG3["layout"]["scene"]
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
    figure.add_mesh3d(**_FIG3["plane"])
    figure.add_scatter3d(**_xyz(links), **_FIG3["links"])
    groups = ((trait, ~differ), (state, known & ~differ), (trait, differ), (state, differ))
    for (name, marker), (points, some) in zip(_FIG3["marks"].items(), groups, strict=True):
        own = {"name": name, "marker": marker, "hovertext": tips[some].tolist()}
        figure.add_scatter3d(**_xyz(points[some]), **own, **_FIG3["mark"])
    notes = _tied(rows, trait, state, differ)
    finish(figure, "fig3", f"Trait and state of {len(rows)} emotion words: {differ.sum()} differ")
    choices = {}
    for label, (same, other) in _FIG3["filters"].items():
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
    return _FIG3["tip"].format_map(row | texts)


def _tied(rows: list, trait: np.ndarray, state: np.ndarray, differ: np.ndarray) -> list[dict]:
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
    annotations: list[dict] = [_FIG3["middle"]]
    for text, mark, (ax, ay), other in zip(texts, trait, offsets, differ, strict=True):
        look = _FIG3["label"] | _FIG3["differs" if other else "agrees"]
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


def sensitivity(analysis: dict) -> go.Figure:
    """The share of words that differ under each choice, beside the paper's number and chance.

    Paper: Sec. 5.4 (48.75 %). `analysis` is what `polarity.analyse` returns.
    """
    rows = [row for row in _rows(analysis) if row["share"] is not None]
    style = STYLE["sensitivity"]
    figure = go.Figure()
    for series, marker in style["series"].items():
        some = [row for row in rows if row["series"] == series]
        share = [row["share"] for row in some]
        look = style["share"] | {"name": series, "marker": marker}
        bars = interval(share, some, marker["color"])
        figure.add_scatter(x=share, y=[row["label"] for row in some], error_x=bars, **look)
    for row in rows:
        text = f"{row['share']:.1f} %" + (f" of {row['words']:,}" if "words" in row else "")
        note(figure, text, 1.01, row["label"], yref="y", yanchor="middle")
    paper = analysis["paper_share"]
    figure.add_vline(x=paper, line=style["paper"])
    note(figure, f"the paper: {paper} %", paper, 1, size=14, xref="x", xanchor="center")
    title = "Share of words that differ, by what is counted"
    finish(figure, "sensitivity", title, inner=27 * len(rows))
    figure.layout.legend.y = 1 + 24 / (27 * len(rows))
    order = [row["label"] for row in reversed(rows)]
    figure.update_yaxes(categoryarray=order, range=[-0.6, len(rows) - 0.4])
    return data_line(figure, analysis, "bars: 95 % intervals")


def _rows(analysis: dict) -> list[dict]:
    """Choices, the sweep's rows that tell something, and chance, each with its label and series."""
    rows = []
    for row in analysis["choices"] + analysis["sweep"]:
        rated = row["unrated"] == "left out" or row["count"] == "rated"
        series = "rated words" if rated else "unrated words counted, too"
        if label := _label(row):
            rows.append(row | {"label": label, "series": series})
    for name, numbers in analysis["permutation"].items():
        if isinstance(numbers, dict):
            shuffled = "" if "shuffled" in name else ", valences shuffled"
            label = f"chance: {name}{shuffled}"
            rows.append(numbers | {"share": numbers["mean"], "label": label, "series": "chance"})
    return rows


def _label(row: dict) -> str:
    """The label of a row, or nothing: bounds and small changes of the sweep are not shown."""
    label = row["label"].removeprefix("sweep, ")
    if label == row["label"]:
        shown = row["vectors"] != "exact" or row["missing"] in ("left out", "random")
    elif row["band"]:
        shown = row["threshold"] == 0.5 and row["band"] >= 0.1
        label += f", neutral within {row['band']}"
    else:
        shown = row["threshold"] in (0.4, 0.6)
        label += f", threshold {row['threshold']}"
    return label if shown else ""


def discrepant_figure(data: dict) -> go.Figure:
    """A bar for each word's frequency, its two polarities, and a quotation; a part for each rule.

    `data` is what `polarity.discrepant_words` returns.
    """
    rules = {name: rule for name, rule in data["rules"].items() if rule["words"]}
    heights = [_ROW * len(rule["words"]) for rule in rules.values()]
    inner = sum(heights) + _GAP * (len(rules) - 1)
    figure = make_subplots(rows=len(rules), row_heights=heights, vertical_spacing=_GAP / inner)
    for number, (name, rule) in enumerate(rules.items(), start=1):
        _draw_rule(figure, name, rule, number)
    figure.update_xaxes(**STYLE["discrepant"]["counts"])
    figure.update_xaxes(title_text="times in training", row=len(rules))
    title = "The most frequent words whose trait and state polarity differ"
    finish(figure, "discrepant", title, inner=inner)
    note(figure, STYLE["discrepant"]["meaning"], 0, 1, yshift=32)
    return data_line(figure, data, "unrated words count as negative in the paper's rule")


def _draw_rule(figure: go.Figure, name: str, rule: dict, number: int) -> None:
    """Draw bars and quotations of one rule, with a heading above them."""
    axis = figure.get_subplot(number, 1).yaxis
    rows = rule["words"]
    labels = [html.escape(row["word"], quote=False) for row in rows]
    tips = []
    for place, (label, row) in enumerate(zip(labels, rows, strict=True)):
        rated = "" if row["rated"] else " (not rated)"
        trait = _POLARITY[row["trait"]]
        tips.append(f"{label}: trait {trait}{rated}, state {_POLARITY[row['state']]}")
        before, after = (html.escape(text, quote=False) for text in row["quotation"])
        quoted = f"{before} <b>{label}</b> {after}".strip()
        text = f"<b>{_SIGN[row['trait']]} → {_SIGN[row['state']]}</b>   {quoted}"
        note(figure, text, 0.43, place, yref=axis.plotly_name.replace("axis", ""), yanchor="middle")
    style = STYLE["discrepant"]
    colors = [style["trait"][_POLARITY[row["trait"]]] for row in rows]
    look = style["bars"] | {"name": name, "marker_color": colors, "customdata": tips}
    places = list(range(len(rows)))
    figure.add_bar(x=[row["count"] for row in rows], y=places, row=number, col=1, **look)
    axis.update(tickvals=places, ticktext=labels, ticks="", showgrid=False)
    axis.range = [len(rows) - 0.5, -0.5]
    heading = f"<b>{html.escape(name)}</b>: {rule['differ']:,} of {rule['of']:,} differ"
    note(figure, heading, 0, axis.domain[1], size=14, yshift=4)


def word_map_figure(data: dict) -> go.Figure:
    """Every word as a mark, larger the more often it occurs; buttons choose what the colours mean.

    `data` is what `polarity.word_map` returns.
    """
    trait = np.array([-1 if polarity is None else polarity for polarity in data["trait"]])
    state = np.array(data["state"])
    own = np.array(["negative trait", "positive trait", "not rated"])[trait]
    near = np.array(["negative state", "positive state"])[state]
    agree = np.where(trait == state, "trait and state agree", "trait and state differ")
    groups = {"disagreement": np.where(trait < 0, own, agree), "trait": own, "state": near}
    large = np.round(2.5 + 1.6 * np.log10(np.maximum(data["count"], 1)), 1)
    polarities = np.array(["negative", "positive", "not rated"])
    rows = zip(data["word"], polarities[trait], polarities[state], data["count"], strict=True)
    tip = "{}: trait {}, state {}, {:,} times"
    tips = [tip.format(html.escape(word), *values) for word, *values in rows]
    columns = {"x": np.array(data["x"]), "y": np.array(data["y"]), "hovertext": np.array(tips)}
    figure = go.Figure()
    choices = {}
    views = _MAP["views"]
    for view, looks in views.items():
        for name, look in looks.items():
            some = groups[view] == name
            marker = _MAP["marker"] | look | {"size": large[some].tolist()}
            drawn = {key: column[some].tolist() for key, column in columns.items()}
            drawn |= {"name": name, "marker": marker, "visible": view == next(iter(views))}
            figure.add_scattergl(**drawn, **_MAP["words"])
        visible = [other == view for other, looks in views.items() for _ in looks]
        choices[f"colour: {view}"] = [{"visible": visible}]
    finish(figure, "map", f"{len(tips):,} words placed by their vectors")
    figure.update_layout(updatemenus=menu("map", "restyle", choices), annotations=_labels(data))
    note(figure, _MAP["meaning"], size=12, yanchor="top", yshift=-14)
    remark = "UMAP, {neighbours} neighbours, seed {seed}".format(**data["settings"])
    return data_line(figure, data, remark)


def search_box(data: dict) -> str:
    """HTML below the map: a field that finds a word, and the note on the meaning of distances."""
    columns = {key: data[key] for key in ("word", "x", "y")}
    # A "</script>" in a word must not end the script.
    table = json.dumps(columns, ensure_ascii=False).replace("</", "<\\/")
    return fill("map.html", note=html.escape(data["note"]), table=table)


def _labels(data: dict) -> list[dict]:
    """The emotion words' names, as many as find room: none lies on another."""
    places = dict(zip(data["word"], zip(data["x"], data["y"], strict=True), strict=True))
    pixels = 740 / max(float(np.ptp(data["x"])), float(np.ptp(data["y"])), 1e-9)  # about
    labels: list[dict] = []
    for emotion in filter(places.get, EMOTIONS):
        x, y = places[emotion]
        near = [label for label in labels if abs(y - label["y"]) < 20 / pixels]
        reach = [(4 * len(emotion + label["text"]) + 6) / pixels for label in near]
        if all(abs(x - label["x"]) >= far for label, far in zip(near, reach, strict=True)):
            labels.append(_MAP["label"] | {"text": emotion, "x": x, "y": y})
    return labels
