"""What an inference is, and how annotators' and models' tails become phrases."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

RELATIONS = ("xIntent", "xNeed", "xWant", "xEffect", "xReact")
MAX_PHRASES = 5

Inference = dict[str, list[str]]  # relation -> at most MAX_PHRASES phrases


def empty_inference() -> Inference:
    """An inference that says nothing."""
    return {relation: [] for relation in RELATIONS}


# Annotators were asked about PersonX; some files put first names in the place of the placeholders.
_X, _Y = r"(?:person ?x|john)", r"(?:person ?y|tom)"
_PERSON_RULES = [
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
    )
]
_SAY_NOTHING = (
    "|none|at all|nan|n/a|na|nil|null|no|nothing|no effect|no one|unknown|not applicable|to|it|them|their|someone|"
    "someone's|someone else|someone else's"
)
_NOTHING = frozenset(_SAY_NOTHING.split("|"))
QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "`": "'"})


@lru_cache(maxsize=1 << 18)
def clean_phrase(text: str) -> str:
    """Bring an annotator's or a model's tail into the form that the model reads; empty when it says nothing.

    Lower-case ASCII; PersonX as the subject is left out and is "them" elsewhere, PersonY is "someone"; a leading "to",
    blanks ("___") and marks at the ends go; "none" and its like become nothing.
    """
    text = (
        unicodedata.normalize("NFKD", text.translate(QUOTES))
        .encode("ascii", "ignore")
        .decode()
        .lower()
    )
    text = " ".join(re.sub(r"_+|\[gen\]|<[^<>]*>", " ", text).split()).strip(" .,;:!?\"'*-/()")
    for pattern, replacement in _PERSON_RULES:
        text = pattern.sub(replacement, text)
    text = re.sub(r"^(?:(?:to|none) +)+", "", text)
    text = text.strip(" .,;:!?\"'*-/()")
    return "" if text in _NOTHING or not re.search("[a-z]{2}", text) else text


def clean_phrases(texts: Iterable[str]) -> list[str]:
    """The first `MAX_PHRASES` distinct phrases that say something."""
    phrases: dict[str, None] = {}
    for text in texts:
        if phrase := clean_phrase(text):
            phrases[phrase] = None
            if len(phrases) == MAX_PHRASES:
                break
    return list(phrases)
