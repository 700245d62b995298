"""Phrases of annotators and models in the form that the model reads."""

import re
import tomllib
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from ctsm_lib.knowledge import MAX_PHRASES

WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
QUOTES = str.maketrans("\u2018\u2019\u201c\u201d`", "''\"\"'")
_RULES = [(re.compile(pattern), replacement) for pattern, replacement in WORDS["phrase_rules"]]
_NOTHING = frozenset(WORDS["no_phrase"])
_MARKS = " .,;:!?\"'*-/()"


@lru_cache(maxsize=1 << 18)
def clean_phrase(text: str) -> str:
    """An annotator's or a model's text in the form that the model reads; "" if it tells nothing.

    Lower-case ASCII. PersonX is left out as the subject and is "them" elsewhere; PersonY is
    "someone". A leading "to", blanks ("___"), marks at the ends, "none" and the like are removed.
    """
    text = unicodedata.normalize("NFKD", text.translate(QUOTES))
    text = text.encode("ascii", "ignore").decode().lower()
    text = " ".join(re.sub(r"_+|\[gen\]|<[^<>]*>", " ", text).split()).strip(_MARKS)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = text.strip(_MARKS)
    return text if text not in _NOTHING and re.search("[a-z]{2}", text) else ""


def clean_phrases(texts: Iterable[str]) -> list[str]:
    """The first `MAX_PHRASES` distinct phrases that are not empty."""
    return list(dict.fromkeys(filter(None, map(clean_phrase, texts))))[:MAX_PHRASES]
