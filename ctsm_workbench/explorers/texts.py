"""The reports in words, as HTML. Nothing that was typed or read acts as markup.

`texts.html` holds the words, as Jinja macros; Jinja escapes all values.
"""

import base64
import html
import json
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.polarity import NO_STATE
from ctsm_workbench.explorers.answer import Conversation
from ctsm_workbench.explorers.context import Reading, likeliest, moved, new_tokens
from ctsm_workbench.explorers.word import STATES, WordReport

POLARITIES = {1: "positive", 0: "negative", NO_STATE: "unknown: no vector"}
LONGEST_LABEL = 24  # characters

_SOURCE = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
_NAMES = {"EMOTIONS": EMOTIONS, "STATES": STATES, "POLARITIES": POLARITIES, "NO_STATE": NO_STATE}
_ENVIRONMENT = Environment(
    autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_MACROS: Any = _ENVIRONMENT.from_string(_SOURCE, globals=_NAMES).module


def shown(text: object) -> str:
    """Text as HTML and plotly show it: markup in it has no effect."""
    return html.escape(str(text), quote=True)


def label(word: str) -> str:
    """A word as a label in a figure, cut to `LONGEST_LABEL`."""
    return shown(word if len(word) <= LONGEST_LABEL else word[: LONGEST_LABEL - 1] + "…")


def warning(text: str) -> str:
    """An error or a notice."""
    return str(_MACROS.warning(text))


def word_text(report: WordReport) -> str:
    """The polarities of a word, or words that are spelled alike."""
    return str(_MACROS.word(report))


def occurrence_text(report: WordReport) -> str:
    """The number of occurrences of a word, their labels, and quotations."""
    return str(_MACROS.occurrences(report)) if report.known else ""


def context_text(before: Reading, after: Reading | None = None, gold: str = "") -> str:
    """The predicted emotions, the dialogue's gold label, the change, and warnings."""
    readings = [before] if after is None else [before, after]
    first, second = (reading.probabilities["student"] for reading in (before, readings[-1]))
    marks = zip(readings[-1].tokens, new_tokens(before, readings[-1]), strict=True)
    return str(
        _MACROS.context(
            first=first,
            second=second,
            likely=likeliest([before], 3),
            changed=np.argsort(-np.abs(second - first), kind="stable")[:4].tolist(),
            moved={who: moved(before, after, who) for who in before.probabilities} if after else {},
            new=[token for token, new in marks if new],
            cut=[reading.cut for reading in readings],
            unread=sorted({token for reading in readings for token in reading.unread}),
            gold=gold,
            without_state=before.inclination is None,
        )
    )


def transcript(talk: Conversation, column: int) -> str:
    """One column's run and conversation; in the last answer, copied words are tinted."""
    return str(_MACROS.conversation(talk, column))


def save_link(value: dict) -> str:
    """A link with which the browser saves a value as a JSON file."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return str(_MACROS.download(base64.b64encode(text.encode("utf-8")).decode("ascii")))
