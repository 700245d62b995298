"""The reports in words, as HTML. Nothing that was typed or read acts as markup.

`texts.html` holds the words, as Jinja macros; Jinja escapes all values.
"""

import base64
import html
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.polarity import NO_STATE
from ctsm_workbench.explorers import context
from ctsm_workbench.explorers.word import STATES

POLARITIES = {1: "positive", 0: "negative", NO_STATE: "unknown: no vector"}
LONGEST_LABEL = 24  # characters


def short(word: str) -> str:
    """A word as a label in a figure, cut to `LONGEST_LABEL`."""
    return word if len(word) <= LONGEST_LABEL else word[: LONGEST_LABEL - 1] + "…"


def label(word: str) -> str:
    """`short` as plotly shows it: markup in it has no effect."""
    return html.escape(short(word))


def _base64_json(value: dict) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


_ENVIRONMENT = Environment(
    autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.filters |= {"short": short, "base64_json": _base64_json}
_ENVIRONMENT.globals |= {"EMOTIONS": EMOTIONS, "STATES": STATES, "POLARITIES": POLARITIES}
_ENVIRONMENT.globals |= {"NO_STATE": NO_STATE, "zip": zip} | vars(context)
_SOURCE = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
_MACROS: Any = _ENVIRONMENT.from_string(_SOURCE).module


def in_words(macro: str, *values: Any) -> str:
    """What a macro of `texts.html` makes of its values, as HTML."""
    return str(getattr(_MACROS, macro)(*values))
