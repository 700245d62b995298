"""Words of phrases and utterances: phrases as the model reads them; clauses and stems to compare.

The lists of words and the rules are in `words.toml`.
"""

import itertools
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ctsm_lib.dialogues import normalize, tokenizers
from ctsm_lib.knowledge import MAX_PHRASES

WORDS: Any = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
WEIGHTS = SimpleNamespace(**WORDS["weights"])
_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d`", "''\"\"'")
_MARKS = " .,;:!?\"'*-/()"
_STOP, _STATE_VERBS, _PRONOUNS, _PARTICIPLES = (
    frozenset(WORDS[name].split()) for name in ("stop", "state_verbs", "pronouns", "participles")
)
_FORMS = [group.split() for group in WORDS["forms"].split("|")]
_BASES = {form: base for base, *forms in _FORMS for form in forms}
_SUBJECTS = {word: weight for weight, words in WORDS["subjects"] for word in words.split()}
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_CLAUSE = re.compile(
    rf"[,;:()\-]+ +|\.\.+|\s(?=(?:{'|'.join(WORDS['conjunctions'].split())}) )", re.IGNORECASE
)


@lru_cache(maxsize=1 << 18)
def clean_phrase(text: str) -> str:
    """An annotator's or a model's text in the form that the model reads; "" if it tells nothing.

    Lower-case ASCII. PersonX is left out as the subject and is "them" elsewhere; PersonY is
    "someone". A leading "to", blanks ("___"), marks at the ends, "none" and the like are removed.
    """
    text = unicodedata.normalize("NFKD", text.translate(_QUOTES))
    text = text.encode("ascii", "ignore").decode().lower()
    text = " ".join(re.sub(r"_+|\[gen\]|<[^<>]*>", " ", text).split()).strip(_MARKS)
    text = _rewritten(text, "phrase_rules").strip(_MARKS)
    return text if text not in WORDS["no_phrase"] and re.search("[a-z]{2}", text) else ""


def clean_phrases(texts: Iterable[str]) -> list[str]:
    """The first `MAX_PHRASES` distinct phrases that are not empty."""
    return list(dict.fromkeys(filter(None, map(clean_phrase, texts))))[:MAX_PHRASES]


def _rewritten(text: str, rules: str) -> str:
    for pattern, replacement in WORDS[rules]:
        text = re.sub(pattern, replacement, text)
    return text


@cache
def _stemmer() -> Any:
    from nltk.stem import PorterStemmer  # takes seconds; a start from the cache does not need it

    return PorterStemmer()


@cache
def _stems(name: str) -> frozenset[str]:
    return frozenset(map(_stemmer().stem, WORDS[name].split()))


@lru_cache(maxsize=1 << 17)
def _stem(word: str, state: bool) -> str:
    """The form in which a word is compared; empty for a word that is not compared."""
    if word.endswith("n't"):
        return "not"
    word = word.split("'")[0]
    if word in _STOP:
        return ""
    base = _BASES.get(word, word)
    stem: str = _stemmer().stem(base)
    feeling = base.endswith(("ed", "ing")) and stem in _stems("feeling_verbs")
    passive = state and (word.endswith("ed") or word in _PARTICIPLES)
    return f"{stem}=" if feeling or passive else stem


def words_of(text: str) -> list[str]:
    """Words in lower case, contractions written out."""
    return _WORD.findall(_rewritten(normalize(text.translate(_QUOTES)), "idioms"))


def stems_of(words: Iterable[str]) -> list[str]:
    """Stems of a sentence's words; a participle that follows "was", "felt", ... ends in "="."""
    stems = []
    state = False
    for word in words:
        stem = _stem(word, state)
        if stem:
            stems.append(stem)
        if word in _STATE_VERBS:
            state = True
        elif word in _PRONOUNS or (stem and stem != "not" and not word.endswith("ly")):
            state = False  # "so I left" begins a new clause; "not" and adverbs do not
    return stems


def is_feeling(stem: str) -> bool:
    """True for the stem of a word that names a feeling."""
    verb = stem.removesuffix("=")
    return stem in _stems("feelings") or (verb != stem and verb in _stems("feeling_verbs"))


def negated(stems: Iterable[str]) -> bool:
    """True for stems of something that does not happen."""
    return not {"not", "never", "no"}.isdisjoint(stems)


def features(stems: Sequence[str]) -> list[str]:
    """Stems and pairs of neighbouring ones."""
    return [*stems, *map(" ".join, itertools.pairwise(stems))]


def subject_weight(words: Sequence[str]) -> float:
    """Weight of a clause by its subject: 1 where the speaker acts, less where others do."""
    weight = next((_SUBJECTS[word] for word in words[:4] if word in _SUBJECTS), 1.0)
    return 0.55 if weight < 1 and not {"me", "us"}.isdisjoint(words) else weight


def segments_of(text: str) -> list[str]:
    """The sentences of an utterance, and the clauses of sentences that have several."""
    segments = []
    for sentence in tokenizers()[0].tokenize(text):
        clauses = [clause for clause in _CLAUSE.split(sentence) if clause.strip()]
        segments += [sentence, *clauses] if len(clauses) > 1 else [sentence]
    return segments or [""]
