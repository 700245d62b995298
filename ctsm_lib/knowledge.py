"""Commonsense inferences for an utterance: what its speaker intends, needs, wants, undergoes and feels.

Paper: Sec. 3.2. Three providers answer behind one interface: `comet` generates (COMET-ATOMIC-2020 BART), `atomic`
retrieves what people wrote about the nearest ATOMIC / Event2Mind events, `none` says nothing. Answers are kept on disk,
keyed by provider and text.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import re
import sqlite3
import time
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from nltk.stem import PorterStemmer
from scipy import sparse
from scipy.sparse.linalg import norm
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize
from tqdm import tqdm

from ctsm_lib.cache import digest, file_fingerprint
from ctsm_lib.corpus import CONTRACTIONS, _tokenizers
from ctsm_lib.errors import ConfigError, CtsmError, DataError

log = logging.getLogger(__name__)

RELATIONS = ("xIntent", "xNeed", "xWant", "xEffect", "xReact")
MAX_PHRASES = 5
PROVIDERS = ("comet", "atomic", "none")
DEFAULT_COMET = "mismayil/comet-bart-ai2"

Inference = dict[str, list[str]]  # relation -> at most MAX_PHRASES phrases

ATOMIC_VERSION, COMET_VERSION = 2, 1  # raise when a provider's answer to the same text changes


class Provider(Protocol):
    """Anything that can say what lies behind an utterance.

    Attributes:
        name: "comet", "atomic" or "none".
        fingerprint: identity of what it reads, its settings and the version of this code.
    """

    name: str
    fingerprint: str

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """One inference a text, in the order of the texts; every relation is present, perhaps with an empty list."""
        ...


def provider_for(
    name: str, folder: Path | None, *, comet_model: str = DEFAULT_COMET, device: object = "cpu"
) -> Provider:
    """Make a provider by its name.

    Args:
        name: "comet", "atomic" or "none".
        folder: holds the ATOMIC / Event2Mind files; only `atomic` reads it.
        comet_model: hub id or local folder of a COMET BART; only `comet` reads it.
        device: what torch calls a device; only `comet` uses it.

    Raises:
        ConfigError: there is no such provider.
        DataError: `atomic` finds nothing to read.
    """
    if name == "none":
        return NoKnowledge()
    if name == "atomic":
        if folder is None:
            raise DataError(
                "knowledge=atomic needs a folder with ATOMIC files; without one use `--set knowledge=none`."
            )
        return AtomicRetrieval(folder)
    if name == "comet":
        return Comet(comet_model, device)
    raise ConfigError(f"knowledge={name!r} does not exist; valid are {', '.join(PROVIDERS)}.")


def empty_inference() -> Inference:
    """An inference that says nothing."""
    return {relation: [] for relation in RELATIONS}


class NoKnowledge:
    """Says nothing, so that the model falls back on its learned vector of each relation."""

    name = "none"
    fingerprint = "none"

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """Empty lists for every text."""
        return [empty_inference() for _ in texts]


# ---------------------------------------------------------------------------------------------------------------------
# Phrases
# ---------------------------------------------------------------------------------------------------------------------

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
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "`": "'"})


@lru_cache(maxsize=1 << 18)
def clean_phrase(text: str) -> str:
    """Bring an annotator's or a model's tail into the form that the model reads; empty when it says nothing.

    Lower-case ASCII; PersonX as the subject is left out and is "them" elsewhere, PersonY is "someone"; a leading "to",
    blanks ("___") and marks at the ends go; "none" and its like become nothing.
    """
    text = unicodedata.normalize("NFKD", text.translate(_QUOTES)).encode("ascii", "ignore").decode().lower()
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


# ---------------------------------------------------------------------------------------------------------------------
# Retrieval
# ---------------------------------------------------------------------------------------------------------------------


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words that say nothing about what happened. Unlike scikit-learn's list it keeps negations ("not", "never"), particles
# that change a verb ("up", "off") and whatever can carry a feeling ("alone", "cry", "serious").
_STOP = _set(
    "a an the this that these those i me my mine myself we us our ours ourselves you your yours yourself he him his "
    "himself she her hers herself it its itself they them their theirs themselves one ones someone somebody something "
    "everything anything who whom whose which what when where why how am is are was were be been being do does did "
    "doing done have has had having will would shall should can could may might must of at by for with about into "
    "through to from in on as than then so and or but if because while until since after before there here just very "
    "really too also some any such own same other another each all both more most many much s t d ll m re ve quite "
    "rather actually basically literally pretty lot lots bit kind sort well oh yes yeah yea yep ok okay hi hello hey "
    "um uh lol haha thanks thank today yesterday tomorrow tonight now ever even still already recently lately soon "
    "only almost always usually sometimes finally however though although maybe probably definitely know think "
    "thought guess mean like want seem thing things stuff way day days week weeks weekend month months year years "
    "hour hours minute minutes ago time times last next couple few two three sure true yet again anyway wow luckily "
    "exactly totally let yup im ive id everyone everybody people"
)
_FORMS = """
    become became|begin began begun|bend bent|bite bit bitten|bleed bled|blow blew blown|break broke broken|
    bring brought|build built|burn burnt|buy bought|catch caught|choose chose chosen|come came|creep crept|
    deal dealt|dig dug|draw drew drawn|dream dreamt|drink drank drunk|drive drove driven|eat ate eaten|
    fall fell fallen|feed fed|feel felt|fight fought|find found|flee fled|fly flew flown|
    forget forgot forgotten|forgive forgave forgiven|freeze froze frozen|get got gotten|give gave given|
    go goes went gone|grow grew grown|hang hung|hear heard|hide hid hidden|hold held|keep kept|lay laid|
    lead led|lean leant|learn learnt|leave left|lend lent|lie lied lying|light lit|lose lost loses losing|
    make made|meet met|pay paid|ride rode ridden|ring rang rung|rise rose risen|run ran|say said|
    see saw seen|seek sought|sell sold|send sent|shake shook shaken|shine shone|shoot shot|show shown|
    shrink shrank shrunk|sing sang sung|sink sank sunk|sit sat|sleep slept|slide slid|smell smelt|
    sneak snuck|speak spoke spoken|speed sped|spend spent|spill spilt|spin spun|stand stood|
    steal stole stolen|stick stuck|sting stung|strike struck|swear swore sworn|sweep swept|swim swam swum|
    swing swung|take took taken|teach taught|tear tore torn|tell told|throw threw thrown|
    understand understood|wake woke woken awoke|wear wore worn|weep wept|win won|wind wound|
    write wrote written|die dying dead|child children kid kids|man men|woman women|person people|foot feet|
    tooth teeth|wife wives|mouse mice|
    not cannot nt dont didnt doesnt cant wont isnt wasnt couldnt wouldnt havent hadnt|mother mom mum mommy mama|
    father dad daddy|grandmother grandma|grandfather grandpa|marry marriage wed wedding|lonely loneliness|
    anger angry mad|sad sadness|happy happiness|scared scary|terrified terror|frightened fright|television tv|
    phone cellphone|exam test|bike bicycle
    """
_IRREGULAR = {form: base for line in _FORMS.split("|") for base, *forms in [line.split()] for form in forms}
_stemmer = PorterStemmer()
# "I was robbed" is not "I robbed", "is annoyed" not "annoys": a participle after one of these is a state.
_STATE_VERBS = _set(
    "am is are was were be been being get gets got getting gotten feel feels felt feeling become becomes became "
    "becoming seem so very too"
)
_PRONOUNS = _set("i we he she they you it")
_PARTICIPLES = _set(
    "broken bitten caught cut driven eaten forgotten forgiven frozen given hurt hit held left lost let made paid put "
    "shot shaken stolen stuck sworn taken taught told torn thrown worn beaten set hung stung struck burnt won"
)
# What is annoying makes one annoyed: these verbs' participles are a state everywhere.
_FEELING_VERBS = frozenset(
    _stemmer.stem(verb)
    for verb in _set(
        "amaze amuse annoy astonish bore comfort confuse depress devastate disappoint disgust embarrass "
        "excite exhaust fascinate frighten frustrate humiliate impress infuriate interest irritate overwhelm "
        "please relax relieve satisfy scare shock stress surprise terrify thrill tire worry"
    )
)
# Events of which one word is enough.
_FEELINGS = frozenset(
    _stemmer.stem(word)
    for word in _set(
        "afraid alone angry anxious ashamed brave calm cheerful cry eager furious glad grateful guilty happy "
        "hopeful jealous lonely nervous nostalgic proud sad sentimental sick sorry upset heartbroken"
    )
)
_CANNOT_WAIT = re.compile(r"\b(?:can ?not|can'?t) wait\b")  # no event of ATOMIC knows this idiom
_END_UP = re.compile(r"\bend(?:ed|s|ing)? up\b")  # what follows is what happened
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


@lru_cache(maxsize=1 << 17)
def _stem(word: str, state: bool) -> str:
    """The form in which a word is compared, empty for a word that is not."""
    if word.endswith("n't"):
        return "not"
    word = word.split("'")[0]
    if word in _STOP:
        return ""
    base = _IRREGULAR.get(word, word)
    stem: str = _stemmer.stem(base)
    feeling = base.endswith(("ed", "ing")) and stem in _FEELING_VERBS
    passive = state and (word.endswith("ed") or word in _PARTICIPLES)
    return f"{stem}=" if feeling or passive else stem


def _words(text: str) -> list[str]:
    text = text.lower().translate(_QUOTES)
    for short, long in CONTRACTIONS.items():
        if short in text:
            text = text.replace(short, long)
    return _WORD.findall(_END_UP.sub(" ", _CANNOT_WAIT.sub("am excited", text)))


def _stems(words: Iterable[str]) -> list[str]:
    """What is compared of a sentence's words; a participle that follows "was", "felt", ... ends in "="."""
    stems = []
    state = False
    for word in words:
        stem = _stem(word, state)
        if stem:
            stems.append(stem)
        begins_anew = word in _PRONOUNS  # "so I left"
        says_something = stem and stem != "not" and not word.endswith("ly")
        if word in _STATE_VERBS:
            state = True
        elif begins_anew or says_something:
            state = False
    return stems


