"""The reports as plotly figures, each with a text alternative in `layout.meta`.

`figures.json` holds the layouts and the styles of traces. Labels are placed by number, since
shortened labels may repeat.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io

from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.polarity import NO_STATE
from ctsm_workbench.explorers.answer import Answered, Token
from ctsm_workbench.explorers.context import Reading, likeliest, new_tokens
from ctsm_workbench.explorers.texts import POLARITIES, label, shown
from ctsm_workbench.explorers.word import STATES, WordReport
from ctsm_workbench.pictures.house import BLUE, INK, ORANGE, template

_STYLES = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
SHOWN_EMOTIONS = 8
MAP_EMOTIONS = 12


def _trace(style: str, x: Any, y: Any, **more: Any) -> dict:
    return _STYLES["traces"][style] | {"x": list(x), "y": list(y)} | more


def _figure(kind: str, title: str, alt: str, traces: list[dict], **layout: Any) -> go.Figure:
    """A figure without the house style, which `as_json` adds, since that takes long here."""
    figure = go.Figure(traces)
    figure.update_layout(_STYLES["layouts"]["every figure"])
    figure.update_layout(_STYLES["layouts"][kind])
    return figure.update_layout(title_text=title, meta={"alt": alt}, **layout)


def as_json(figure: go.Figure) -> dict:
    """Convert a figure to the JSON that plotly.js draws, in the house style."""
    drawn = json.loads(plotly.io.to_json(figure, validate=False, engine="json"))
    drawn["layout"]["template"] = template()
    return drawn


def _listed(names: Sequence[str], values: Iterable[float], form: str = ".2f") -> str:
    return ", ".join(f"{name} {value:{form}}" for name, value in zip(names, values, strict=True))


def word_figures(report: WordReport) -> list[go.Figure]:
    """Bars of a word's ratings, of its polarities, and of its nearest words."""
    figures = [_rating_figure(report)]
    if report.known:
        figures.append(_polarity_figure(report))
    if report.nearest:
        figures.append(_nearest_figure(report))
    return figures


def _value_bars(names: Sequence[Any], values: Sequence[float], form: str, **more: Any) -> dict:
    texts = [f"{value:{form}}" for value in values]
    return _trace("bars with values", values, names, text=texts, **more)


def _rating_figure(report: WordReport) -> go.Figure:
    names = ["valence", "arousal", "dominance", "intensity", "IDF"]
    values = [*report.vad, report.intensity, report.idf]
    colours = [*[BLUE if report.rated else INK] * 4, ORANGE]
    tips = [f"{value:.3f}" for value in values]
    bars = _value_bars(names, values, ".2f", hovertext=tips, marker_color=colours)
    unrated = "" if report.rated else " (not rated: neutral)"
    title = f"Values of “{label(report.word)}”{unrated}"
    alt = f"{report.word}: {_listed(names, values)}"
    return _figure("ratings", title, alt, [bars], xaxis_range=[min(0, *values), 1.05])


def _polarity_figure(report: WordReport) -> go.Figure:
    names = ["trait", *STATES.values()]
    values = [2 * report.vad[0] - 1 if report.rated else 0.0]
    tips = [f"valence {report.vad[0]:.3f}"]
    for margin, share, polarity in (report.states[key] for key in STATES):
        known = polarity != NO_STATE
        largest = f"margin {margin:+.4f}<br>1: the largest of all words"
        values.append(share if known else 0.0)
        tips.append(largest if known else POLARITIES[polarity])
    rows = [name.replace(", ", ",<br>") for name in names]
    colours = [BLUE if value > 0 else ORANGE for value in values]
    bars = _value_bars(rows, values, "+.2f", hovertext=tips, marker_color=colours)
    alt = f"Polarity of {report.word}: {_listed(names, values, '+.2f')}"
    return _figure("polarity", "Trait and state polarity", alt, [bars])


