"""Analysis: trait and state polarity, contexts, Tables 1 and 3, files of answers.

The sentences about results are in `sentences.toml`.
"""

import tomllib
from pathlib import Path
from typing import Any

_TEXTS = tomllib.loads(Path(__file__).with_name("sentences.toml").read_text(encoding="utf-8"))


def sentence(part: str, name: str, /, **values: Any) -> str:
    """The sentence `name` of a part of the study, with these values filled in."""
    return _TEXTS[part][name].format(**values)