def _is_feeling(stem: str) -> bool:
    return stem in _FEELINGS or (stem.endswith("=") and stem[:-1] in _FEELING_VERBS)


def _features(stems: Sequence[str]) -> list[str]:
    """Stems and pairs of neighbouring ones."""
    return [*stems, *map(" ".join, itertools.pairwise(stems))]


# Who does it? Inferences are about PersonX, so that a speaker who is not PersonX is to ask an event with caution.
_SELF, _MINE, _OTHER, _TO_ME, _YOU = range(5)
_SUBJECTS = {
    **dict.fromkeys(_set("i im we i'm i'll i'd i've me"), _SELF),
    **dict.fromkeys(_set("my our mine"), _MINE),
    **dict.fromkeys(_set("he she they his her their the someone somebody people everyone he's she's they're"), _OTHER),
    **dict.fromkeys(_set("you your you're"), _YOU),
}
_SUBJECT_WEIGHTS = np.array([1.0, 0.8, 0.75, 0.55, 0.6], dtype=np.float32)
_FEELING_WEIGHT = 1.6  # what a word of feeling counts, next to others
# TF-IDF lengths in units of the rarest word's weight, so that they hold for tables of every size:
_SHORT = 1.4  # of a sentence of two or three words
_ENOUGH = 0.95  # of the stems of an event that says enough
_VAGUE_WEIGHT = 0.8  # what an event of one word counts that is no feeling
_FELT_WEIGHT = 1.15  # what an event counts that names a feeling: whoever says how they feel is to be believed
_NEGATIONS = frozenset({"not", "never", "no"})
_NEGATION_WEIGHT = np.float32(0.55)  # where one of utterance and event is negated, and the other is not