def _nearest_figure(report: WordReport) -> go.Figure:
    names, values, traits = zip(*report.nearest, strict=True)
    polarities = ["not rated" if trait is None else POLARITIES[trait] for trait in traits]
    places = list(range(len(names)))
    tips = [f"cosine {v:.3f}, {name}" for v, name in zip(values, polarities, strict=True)]
    colours = [INK if trait is None else BLUE if trait else ORANGE for trait in traits]
    bars = _value_bars(places, values, ".2f", hovertext=tips, marker_color=colours)
    title = "Nearest words<br><sup>blue: positive trait, orange: negative, grey: not rated</sup>"
    alt = f"Nearest to {report.word}: {_listed(names, values)}"
    axis = {"tickvals": places, "ticktext": [label(name) for name in names]}
    lowest = min(0.0, *values)
    return _figure("nearest", title, alt, [bars], xaxis_range=[lowest, 1.0], yaxis=axis)


def context_figures(
    before: Reading, after: Reading | None = None, every: bool = False
) -> list[go.Figure]:
    """The predicted emotions of both readings in one figure, and the tokens of each.

    Args:
        every: all 32 emotions in the map, else the likeliest `MAP_EMOTIONS`.
    """
    readings = [before] if after is None else [before, after]
    emotions = list(range(len(EMOTIONS))) if every else likeliest(readings, MAP_EMOTIONS)
    # Both readings have the same scales, so that bars and colours can be compared.
    lowest = min(0.0, *(float(reading.intensity.min()) for reading in readings))
    strongest = max(0.1, *(float(reading.intensity.max()) for reading in readings))
    most = max(float(weights.max()) for reading in readings for weights in reading.pooling.values())
    maps = [r.inclination[:, emotions] for r in readings if r.inclination is not None]
    largest = max((float(np.abs(values).max()) for values in maps), default=1.0)
    figures = [_predicted_figure(readings)]
    for number, reading in enumerate(readings):
        title = f"{('Before', 'After')[number]}, token by token" if after else "Token by token"
        new = new_tokens(before, reading)
        figure = _token_figure(reading, title, new=new, emotions=emotions, largest=largest)
        figure.update_layout(xaxis_range=[lowest, strongest * 1.05], xaxis2_range=[0, most * 1.05])
        figures.append(figure)
    return figures


def _predicted_figure(readings: Sequence[Reading]) -> go.Figure:
    emotions = likeliest(readings, SHOWN_EMOTIONS)
    names = [EMOTIONS[k] for k in emotions]
    traces = []
    styles = (("before", BLUE, "diamond-open"), ("after", ORANGE, "circle-open"))
    for (when, colour, symbol), reading in zip(styles, readings, strict=False):
        suffix = f", {when}" if len(readings) > 1 else ""
        values = {name: found[emotions].tolist() for name, found in reading.probabilities.items()}
        bars = _trace("bars", values["student"], names, marker_color=colour)
        traces.append(bars | {"name": f"student{suffix}"})
        if "teacher" in values:
            marks = _trace("marks", values["teacher"], names, marker_symbol=symbol)
            traces.append(marks | {"name": f"teacher{suffix}", "marker_color": INK})
    alt = f"Predicted: {_listed(names, readings[-1].probabilities['student'][emotions])}"
    return _figure("predicted", "Predicted emotions", alt, traces)


