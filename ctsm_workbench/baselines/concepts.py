"""Emotion concepts of words, as KEMP and CASE attach them to a context. Source: Li et al. (2022); baselines only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ctsm_lib.corpus import PAD, Vocabulary
from ctsm_lib.errors import DataError

STRONG = 0.6  # the least emotion intensity that makes a concept count


def read_concepts(path: Path) -> dict[str, list[str]]:
    """Word -> its concepts, the first one first.

    Raises:
        DataError: the file is not JSON of that form; the message names what is wrong.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as JSON ({error}). Remove it to do without concepts."
        ) from error
    if not isinstance(found, dict):
        raise DataError(
            f"{path} holds a {type(found).__name__} where an object word -> [concepts] belongs."
        )
    for word, concepts in found.items():
        if not isinstance(concepts, list) or not all(
            isinstance(concept, str) for concept in concepts
        ):
            raise DataError(f"{path}: the entry of {word!r} is not a list of words: {concepts!r}.")
    return found


def concept_table(
    concepts: dict[str, list[str]], vocabulary: Vocabulary, intensity: np.ndarray
) -> np.ndarray:
    """Id of each word's first concept that is in the vocabulary and of strong emotion, PAD where there is none; [V].

    Args:
        intensity: [V] emotion intensity of every word.
    """
    table = np.full(len(vocabulary), PAD, dtype=np.int64)
    for word, found in concepts.items():
        if (place := vocabulary.index.get(word)) is not None:
            ids = [vocabulary.index[concept] for concept in found if concept in vocabulary.index]
            table[place] = next((i for i in ids if i != place and intensity[i] >= STRONG), PAD)
    return table
