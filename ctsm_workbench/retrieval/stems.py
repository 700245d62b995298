"""An utterance or an event as what is compared of it: its clauses, their words' stems, who acts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from ctsm_lib.corpus import CONTRACTIONS
from ctsm_lib.knowledge.phrases import QUOTES

if TYPE_CHECKING:
    from nltk.stem import PorterStemmer
    from nltk.tokenize import PunktSentenceTokenizer


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
_IRREGULAR = {
    form: base for line in _FORMS.split("|") for base, *forms in [line.split()] for form in forms
}
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
_FEELING_VERBS = _set(
    "amaze amuse annoy astonish bore comfort confuse depress devastate disappoint disgust embarrass "
    "excite exhaust fascinate frighten frustrate humiliate impress infuriate interest irritate overwhelm "
    "please relax relieve satisfy scare shock stress surprise terrify thrill tire worry"
)
# Events of which one word is enough.
_FEELINGS = _set(
    "afraid alone angry anxious ashamed brave calm cheerful cry eager furious glad grateful guilty happy "
    "hopeful jealous lonely nervous nostalgic proud sad sentimental sick sorry upset heartbroken"
)
_CANNOT_WAIT = re.compile(r"\b(?:can ?not|can'?t) wait\b")  # no event of ATOMIC knows this idiom
_END_UP = re.compile(r"\bend(?:ed|s|ing)? up\b")  # what follows is what happened
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


@cache
def _nltk() -> tuple[PorterStemmer, PunktSentenceTokenizer]:
    from nltk.stem import PorterStemmer  # takes seconds; a start from the cache does without
    from nltk.tokenize import PunktSentenceTokenizer

    return PorterStemmer(), PunktSentenceTokenizer()


@cache
def _stems(words: frozenset[str]) -> frozenset[str]:
    return frozenset(map(_nltk()[0].stem, words))


@lru_cache(maxsize=1 << 17)
def _stem(word: str, state: bool) -> str:
    """The form in which a word is compared, empty for a word that is not."""
    if word.endswith("n't"):
        return "not"
    word = word.split("'")[0]
    if word in _STOP:
        return ""
    base = _IRREGULAR.get(word, word)
    stem: str = _nltk()[0].stem(base)
    feeling = base.endswith(("ed", "ing")) and stem in _stems(_FEELING_VERBS)
    passive = state and (word.endswith("ed") or word in _PARTICIPLES)
    return f"{stem}=" if feeling or passive else stem


def words_of(text: str) -> list[str]:
    """Words in lower case, contractions resolved."""
    text = text.lower().translate(QUOTES)
    for short, long in CONTRACTIONS.items():
        text = text.replace(short, long)
    return _WORD.findall(_END_UP.sub(" ", _CANNOT_WAIT.sub("am excited", text)))


def stems_of(words: Iterable[str]) -> list[str]:
    """What is compared of a sentence's words; a participle that follows "was", "felt", ... ends in "="."""
    stems = []
    state = False
    for word in words:
        stem = _stem(word, state)
        if stem:
            stems.append(stem)
        says_something = stem and stem != "not" and not word.endswith("ly")
        if word in _STATE_VERBS:
            state = True
        elif says_something or word in _PRONOUNS:  # "so I left" begins anew
            state = False
    return stems


def is_feeling(stem: str) -> bool:
    """Whether it names what somebody feels."""
    return stem in _stems(_FEELINGS) or (stem.endswith("=") and stem[:-1] in _stems(_FEELING_VERBS))


def negated(stems: Iterable[str]) -> bool:
    """Whether it says that something does not happen."""
    return not {"not", "never", "no"}.isdisjoint(stems)


def features(stems: Sequence[str]) -> list[str]:
    """Stems and pairs of neighbouring ones."""
    return [*stems, *map(" ".join, itertools.pairwise(stems))]


# Inferences are about PersonX: what a speaker counts who is not PersonX.
_SUBJECT_WEIGHTS = {
    **dict.fromkeys(_set("i im we i'm i'll i'd i've me"), 1.0),
    **dict.fromkeys(_set("my our mine"), 0.8),
    **dict.fromkeys(
        _set("he she they his her their the someone somebody people everyone he's she's they're"),
        0.75,
    ),
    **dict.fromkeys(_set("you your you're"), 0.6),
}


def subject_weight(words: Sequence[str]) -> float:
    """What a clause counts by who acts in it: most where the speaker does."""
    weight = next((_SUBJECT_WEIGHTS[word] for word in words[:4] if word in _SUBJECT_WEIGHTS), 1.0)
    return 0.55 if weight < 1 and not {"me", "us"}.isdisjoint(words) else weight


_CLAUSE = re.compile(
    r"[,;:()\-]+ +|\.\.+|\s(?=(?:but|because|so|and|when|while|since|after|before|if|that|who|which|cause|cuz|as) )",
    re.IGNORECASE,
)


def segments_of(text: str) -> list[str]:
    """The sentences of an utterance, and the clauses of sentences that have several."""
    segments = []
    for sentence in _nltk()[1].tokenize(text):
        segments.append(sentence)
        clauses = [clause for clause in _CLAUSE.split(sentence) if clause.strip()]
        if len(clauses) > 1:
            segments += clauses
    return segments or [""]