def _subject(words: Sequence[str]) -> int:
    found = next((_SUBJECTS[word] for word in words[:4] if word in _SUBJECTS), _SELF)
    if found in (_MINE, _OTHER, _YOU) and not {"me", "us"}.isdisjoint(words):
        return _TO_ME
    return found


_CLAUSE = re.compile(
    r"[,;:()\-]+ +|\.\.+|\s(?=(?:but|because|so|and|when|while|since|after|before|if|that|who|which|cause|cuz|as) )",
    re.IGNORECASE,
)


def _segments(text: str) -> list[str]:
    """The sentences of an utterance, and the clauses of sentences that have several."""
    punkt, _ = _tokenizers()
    segments = []
    for sentence in punkt.tokenize(text):
        segments.append(sentence)
        clauses = [clause for clause in _CLAUSE.split(sentence) if clause.strip()]
        if len(clauses) > 1:
            segments += clauses
    return segments or [""]


_EVENT_PERSONS = re.compile(r"\b(?:person ?[xyz]|john|tom)(?:'s|s')?(?!\w)", re.IGNORECASE)


def _event_text(text: str) -> str:
    """An event without its placeholders: users say "I", so the persons are no part of what is compared."""
    return " ".join(re.sub(r"_+", " ", _EVENT_PERSONS.sub(" ", text)).lower().split()).strip(" .")


