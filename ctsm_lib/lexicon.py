"""What a word carries by itself: valence, arousal, dominance, and the intensity of its emotion.

Paper: Sec. 3.4.1; intensity after KEMP (Li et al., 2022).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctsm_lib.corpus import CLS, PAD, SPECIALS, Vocabulary
from ctsm_lib.errors import DataError

log = logging.getLogger(__name__)

# Departure: the paper prints [0.00, 0.50, 0.00] for unrated words. Valence 0 is the most negative value there is, so an
# unrated word would be worse than "murder"; every related code base uses the triple below.
NEUTRAL_VAD = {"standard": (0.5, 0.0, 0.5), "printed": (0.0, 0.5, 0.0)}


@dataclass(frozen=True)
class Lexicon:
    """Ratings of words, each value in [0, 1].

    Attributes:
        ratings: word -> (valence, arousal, dominance).
        scale: "v1" where the file held [0, 1], "v2" where it held [-1, 1] and was rescaled.
        note: what the file says of itself in comment lines, if anything.
    """

    ratings: dict[str, tuple[float, float, float]]
    scale: str = "v1"
    note: str = ""

    def __len__(self) -> int:
        return len(self.ratings)

    def table(
        self, vocabulary: Vocabulary, neutral: str = "standard"
    ) -> tuple[np.ndarray, np.ndarray]:
        """VAD of every word of a vocabulary by exact lower-case match.

        Returns:
            [V, 3] float32 ratings, the neutral triple where there is none; [V] bool, whether the word is rated.
        """
        vad = np.tile(np.array(NEUTRAL_VAD[neutral], dtype=np.float32), (len(vocabulary), 1))
        rated = np.zeros(len(vocabulary), dtype=bool)
        for i, word in enumerate(vocabulary.words[len(SPECIALS) :], start=len(SPECIALS)):
            if (triple := self.ratings.get(word)) is not None:
                vad[i], rated[i] = triple, True
        return vad, rated


def intensity(vad: np.ndarray, rated: np.ndarray) -> np.ndarray:
    """Emotion intensity `I(w) = (||[V, A/2] - [0.5, 0]|| - 0.06467) / 0.607468`; exactly 0 for unrated words.

    Args:
        vad: [..., 3] in [0, 1].
        rated: [...] bool.

    Returns:
        [...] float32, from about -0.1 to 1. Source: KEMP, Eq. (1).
    """
    distance = np.hypot(vad[..., 0] - 0.5, vad[..., 1] / 2)
    value = np.where(rated, (distance - 0.06467) / 0.607468, 0.0).astype(np.float32)
    if value.ndim == 1 and len(value) > CLS:
        value[[PAD, CLS]] = 0.0
    return value


def read_lexicon(path: Path) -> Lexicon:
    """Read NRC VAD v1 (with or without header) or v2 (values in [-1, 1], brought to [0, 1]).

    Tab-separated word, valence, arousal, dominance. Lines that begin with `#` before the first word are a note.

    Raises:
        DataError: the file is missing, or a line is not a word and three numbers in range (with its number).
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing. Fetch it with `ctsm data fetch --part lexicon`."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
    ratings: dict[str, tuple[float, float, float]] = {}
    notes: list[str] = []
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r")
        if line.startswith("#") and not ratings and "\t" not in line:
            notes.append(line.lstrip("# "))
            continue
        if not line.strip() or (not ratings and _is_header(line)):
            continue
        fields = line.split("\t")
        if len(fields) != 4:
            raise DataError(
                f"{path}:{number}: expected word, valence, arousal, dominance between tabs, not {line[:80]!r}."
            )
        try:
            triple = (float(fields[1]), float(fields[2]), float(fields[3]))
        except ValueError:
            raise DataError(f"{path}:{number}: {fields[1:]} are not three numbers.") from None
        if not all(-1 <= value <= 1 for value in triple):  # also false for nan
            raise DataError(
                f"{path}:{number}: {fields[1:]} are not all in [0, 1] (v1) or [-1, 1] (v2)."
            )
        word = fields[0].strip().lower()
        if not word:
            raise DataError(f"{path}:{number}: there is no word before the ratings.")
        ratings.setdefault(word, triple)
    if not ratings:
        raise DataError(
            f"{path} has no rated word. Fetch it again with `ctsm data fetch --part lexicon`."
        )
    scale = "v1"
    if any(min(triple) < 0 for triple in ratings.values()):
        scale = "v2"
        log.warning("%s uses [-1, 1] (NRC VAD v2); its values are brought to [0, 1].", path.name)
        ratings = {
            word: tuple((value + 1) / 2 for value in triple)  # type: ignore[misc]
            for word, triple in ratings.items()
        }
    return Lexicon(ratings, scale, " ".join(notes))


def _is_header(line: str) -> bool:
    fields = [field.strip().lower() for field in line.split("\t")]
    return len(fields) == 4 and fields[1:] in (["valence", "arousal", "dominance"], ["v", "a", "d"])
