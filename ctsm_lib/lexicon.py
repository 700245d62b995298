"""Emotion ratings of words: valence, arousal, dominance, and the emotion intensity made of them.

Paper: Sec. 3.4.1; intensity after KEMP (Li et al., 2022).
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctsm_lib.corpus import SPECIALS, Vocabulary
from ctsm_lib.errors import DataError
from ctsm_lib.files import read_lines

log = logging.getLogger(__name__)

# Departure: the paper prints [0.00, 0.50, 0.00] for unrated words. Valence 0 is the most negative
# value there is, so that an unrated word would be more negative than "murder". All related released
# code uses the triple below.
NEUTRAL_VAD = {"standard": (0.5, 0.0, 0.5), "printed": (0.0, 0.5, 0.0)}
_WAY_OUT = "Fetch it{} with `ctsm data fetch --part lexicon`."


@dataclass(frozen=True)
class Lexicon:
    """Ratings of words."""

    ratings: dict[str, tuple[float, ...]]  # word -> (valence, arousal, dominance) in [0, 1]
    scale: str = "v1"  # "v2" where the file has values in [-1, 1], which are rescaled

    def __len__(self) -> int:
        return len(self.ratings)

    def table(
        self, vocabulary: Vocabulary, neutral: str = "standard"
    ) -> tuple[np.ndarray, np.ndarray]:
        """[V, 3] float32 VAD of every word of a vocabulary, and [V] bool, True for rated words.

        Words match exactly, in lower case; unrated words get the neutral triple.
        """
        vad = np.tile(np.array(NEUTRAL_VAD[neutral], dtype=np.float32), (len(vocabulary), 1))
        words = vocabulary.words
        rated = np.array([i >= len(SPECIALS) and w in self.ratings for i, w in enumerate(words)])
        for i in np.flatnonzero(rated):
            vad[i] = self.ratings[words[i]]
        return vad, rated


def intensity(vad: np.ndarray, rated: np.ndarray) -> np.ndarray:
    """Emotion intensity `I(w) = (||[V, A/2] - [0.5, 0]|| - 0.06467) / 0.607468`, from -0.1 to 1.

    `vad` is [..., 3] in [0, 1] and `rated` [...] bool; unrated words have exactly 0. The result is
    [...] float32. Source: KEMP, Eq. (1).
    """
    distance = np.hypot(vad[..., 0] - 0.5, vad[..., 1] / 2)
    return np.where(rated, (distance - 0.06467) / 0.607468, 0.0).astype(np.float32)


def read_lexicon(path: Path) -> Lexicon:
    """Read NRC VAD v1 (with or without header) or v2 (values in [-1, 1], rescaled to [0, 1]).

    Each line has a word, its valence, arousal and dominance between tabs; lines that begin with `#`
    before the first word are comments. A malformed line raises a `DataError` with its number.
    """
    ratings: dict[str, tuple[float, ...]] = {}
    for number, line in enumerate(read_lines(path, _WAY_OUT.format("")), start=1):
        if line.strip() and (ratings or not _is_preamble(line)):
            try:
                word, vad = _rating(line)
            except ValueError as error:
                raise DataError(f"{path}:{number}: {error}.") from None
            ratings.setdefault(word, vad)
    if not ratings:
        raise DataError(f"{path} has no rated word. {_WAY_OUT.format(' again')}")
    if min(map(min, ratings.values())) >= 0:
        return Lexicon(ratings, "v1")
    log.warning("%s has values in [-1, 1] (NRC VAD v2); they are rescaled to [0, 1].", path.name)
    ratings = {word: tuple((value + 1) / 2 for value in vad) for word, vad in ratings.items()}
    return Lexicon(ratings, "v2")


def _is_preamble(line: str) -> bool:
    names = [name.strip().lower() for name in line.split("\t")[1:]]
    comment = line.startswith("#") and not names
    return comment or names in (["valence", "arousal", "dominance"], ["v", "a", "d"])


def _rating(line: str) -> tuple[str, tuple[float, ...]]:
    word, *values = line.split("\t")
    if len(values) != 3 or not word.strip():
        expected = "expected word, valence, arousal, dominance between tabs"
        raise ValueError(f"{expected}, not {line[:80]!r}")
    vad = tuple(map(float, values))
    if not all(-1 <= value <= 1 for value in vad):  # also false for nan
        raise ValueError(f"{values} are not all in [0, 1] (v1) or [-1, 1] (v2)")
    return word.strip().lower(), vad
