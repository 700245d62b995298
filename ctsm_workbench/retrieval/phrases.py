"""Phrases of annotators and models in the form that the model reads."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from ctsm_lib.knowledge import MAX_PHRASES

QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "`": "'"})

# Annotators were asked about PersonX; some files have first names in place of the placeholders.
_X = r"(?:person ?x|john)"
_Y = r"(?:person ?y|tom)"
_RULES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"^(?:that )?{_X} (?:is|was|feels|felt) (?=\S)", ""),  # "PersonX is happy" -> "happy"
        (rf"^{_X} (?=\S)", ""),  # "PersonX smiles" -> "smiles"
        (rf"\b(?:{_X}|x)(?:'s|s')(?!\w)", "their"),
        (rf"\b{_X}s (?=[a-z])", "their "),
        (rf"\b(?:{_X}|(?<![\w'-])x(?![\w'-]))(?!\w)", "them"),
        (rf"\b(?:{_Y}|y)'s?(?!\w)", "someone's"),
        (rf"\b{_Y}s (?=[a-z])", "someone's "),
        (rf"\b(?:{_Y}|(?<![\w'-])y(?![\w'-]))(?!\w)", "someone"),
        (r"\bperson ?z'?s\b", "someone else's"),
        (r"\bperson ?z\b", "someone else"),
        (r"^(?:(?:to|none) +)+", ""),  # "to go home" -> "go home"
    )
]
_EMPTY = (
    "|none|at all|nan|n/a|na|nil|null|no|nothing|no effect|no one|unknown|not applicable|to|it|them"
    "|their|someone|someone's|someone else|someone else's"
)
_NOTHING = frozenset(_EMPTY.split("|"))
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
    return "" if text in _NOTHING or not re.search("[a-z]{2}", text) else text


def clean_phrases(texts: Iterable[str]) -> list[str]:
    """The first `MAX_PHRASES` distinct phrases that are not empty."""
    return list(dict.fromkeys(filter(None, map(clean_phrase, texts))))[:MAX_PHRASES]
