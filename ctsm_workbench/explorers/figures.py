"""The reports as texts in HTML, and as plotly figures, each with a text alternative.

`texts.html` holds the words, as Jinja macros. Jinja escapes all values: nothing that was typed or
read acts as markup. `figures.json` holds layouts and traces, and "$blue" stands for a colour of the
house style. Labels are placed by number, since shortened labels may repeat.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.polarity import NO_STATE
from ctsm_workbench.explorers import conversations
from ctsm_workbench.explorers.conversations import Answered, Reading, likeliest, new_tokens
from ctsm_workbench.explorers.word import STATES, WordReport
from ctsm_workbench.pictures.house import BLUE, COLOURS, INK, ORANGE, template

HERE = Path(__file__).parent
_TEXT = (HERE / "figures.json").read_text("utf-8")
_STYLES = json.loads(Template(_TEXT).substitute(COLOURS))
SHOWN_EMOTIONS = 8
POLARITIES = {1: "positive", 0: "negative", NO_STATE: "unknown: no vector"}
TRAITS = {1: (BLUE, "positive"), 0: (ORANGE, "negative"), None: (INK, "not rated")}
LONGEST_LABEL = 24  # characters


def label(word: str) -> Markup:
    """A word as a label in a figure, cut to `LONGEST_LABEL`: markup in it has no effect."""
    return escape(word if len(word) <= LONGEST_LABEL else word[: LONGEST_LABEL - 1] + "…")


_ENV = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_ENV.filters["label"] = label
_ENV.globals |= {"STATES": STATES, "POLARITIES": POLARITIES, "NO_STATE": NO_STATE}
_HELPERS = ("EMOTIONS", "likeliest", "moved", "most_changed", "new_tokens")
_ENV.globals |= {"zip": zip} | {name: getattr(conversations, name) for name in _HELPERS}
_MACROS: Any = _ENV.from_string((HERE / "texts.html").read_text("utf-8")).module


def in_words(macro: str, *values: Any) -> str:
    """The HTML that a macro of `texts.html` makes from its values."""
    return str(getattr(_MACROS, macro)(*values))


def _trace(style: str, x: Iterable, y: Iterable, **more: Any) -> dict:
    return _STYLES["traces"][style] | {"x": list(x), "y": list(y)} | more


def _figure(kind: str, alt: str, traces: list[dict], **layout: Any) -> dict:
    """A figure of plotly.js. The house style is added last, since plotly takes long to check it."""
    figure = go.Figure(traces, layout={"meta": {"alt": alt}})
    for part in (_STYLES["layouts"]["every figure"], _STYLES["layouts"][kind], layout):
        figure.update_layout(part)
    drawn = figure.to_plotly_json()
    return drawn | {"layout": drawn["layout"] | {"template": template()}}


def _listed(names: Iterable[str], values: Iterable[float], form: str = ".2f") -> str:
    return ", ".join(f"{name} {value:{form}}" for name, value in zip(names, values, strict=True))


def _bars(kind: str, about: str, rows: list[tuple], form: str = ".2f", **layout: Any) -> dict:
    """Bars beside their values. A row has a name, a value, a tip and a colour."""
    names, values, tips, colours = map(list, zip(*rows, strict=True))
    places = list(range(len(rows)))
    text = [f"{value:{form}}" for value in values]
    # Short bars to both sides of 0 hold no number.
    look = {"text": text, "textposition": "outside" if kind == "polarity" else "auto"}
    bars = _trace("bars with values", values, places, hovertext=tips, marker_color=colours, **look)
    layout = {"yaxis": {"tickvals": places, "ticktext": list(map(label, names))}} | layout
    return _figure(kind, f"{about}: {_listed(names, values, form)}", [bars], **layout)


def word_figures(report: WordReport) -> list[dict]:
    """Bars of a word's ratings, of its polarities, and of its nearest words."""
    values = dict(zip(("valence", "arousal", "dominance"), report.vad, strict=True))
    values |= {"intensity": report.intensity, "IDF": report.idf}
    known = BLUE if report.rated else INK
    rows = [(n, v, f"{v:.3f}", ORANGE if n == "IDF" else known) for n, v in values.items()]
    title = f"Values of “{label(report.word)}”{'' if report.rated else ' (not rated: neutral)'}"
    reach = [min(0, *values.values()), 1.05]
    figures = [_bars("ratings", report.word, rows, title_text=title, xaxis_range=reach)]
    if report.known:
        trait = 2 * report.vad[0] - 1 if report.rated else 0.0
        tips = {"trait": (trait, f"valence {report.vad[0]:.3f}")}
        for key, name in STATES.items():
            margin, share, polarity = report.states[key]
            tips[name] = (share, f"margin {margin:+.4f}<br>1: the largest of all words")
            if polarity == NO_STATE:
                tips[name] = (0.0, POLARITIES[NO_STATE])
        rows = [(n, v, tip, BLUE if v > 0 else ORANGE) for n, (v, tip) in tips.items()]
        labels = {"yaxis_ticktext": [name.replace(", ", ",<br>") for name in tips]}
        figures.append(_bars("polarity", f"Polarity of {report.word}", rows, "+.2f", **labels))
    if report.nearest:
        rows = []
        for name, value, side in report.nearest:
            colour, rating = TRAITS[side]
            rows.append((name, value, f"cosine {value:.3f}, {rating}", colour))
        reach = [min(0.0, *(value for _, value, _ in report.nearest)), 1.0]
        figures.append(_bars("nearest", f"Nearest to {report.word}", rows, xaxis_range=reach))
    return figures