def _token_figure(
    reading: Reading, title: str, *, new: Sequence[bool], emotions: Sequence[int], largest: float
) -> go.Figure:
    """Intensity, pooling weights, and a map of inclinations in [-largest, largest] side by side."""
    places = list(range(len(reading.tokens)))
    tips = [_token_tip(reading, place) for place in places]
    bars = _trace("token bars", reading.intensity.tolist(), places, hovertext=tips)
    traces = [bars | {"marker_color": INK, "showlegend": False}]
    for name, colour in (("teacher", ORANGE), ("student", BLUE)):
        if name in reading.pooling:
            bars = _trace("token bars", reading.pooling[name].tolist(), places, hovertext=tips)
            bars |= {"name": f"pooling, {name}", "marker_color": colour, "xaxis": "x2"}
            traces.append(bars)
    names = [EMOTIONS[k] for k in emotions]
    columns = list(range(len(names)))
    if reading.inclination is not None:
        heat = _trace("map", columns, places, z=reading.inclination[:, emotions].tolist())
        heat |= {"zmin": -largest, "zmax": largest}
        heat["colorscale"] = [[0, BLUE], [0.5, "#f4f4f4"], [1, ORANGE]]
        heat["customdata"] = [[f"{label(t)} · {name}" for name in names] for t in reading.tokens]
        traces.append(heat)
    attended = [reading.tokens[k] for k in np.argsort(-reading.pooling["student"])[:5]]
    alt = f"{title}. The student attends most to: {', '.join(attended)}"
    rows = []
    for token, known, is_new in zip(reading.tokens, reading.known, new, strict=True):
        word = label(token) if known else f"{label(token)} ?"
        rows.append(f"<b>{word}</b>" if is_new else word)
    axis = {"range": [len(places) - 0.5, -0.5], "tickvals": places, "ticktext": rows}
    height = 170 + 18 * max(len(places), 4)
    figure = _figure("tokens", title, alt, traces, height=height, yaxis=axis)
    return figure.update_layout(xaxis3={"tickvals": columns, "ticktext": names})


def _token_tip(reading: Reading, place: int) -> str:
    who = "speaker" if reading.by_speaker[place] else "listener"
    lines = [f"{label(reading.tokens[place])}, {who if place else 'stands for the whole'}"]
    lines.append(f"intensity {reading.intensity[place]:.3f}")
    lines += [f"pooling, {name} {weights[place]:.3f}" for name, weights in reading.pooling.items()]
    if not reading.known[place]:
        lines.append("not in the vocabulary: read as &lt;unk&gt;")
    return "<br>".join(lines)


def answer_figures(found: Answered, name: str) -> list[go.Figure]:
    """The origin of each word, and the predicted emotions; only what the answer has."""
    figures = []
    if found.tokens:
        figures.append(_origin_figure(found, name))
    if emotions := dict(list(found.response.emotions.items())[:SHOWN_EMOTIONS]):
        names = list(emotions)
        bars = _trace("bars", emotions.values(), names, marker_color=BLUE)
        alt = f"Predicted: {_listed(names, emotions.values())}"
        title = f"Predicted emotions<br><sup>{shown(name)}</sup>"
        figures.append(_figure("answer's emotions", title, alt, [bars]))
    return figures


def _origin_figure(found: Answered, name: str) -> go.Figure:
    places = list(range(len(found.tokens)))
    words = ["(end)" if token.word == "<eos>" else label(token.word) for token in found.tokens]
    tips = [_origin_tip(token, word) for token, word in zip(found.tokens, words, strict=True)]
    traces = []
    for part, colour in (("generated", BLUE), ("copied", ORANGE)):
        heights = [getattr(token, part) for token in found.tokens]
        bars = _trace("upright bars", places, heights, name=part, marker_color=colour)
        traces.append(bars | {"hovertext": tips})
    alphas = [token.alpha for token in found.tokens]
    traces.append(_trace("alpha", places, alphas, marker_color=INK))
    copied = ", ".join(token.word for token in found.copied) or "none"
    alt = f"Words of the answer of {name}. Copied: {copied}"
    title = f"Generate or copy?<br><sup>{shown(name)}</sup>"
    axis = {"tickvals": places, "ticktext": words}
    return _figure("origin", title, alt, traces, xaxis=axis)


def _origin_tip(token: Token, word: str) -> str:
    source = f", most from place {token.source}" if token.source else ""
    lines = [f"{word}: {token.generated + token.copied:.3f}", f"alpha {token.alpha:.3f}"]
    return "<br>".join([*lines, f"copied {token.copied_share:.0%}{source}"])
