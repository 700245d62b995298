"""The reports as plotly figures, each with a text alternative in `layout.meta`.

`figures.json` holds layouts and traces, and "$blue" stands for a colour of the house style. Labels
are placed by number, since shortened labels may repeat.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io

from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.polarity import NO_STATE
from ctsm_workbench.explorers.answer import Answered
from ctsm_workbench.explorers.context import Reading, likeliest, new_tokens
from ctsm_workbench.explorers.texts import POLARITIES, label, shown
from ctsm_workbench.explorers.word import STATES, WordReport
from ctsm_workbench.pictures.house import BLUE, COLOURS, INK, ORANGE, template

_TEXT = Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
_STYLES = json.loads(Template(_TEXT).substitute(COLOURS))
SHOWN_EMOTIONS = 8
MAP_EMOTIONS = 12


def _trace(style: str, x: Iterable, y: Iterable, **more: Any) -> dict:
    return _STYLES["traces"][style] | {"x": list(x), "y": list(y)} | more


def _figure(kind: str, alt: str, traces: list[dict], **layout: Any) -> go.Figure:
    """A figure without the house style, which `as_json` adds, since that takes long here."""
    figure = go.Figure(traces)
    for part in (_STYLES["layouts"]["every figure"], _STYLES["layouts"][kind], layout):
        figure.update_layout(part)
    return figure.update_layout(meta={"alt": alt})


def as_json(figure: go.Figure) -> dict:
    """Convert a figure to the JSON that plotly.js draws, in the house style."""
    drawn = json.loads(plotly.io.to_json(figure, validate=False, engine="json"))
    drawn["layout"]["template"] = template()
    return drawn


def _listed(names: Iterable[str], values: Iterable[float], form: str = ".2f") -> str:
    return ", ".join(f"{name} {value:{form}}" for name, value in zip(names, values, strict=True))


def word_figures(report: WordReport) -> list[go.Figure]:
    """Bars of a word's ratings, of its polarities, and of its nearest words."""
    names = ("valence", "arousal", "dominance", "intensity", "IDF")
    values = (*report.vad, report.intensity, report.idf)
    colours = [*[BLUE if report.rated else INK] * 4, ORANGE]
    bars = zip(names, values, colours, strict=True)
    rows = [(name, name, value, f"{value:.3f}", colour) for name, value, colour in bars]
    title = f"Values of “{label(report.word)}”{'' if report.rated else ' (not rated: neutral)'}"
    reach = [min(0, *values), 1.05]
    figures = [_bar_figure("ratings", report.word, rows, title_text=title, xaxis_range=reach)]
    figures += [_polarity_figure(report)] if report.known else []
    figures += [_nearest_figure(report)] if report.nearest else []
    return figures


def _bar_figure(
    kind: str, about: str, rows: Sequence[tuple], form: str = ".2f", **layout: Any
) -> go.Figure:
    """Bars beside their values. A row has a name, a label, a value, a tip and a colour."""
    names, labels, values, tips, colours = zip(*rows, strict=True)
    places = list(range(len(rows)))
    bars = _trace("bars with values", values, places, hovertext=tips, marker_color=colours)
    bars["text"] = [f"{value:{form}}" for value in values]
    layout["yaxis"] = {"tickvals": places, "ticktext": labels}
    return _figure(kind, f"{about}: {_listed(names, values, form)}", [bars], **layout)


def _polarity_figure(report: WordReport) -> go.Figure:
    trait = 2 * report.vad[0] - 1 if report.rated else 0.0
    bars = [("trait", trait, f"valence {report.vad[0]:.3f}")]
    for key, name in STATES.items():
        margin, share, polarity = report.states[key]
        if polarity == NO_STATE:
            bars.append((name, 0.0, POLARITIES[polarity]))
        else:
            bars.append((name, share, f"margin {margin:+.4f}<br>1: the largest of all words"))
    rows = [
        (name, name.replace(", ", ",<br>"), value, tip, BLUE if value > 0 else ORANGE)
        for name, value, tip in bars
    ]
    return _bar_figure("polarity", f"Polarity of {report.word}", rows, "+.2f")


def _nearest_figure(report: WordReport) -> go.Figure:
    rows = []
    for name, value, trait in report.nearest:
        polarity = "not rated" if trait is None else POLARITIES[trait]
        colour = INK if trait is None else BLUE if trait else ORANGE
        rows.append((name, label(name), value, f"cosine {value:.3f}, {polarity}", colour))
    reach = [min(0.0, *(value for _, value, _ in report.nearest)), 1.0]
    return _bar_figure("nearest", f"Nearest to {report.word}", rows, xaxis_range=reach)