def context_figures(before: Reading, after: Reading | None = None, count: int = 12) -> list[dict]:
    """The predicted emotions of both readings in one figure, and the tokens of each.

    The map shows the likeliest `count` emotions, or all 32 in their usual order.
    """
    readings = [before] if after is None else [before, after]
    emotions = likeliest(readings, count) if count < len(EMOTIONS) else list(range(count))
    # Both readings have the same scales, so that bars and colours can be compared.
    intensities = np.concatenate([reading.intensity for reading in readings]).tolist()
    most = max(float(weights.max()) for reading in readings for weights in reading.pooling.values())
    maps = [r.inclination[:, emotions] for r in readings if r.inclination is not None]
    largest = max((float(np.abs(values).max()) for values in maps), default=1.0)
    scales = {"xaxis_range": [min(0.0, *intensities), max(0.1, *intensities) * 1.05]}
    scales["xaxis2_range"] = [0, most * 1.05]
    predicted = []
    figures = []
    shown = likeliest(readings, SHOWN_EMOTIONS)
    names = [EMOTIONS[k] for k in shown]
    for when, reading in zip(("before", "after"), readings, strict=False):
        suffix = f", {when}" if after else ""
        for who, found in reading.probabilities.items():
            bars = _trace(f"{who} {when}", found[shown].tolist(), names, name=f"{who}{suffix}")
            predicted.append(bars)
        title = (f"{when}, " * bool(after) + "token by token").capitalize()
        new = new_tokens(before, reading)
        figures.append(_tokens(reading, emotions, largest, new=new, title_text=title, **scales))
    alt = f"Predicted: {_listed(names, readings[-1].probabilities['student'][shown])}"
    return [_figure("predicted", alt, predicted), *figures]


def _tokens(
    reading: Reading, emotions: Sequence[int], largest: float, *, new: Sequence[bool], **layout: Any
) -> dict:
    """Intensity, pooling weights, and a map of inclinations in [-largest, largest] side by side."""
    places = list(range(len(reading.tokens)))
    tips = [in_words("token_tip", reading, place) for place in places]
    bars = {"intensity": reading.intensity}
    bars |= {f"pooling, {who}": reading.pooling[who] for who in reversed(reading.pooling)}
    traces = [_trace(name, x.tolist(), places, hovertext=tips) for name, x in bars.items()]
    labels = list(map(label, reading.tokens))
    names = [EMOTIONS[k] for k in emotions]
    columns = list(range(len(names)))
    if reading.inclination is not None:
        tips_of_map = [[f"{word} · {name}" for name in names] for word in labels]
        heat = _trace("map", columns, places, z=reading.inclination[:, emotions].tolist())
        traces.append(heat | {"zmin": -largest, "zmax": largest, "customdata": tips_of_map})
    marked = [word + " ?" * (not known) for word, known in zip(labels, reading.known, strict=True)]
    rows = [f"<b>{word}</b>" if is_new else word for word, is_new in zip(marked, new, strict=True)]
    layout |= {"height": 170 + 18 * max(len(places), 4)}
    layout |= {"yaxis": {"range": [len(places) - 0.5, -0.5], "tickvals": places, "ticktext": rows}}
    layout |= {"xaxis3": {"tickvals": columns, "ticktext": names}}
    attended = [reading.tokens[k] for k in np.argsort(-reading.pooling["student"])[:5]]
    alt = f"{layout['title_text']}. The student attends most to: {', '.join(attended)}"
    return _figure("tokens", alt, traces, **layout)


def answer_figures(found: Answered, name: str) -> list[dict]:
    """The origin of each word, and the predicted emotions, where the model predicts any."""
    below = f"<br><sup>{escape(name)}</sup>"
    places = list(range(len(found.tokens)))
    tips = [in_words("word_tip", token) for token in found.tokens]
    traces = [
        _trace(part, places, [getattr(token, part) for token in found.tokens], hovertext=tips)
        for part in ("generated", "copied", "alpha")
    ]
    words = [label(token.word.replace("<eos>", "(end)")) for token in found.tokens]
    look = {"title_text": f"Generate or copy?{below}", "xaxis_tickvals": places}
    copied = ", ".join(token.word for token in found.copied) or "none"
    alt = f"Words of the answer of {name}. Copied: {copied}"
    figures = [_figure("origin", alt, traces, xaxis_ticktext=words, **look)]
    if emotions := dict(list(found.response.emotions.items())[:SHOWN_EMOTIONS]):
        bars = _trace("student before", emotions.values(), emotions)
        alt = f"Predicted: {_listed(emotions, emotions.values())}"
        title = f"Predicted emotions{below}"
        figures.append(_figure("answer's emotions", alt, [bars], title_text=title))
    return figures