Event = tuple[str, ...]  # the stems of what happens, without persons
Tails = dict[Event, dict[str, Counter[str]]]  # event -> relation -> phrase -> how many annotators wrote it


def read_atomic(folder: Path) -> tuple[Tails, list[str]]:
    """Read every ATOMIC 2019 table and every Event2Mind file of a folder.

    Args:
        folder: `*.tsv` are tables with the columns split, head, relation, tail; `*.jsonl` hold one Event2Mind event a
            line. Files of COMET's generations are passed over.

    Returns:
        Events without persons, with the phrases that annotators gave; and one sentence for every row left out.

    Raises:
        DataError: the folder is missing or a file holds nothing valid.
    """
    paths = _atomic_paths(folder)
    tails: Tails = {}
    problems: list[str] = []
    for path in paths:
        found = [f"{path.name}:{number}: {reason}" for number, reason in _read_atomic_file(path, tails)]
        if found:
            log.warning("%s: %d malformed rows left out, first: %s", path.name, len(found), found[0])
        problems += found
    return tails, problems


def _atomic_paths(folder: Path) -> list[Path]:
    way_out = "Fetch the ATOMIC files, or go without with `--set knowledge=none`."
    if not folder.is_dir():
        raise DataError(f"{folder} is missing, and knowledge=atomic reads it. {way_out}")
    paths = [path for suffix in ("*.tsv", "*.jsonl") for path in sorted(folder.glob(suffix)) if not _generations(path)]
    if not paths:
        raise DataError(f"{folder} holds neither an ATOMIC table (*.tsv) nor an Event2Mind file (*.jsonl). {way_out}")
    return paths


def _generations(path: Path) -> bool:
    # What a model generated about ATOMIC-2020 is no human's tail.
    return path.suffix == ".jsonl" and "generations" in path.name