def context_figures(
    before: Reading, after: Reading | None = None, every: bool = False
) -> list[go.Figure]:
    """The predicted emotions of both readings in one figure, and the tokens of each.

    The map shows the likeliest `MAP_EMOTIONS`, or `every` one of the 32 emotions.
    """
    readings = [before] if after is None else [before, after]
    emotions = list(range(len(EMOTIONS))) if every else likeliest(readings, MAP_EMOTIONS)
    # Both readings have the same scales, so that bars and colours can be compared.
    lowest = min(0.0, *(float(reading.intensity.min()) for reading in readings))
    strongest = max(0.1, *(float(reading.intensity.max()) for reading in readings))
    most = max(float(weights.max()) for reading in readings for weights in reading.pooling.values())
    maps = [r.inclination[:, emotions] for r in readings if r.inclination is not None]
    largest = max((float(np.abs(values).max()) for values in maps), default=1.0)
    scales = {"xaxis_range": [lowest, strongest * 1.05], "xaxis2_range": [0, most * 1.05]}
    figures = [_predicted_figure(readings)]
    for when, reading in zip(("Before, ", "After, ") if after else ("",), readings, strict=True):
        title = f"{when}token by token".capitalize()
        new = new_tokens(before, reading)
        figure = _token_figure(reading, title, new=new, emotions=emotions, largest=largest)
        figures.append(figure.update_layout(scales))
    return figures


def _predicted_figure(readings: Sequence[Reading]) -> go.Figure:
    emotions = likeliest(readings, SHOWN_EMOTIONS)
    names = [EMOTIONS[k] for k in emotions]
    traces = []
    for when, reading in zip(("before", "after"), readings, strict=False):
        for who, found in reading.probabilities.items():
            name = who if len(readings) == 1 else f"{who}, {when}"
            traces.append(_trace(f"{who} {when}", found[emotions].tolist(), names, name=name))
    alt = f"Predicted: {_listed(names, readings[-1].probabilities['student'][emotions])}"
    return _figure("predicted", alt, traces)


def _token_figure(
    reading: Reading, title: str, *, new: Sequence[bool], emotions: Sequence[int], largest: float
) -> go.Figure:
    """Intensity, pooling weights, and a map of inclinations in [-largest, largest] side by side."""
    places = list(range(len(reading.tokens)))
    labels = [label(token) for token in reading.tokens]
    tips = [_token_tip(reading, place) for place in places]
    bars = {"intensity": reading.intensity}
    bars |= {f"pooling, {who}": reading.pooling[who] for who in reversed(reading.pooling)}
    traces = [_trace(name, x.tolist(), places, hovertext=tips) for name, x in bars.items()]
    names = [EMOTIONS[k] for k in emotions]
    columns = list(range(len(names)))
    if reading.inclination is not None:
        heat = _trace("map", columns, places, z=reading.inclination[:, emotions].tolist())
        heat |= {"zmin": -largest, "zmax": largest}
        heat["customdata"] = [[f"{word} · {name}" for name in names] for word in labels]
        traces.append(heat)
    attended = [reading.tokens[k] for k in np.argsort(-reading.pooling["student"])[:5]]
    alt = f"{title}. The student attends most to: {', '.join(attended)}"
    rows = []
    for word, known, is_new in zip(labels, reading.known, new, strict=True):
        marked = word if known else f"{word} ?"
        rows.append(f"<b>{marked}</b>" if is_new else marked)
    layout = {"title_text": title, "height": 170 + 18 * max(len(places), 4)}
    layout["yaxis"] = {"range": [len(places) - 0.5, -0.5], "tickvals": places, "ticktext": rows}
    layout["xaxis3"] = {"tickvals": columns, "ticktext": names}
    return _figure("tokens", alt, traces, **layout)


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
        bars = _trace("student before", emotions.values(), emotions)
        alt = f"Predicted: {_listed(emotions, emotions.values())}"
        title = f"Predicted emotions<br><sup>{shown(name)}</sup>"
        figures.append(_figure("answer's emotions", alt, [bars], title_text=title))
    return figures


def _origin_figure(found: Answered, name: str) -> go.Figure:
    places = list(range(len(found.tokens)))
    words = ["(end)" if token.word == "<eos>" else label(token.word) for token in found.tokens]
    tips = []
    for token, word in zip(found.tokens, words, strict=True):
        source = f", most from place {token.source}" if token.source else ""
        lines = [f"{word}: {token.generated + token.copied:.3f}", f"alpha {token.alpha:.3f}"]
        tips.append("<br>".join([*lines, f"copied {token.copied_share:.0%}{source}"]))
    traces = [
        _trace(part, places, [getattr(token, part) for token in found.tokens], hovertext=tips)
        for part in ("generated", "copied", "alpha")
    ]
    copied = ", ".join(token.word for token in found.copied) or "none"
    alt = f"Words of the answer of {name}. Copied: {copied}"
    title = f"Generate or copy?<br><sup>{shown(name)}</sup>"
    axis = {"tickvals": places, "ticktext": words}
    return _figure("origin", alt, traces, title_text=title, xaxis=axis)