def _read_atomic_file(path: Path, tails: Tails) -> Iterator[tuple[int, str]]:
    """Add a file's rows to `tails`; yield line number and reason for every row left out."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
    first = 0
    columns: list[str] = []
    if path.suffix == ".tsv":
        columns = lines[0].rstrip("\r").split("\t")
        if not {"head", "relation", "tail"} <= set(columns):
            raise DataError(f"{path}:1: expected the columns split, head, relation, tail, found {lines[0][:100]!r}.")
        first = 1
    valid = 0
    problem = ""
    for number, line in enumerate(lines[first:], start=first + 1):
        line = line.rstrip("\r")
        if not line.strip():
            continue
        row = _table_row(line, columns) if columns else _json_row(line)
        if isinstance(row, str):
            problem = problem or f"; line {number}: {row}"
            yield number, row
            continue
        valid += 1
        event, found = row
        stems = tuple(_stems(_words(_event_text(event))))
        if not stems:
            continue
        for relation, phrases in found.items():
            for phrase in filter(None, map(clean_phrase, phrases)):
                tails.setdefault(stems, {}).setdefault(relation, Counter())[phrase] += 1
    if not valid:
        raise DataError(f"{path} has no valid row{problem}. Fetch it again, or go without with `--set knowledge=none`.")


Row = tuple[str, dict[str, list[str]]]  # event, relation -> tails as written


def _table_row(line: str, columns: list[str]) -> Row | str:
    fields = line.split("\t")
    if len(fields) != len(columns):
        return f"{len(fields)} columns where {len(columns)} belong"
    row = dict(zip(columns, fields, strict=True))
    if not row["head"].strip():
        return "the head is empty"
    if not re.fullmatch(r"[ox][A-Z][a-z]+", row["relation"]):
        return f"{row['relation'][:20]!r} is not a relation of ATOMIC"
    return row["head"], {row["relation"]: [row["tail"]]} if row["relation"] in RELATIONS else {}


def _json_row(line: str) -> Row | str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON ({error})"
    if not isinstance(row, dict) or not isinstance(row.get("event"), str) or not row["event"].strip():
        return "no event"
    found = {}
    for relation in ("xIntent", "xReact"):
        phrases = row.get(relation)
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
            return f"{relation} is not a list of phrases"
        found[relation] = phrases
    return row["event"], found


def _kind_weight(stems: Event) -> float:
    if any(map(_is_feeling, stems)):
        return _FELT_WEIGHT
    return _VAGUE_WEIGHT if len(stems) == 1 else 1.0


class EventIndex:
    """The events of a folder's files, weighed and ready to be compared.

    Attributes:
        names: the events' stems, joined.
        answers: for each event and each relation its phrases, the most frequent first.
        negated: whether an event is that something does not happen.
        content: how much an event says: "gets" little, "gets promoted" enough (1), a feeling a little more.
        matrix: [features, events], every event of length 1.
        problems: see `read_atomic`.

    Raises:
        DataError: see `read_atomic`.
    """

    def __init__(self, folder: Path):
        tails, self.problems = read_atomic(folder)
        if not tails:
            raise DataError(
                f"the files in {folder} say nothing about any event; fetch them again, or use `--set knowledge=none`."
            )
        self.names = [" ".join(stems) for stems in tails]
        self.answers = [
            [[phrase for phrase, _ in found.get(relation, Counter()).most_common()] for relation in RELATIONS]
            for found in tails.values()
        ]
        self.negated = np.array([not _NEGATIONS.isdisjoint(stems) for stems in tails])
        self._counter = CountVectorizer(analyzer=_features, dtype=np.float32)
        self._weigher = TfidfTransformer(sublinear_tf=True, norm=None)
        counts = self._counter.fit_transform(tails)
        self._weigher.fit(counts)
        self._unit = float(np.log((1 + len(tails)) / 2) + 1)  # the weight of a word that one event has
        features = self._counter.get_feature_names_out()
        feelings = [_is_feeling(feature) for feature in features]
        self._weigher.idf_ = self._weigher.idf_ * np.where(feelings, _FEELING_WEIGHT, 1)
        self.matrix = normalize(self._weigher.transform(counts)).T.tocsr()
        idf = dict(zip(features, self._weigher.idf_, strict=True))
        length = np.sqrt([sum(idf[stem] ** 2 for stem in set(stems)) for stems in tails])
        kind = np.array([_kind_weight(stems) for stems in tails])
        self.content: np.ndarray = (np.minimum(length / (_ENOUGH * self._unit), 1) ** 2 * kind).astype(np.float32)

    def compare(self, stems: Sequence[Sequence[str]]) -> sparse.csr_matrix:
        """[texts, events] similarities of texts that are given by their stems."""
        weights = self._weigher.transform(self._counter.transform(stems))
        length = norm(weights, axis=1)
        # Long sentences tell of several things: their length counts by its root only.
        short = _SHORT * self._unit
        scale = np.where(length > short, np.sqrt(length * short), np.maximum(length, 1e-6))
        return (sparse.diags_array(1 / scale).astype(np.float32) @ weights) @ self.matrix


class AtomicRetrieval:
    """What people wrote about the events that are nearest to an utterance.

    Events that differ in function words and persons only are one. Similarity is the cosine of TF-IDF vectors of stems
    and pairs of stems (with long sentences' lengths damped), for each event the largest over the sentences and clauses
    of the utterance, less where the whole utterance is less similar. It is less, too, where the speaker is not the one
    who acts, where only one side is negated, and for events of little content.

    The files are read when the first text is not in the cache.

    Args:
        folder: see `read_atomic`.
        floor: an event less similar than this is not asked.
        ratio: nor is one that is less similar than this share of the nearest event's similarity.
        whole_weight: what the whole utterance's similarity counts, where it is less than that of its most similar part.
        max_events: how many events at most are asked, nearest first.

    Raises:
        DataError: the folder is missing or holds no file to read.
    """

    name = "atomic"

    def __init__(
        self, folder: Path, *, floor: float = 0.6, ratio: float = 0.7, whole_weight: float = 0.25, max_events: int = 20
    ):
        self.folder = folder
        self.floor, self.ratio, self.whole_weight, self.max_events = floor, ratio, whole_weight, max_events
        files = [(path.name, file_fingerprint(path)) for path in _atomic_paths(folder)]
        settings = [ATOMIC_VERSION, floor, ratio, whole_weight, max_events]
        self.fingerprint = f"atomic-{digest([files, settings])[:20]}"

    @cached_property
    def index(self) -> EventIndex:
        """The events; reading them takes seconds."""
        return EventIndex(self.folder)

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """See `Provider`."""
        inferences: list[Inference] = []
        size = 2_000  # keeps the products of a chunk far below a gigabyte
        with tqdm(total=len(texts), desc="commonsense", unit="text", disable=None if progress else True) as bar:
            for begin in range(0, len(texts), size):
                chunk = texts[begin : begin + size]
                inferences += [self._answer(events) for events, _ in self._search(chunk)]
                bar.update(len(chunk))
        return inferences

    def nearest(self, text: str) -> list[tuple[str, float]]:
        """The events (their stems) that are asked about one text, with their similarities, nearest first."""
        events, similarities = self._search([text])[0]
        return [(self.index.names[event], float(value)) for event, value in zip(events, similarities, strict=True)]

    def _answer(self, events: np.ndarray) -> Inference:
        inference: Inference = {}
        for place, relation in enumerate(RELATIONS):
            phrases: dict[str, None] = {}
            for event in events:
                phrases |= dict.fromkeys(self.index.answers[event][place])
                if len(phrases) >= MAX_PHRASES:
                    break
            inference[relation] = list(phrases)[:MAX_PHRASES]
        return inference

    def _search(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Events and similarities for each text, nearest first."""
        segments = [[_words(segment) for segment in _segments(text)] for text in texts]
        owner = np.repeat(np.arange(len(texts)), [len(found) for found in segments])
        subject = np.array([_subject(words) for found in segments for words in found])
        stems = [_stems(words) for found in segments for words in found]
        negated = np.array([not _NEGATIONS.isdisjoint(found) for found in stems])
        parts = self.index.compare(stems).tocoo()
        parts.data *= _SUBJECT_WEIGHTS[subject[parts.row]]
        parts.data[negated[parts.row] != self.index.negated[parts.col]] *= _NEGATION_WEIGHT
        whole = self.index.compare([_stems(_words(text)) for text in texts])
        best = _row_maximum(parts, owner, whole.shape)
        # The whole can only take away: it must not outweigh that the speaker is not the one who acts.
        score = (best * (1 - self.whole_weight) + best.minimum(whole) * self.whole_weight).tocoo()
        row, event, value = score.row, score.col, np.minimum(score.data, 1) * self.index.content[score.col]
        top = np.zeros(len(texts), dtype=value.dtype)
        np.maximum.at(top, row, value)
        keep = value >= np.maximum(self.floor, self.ratio * top)[row]
        row, event, value = row[keep], event[keep], value[keep]
        order = np.lexsort((event, -value, row))
        row, event, value = row[order], event[order], value[order]
        ends = np.searchsorted(row, np.arange(len(texts) + 1))
        return [
            (event[a : min(b, a + self.max_events)], value[a : min(b, a + self.max_events)])
            for a, b in itertools.pairwise(ends)
        ]


def _row_maximum(matrix: sparse.coo_matrix, owner: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Make one row of all rows that have one owner: the largest value of each column."""
    cell = owner[matrix.row].astype(np.int64) * shape[1] + matrix.col
    order = np.lexsort((-matrix.data, cell))
    cell = cell[order]
    first = np.flatnonzero(np.concatenate([[True], cell[1:] != cell[:-1]])) if len(cell) else order
    cell, data = cell[first], matrix.data[order][first]
    return sparse.csr_matrix((data, (cell // shape[1], cell % shape[1])), shape=shape)


# ---------------------------------------------------------------------------------------------------------------------
# Generation
# ---------------------------------------------------------------------------------------------------------------------


class Comet:
    """A COMET-ATOMIC-2020 BART; it is loaded when the first text is not in the cache.

    Args:
        model: hub id or local folder.
        device: where it runs.
        batch_size: how many (text, relation) pairs are decoded at once.
        beams: beams of the search; as many sequences are kept, at most `MAX_PHRASES`.
    """

    name = "comet"

    def __init__(self, model: str = DEFAULT_COMET, device: object = "cpu", batch_size: int = 64, beams: int = 5):
        if batch_size < 1 or beams < 1:
            raise ConfigError(f"comet needs batch_size and beams of at least 1, not {batch_size} and {beams}.")
        self.model, self.device, self.batch_size, self.beams = model, device, batch_size, beams
        self.max_length = 24
        folder = Path(model)
        files = []
        if folder.is_dir():
            files = [(p.name, file_fingerprint(p)) for p in sorted(folder.iterdir()) if p.is_file()]
        what = files or model  # a folder is its files, wherever it lies
        self.fingerprint = f"comet-{digest([COMET_VERSION, what, beams, self.max_length])[:20]}"
        self._loaded: tuple[Any, Any] | None = None

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            try:
                from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
            except ImportError as error:
                raise CtsmError(
                    f"knowledge=comet needs transformers ({error}): pip install 'ctsm-lab[comet]', "
                    "or go without with `--set knowledge=none`."
                ) from error
            try:
                tokenizer = AutoTokenizer.from_pretrained(self.model)
                model = AutoModelForSeq2SeqLM.from_pretrained(self.model)
                model = model.to(self.device).eval()
            except Exception as error:  # the hub, the disk and the device each raise their own
                reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
                raise CtsmError(
                    f"the COMET model {self.model!r} cannot be loaded on {self.device}: {reason.rstrip('.')}. Give a "
                    "hub id or a folder that save_pretrained wrote, or use `--set knowledge=atomic` "
                    "or `--set knowledge=none`."
                ) from error
            self._loaded = tokenizer, model
        return self._loaded

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        """See `Provider`."""
        inferences = [empty_inference() for _ in texts]
        jobs = [(i, relation) for i, text in enumerate(texts) if text.strip() for relation in RELATIONS]
        if not jobs:
            return inferences
        # Like lengths together cost little padding; with the longest first, a lack of memory shows at once.
        jobs.sort(key=lambda job: -len(texts[job[0]]))
        kept = min(self.beams, MAX_PHRASES)
        begin = 0
        with tqdm(total=len(jobs), desc="comet", unit="query", disable=None if progress else True) as bar:
            while begin < len(jobs):
                batch = jobs[begin : begin + self.batch_size]
                phrases = self._generate([_comet_query(texts[i], relation) for i, relation in batch], kept)
                if phrases is None:
                    self.batch_size = max(1, self.batch_size // 2)
                    log.warning("the device's memory is too small; decoding %d queries at once", self.batch_size)
                    continue
                for n, (i, relation) in enumerate(batch):
                    inferences[i][relation] = clean_phrases(phrases[n * kept : (n + 1) * kept])
                begin += len(batch)
                bar.update(len(batch))
        return inferences

    def _generate(self, queries: list[str], kept: int) -> list[str] | None:
        """`kept` tails for each query, None when a smaller batch may fit the memory."""
        tokenizer, model = self._load()
        import torch

        longest = getattr(model.config, "max_position_embeddings", 1024)
        inputs = tokenizer(queries, return_tensors="pt", padding=True, truncation=True, max_length=longest)
        try:
            with torch.inference_mode():
                found = model.generate(
                    input_ids=inputs["input_ids"].to(self.device),
                    attention_mask=inputs["attention_mask"].to(self.device),
                    num_beams=self.beams,
                    num_return_sequences=kept,
                    max_length=self.max_length,
                    min_length=0,
                    do_sample=False,
                )
        except torch.OutOfMemoryError:
            if len(queries) == 1:
                raise
            return None
        decoded: list[str] = tokenizer.batch_decode(found, skip_special_tokens=True)
        return decoded


def _comet_query(text: str, relation: str) -> str:
    # The form of COMET's training. The end must survive, so that it is the text of a novelist that is cut.
    return f"{' '.join(text.split()[:200])[:2000]} {relation} [GEN]"


# ---------------------------------------------------------------------------------------------------------------------
# Cache
# ---------------------------------------------------------------------------------------------------------------------

FIRST_CHUNK, LAST_CHUNK, CHUNK_SECONDS = 64, 4096, 5.0  # chunks grow until one takes so long
LOCK_SECONDS = 60.0  # how long to wait for a second process

T = TypeVar("T")


def infer_cached(
    provider: Provider, texts: Sequence[str], cache_folder: Path, progress: bool = True
) -> list[Inference]:
    """Infer what is not on disk yet, and keep it there.

    Args:
        provider: whom to ask.
        texts: a text that occurs twice is asked about once.
        cache_folder: holds `knowledge.sqlite`; made when missing.
        progress: show a bar where there is a terminal.

    Returns:
        One inference a text, in the order of the texts.

    What was inferred is written every few seconds, so that an interruption costs little. A damaged database is put
    aside and begun anew; a folder that cannot be written costs only the caching. Both are logged.
    """
    if provider.name == "none" or not texts:
        return provider.infer(texts, progress=progress)
    store = _Store(cache_folder / "knowledge.sqlite", provider.fingerprint)
    found = store.get(list(dict.fromkeys(texts)))
    missing = sorted((text for text in dict.fromkeys(texts) if text not in found), key=lambda text: (len(text), text))
    size, begin = FIRST_CHUNK, 0
    with tqdm(total=len(missing), desc=provider.name, unit="text", disable=None if progress else True) as bar:
        while begin < len(missing):
            chunk = missing[begin : begin + size]
            started = time.monotonic()
            new = dict(zip(chunk, provider.infer(chunk, progress=False), strict=True))
            store.put(new)
            found |= new
            begin += len(chunk)
            bar.update(len(chunk))
            if time.monotonic() - started < CHUNK_SECONDS:
                size = min(2 * size, LAST_CHUNK)
    # Nobody who changes one answer shall change another: those of a repeated text are copies.
    first = {text: number for number, text in reversed(list(enumerate(texts)))}
    return [
        found[text] if first[text] == number else {relation: list(found[text][relation]) for relation in RELATIONS}
        for number, text in enumerate(texts)
    ]


class _Store:
    """Inferences of one provider in a sqlite file; whatever goes wrong with the file is logged, not raised."""

    _TABLE = (
        "CREATE TABLE IF NOT EXISTS inferences (provider TEXT NOT NULL, text BLOB NOT NULL, crc INTEGER NOT NULL, "
        "phrases TEXT NOT NULL, PRIMARY KEY (provider, text)) WITHOUT ROWID"
    )

    def __init__(self, path: Path, fingerprint: str):
        self.path, self.fingerprint = path, fingerprint
        self.usable = True

    def get(self, texts: Sequence[str]) -> dict[str, Inference]:
        """What is known of these texts."""
        found = self._try(lambda db: self._read(db, texts), "read")
        return found if found is not None else {}

    def put(self, inferences: dict[str, Inference]) -> None:
        """Keep these, all or none."""
        rows = []
        for text, inference in inferences.items():
            phrases = json.dumps([inference[relation] for relation in RELATIONS])
            rows.append((self.fingerprint, _text_key(text), zlib.crc32(phrases.encode()), phrases))

        def write(db: sqlite3.Connection) -> bool:
            db.execute("BEGIN IMMEDIATE")  # a second process waits here, not halfway
            db.execute(self._TABLE)
            db.executemany("INSERT OR REPLACE INTO inferences VALUES (?, ?, ?, ?)", rows)
            db.execute("COMMIT")
            return True

        self._try(write, "write")

    def _read(self, db: sqlite3.Connection, texts: Sequence[str]) -> dict[str, Inference]:
        found: dict[str, Inference] = {}
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'inferences'").fetchone():
            return found
        keys = {_text_key(text): text for text in texts}
        wanted = list(keys)
        for begin in range(0, len(wanted), 500):  # sqlite takes so many question marks for sure
            part = wanted[begin : begin + 500]
            marks = ",".join("?" * len(part))
            query = f"SELECT text, crc, phrases FROM inferences WHERE provider = ? AND text IN ({marks})"
            rows = [
                (key, phrases)
                for key, crc, phrases in db.execute(query, (self.fingerprint, *part))
                if isinstance(phrases, bytes) and zlib.crc32(phrases) == crc  # a row that rotted is inferred again
            ]
            parsed = json.loads(b"[" + b",".join(phrases for _, phrases in rows) + b"]")  # much faster than row by row
            for (key, _), lists in zip(rows, parsed, strict=True):
                found[keys[key]] = dict(zip(RELATIONS, lists, strict=True))
        return found

    def _try(self, action: Callable[[sqlite3.Connection], T], verb: str) -> T | None:
        if not self.usable:
            return None
        for attempt in (1, 2):
            identity = _identity(self.path)
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with closing(sqlite3.connect(self.path, timeout=LOCK_SECONDS, isolation_level=None)) as db:
                    db.text_factory = bytes  # a rotten row need not be UTF-8
                    return action(db)
            except (OSError, sqlite3.Error) as error:
                if attempt == 1 and _is_damage(error) and self._put_aside(identity, error):
                    continue
                log.warning("cannot %s %s (%s); going on without", verb, self.path, error)
                self.usable = "locked" in str(error)  # the other process will be done some day
                break
        return None

    def _put_aside(self, identity: tuple[int, int] | None, error: Exception) -> bool:
        if _identity(self.path) != identity:
            return True  # a second process was quicker: the file is a new one already
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        log.warning("%s is damaged (%s); it is now %s, and a new one is begun", self.path, error, aside.name)
        try:
            for suffix in ("", "-journal", "-wal", "-shm"):  # a journal left behind would be played into the new file
                source = self.path.with_name(self.path.name + suffix)
                if source.exists():
                    os.replace(source, aside.with_name(aside.name + suffix))
        except OSError as problem:
            log.warning("cannot rename %s (%s)", self.path, problem)
            return False
        return True


def _is_damage(error: Exception) -> bool:
    # sqlite calls a full or read-only disk "operational", too; only a table with other columns is for us to mend.
    if isinstance(error, sqlite3.OperationalError):
        return "column" in str(error)
    return isinstance(error, sqlite3.DatabaseError)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _text_key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
