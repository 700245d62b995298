"""Emotion concepts of words, as KEMP and CASE attach them to a context. Source: Li et al. (2022).

Shapes: B batch, L context length, M concepts of a context, N = L + M nodes of a graph.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD, Corpus, Vocabulary
from ctsm_lib.errors import DataError
from ctsm_lib.sources import Sources

STRONG = 0.6  # the least intensity of a word of strong emotion


def read_concepts(path: Path) -> dict[str, list[str]]:
    """The concepts of each word, in the file's order.

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
        kind = type(found).__name__
        raise DataError(f"{path} holds a {kind} where an object word -> [concepts] belongs.")
    for word, concepts in found.items():
        if not isinstance(concepts, list) or not all(isinstance(each, str) for each in concepts):
            raise DataError(f"{path}: the entry of {word!r} is not a list of words: {concepts!r}.")
    return found


def concept_table(
    concepts: dict[str, list[str]], vocabulary: Vocabulary, intensity: np.ndarray
) -> np.ndarray:
    """One concept of each word, [V] ids: its first one of strong emotion in the vocabulary, or PAD.

    Args:
        intensity: [V] emotion intensity of every word.
    """
    table = np.full(len(vocabulary), PAD, dtype=np.int64)
    for word, found in concepts.items():
        if (place := vocabulary.index.get(word)) is not None:
            ids = [vocabulary.index[concept] for concept in found if concept in vocabulary.index]
            table[place] = next((i for i in ids if i != place and intensity[i] >= STRONG), PAD)
    return table


class ReadsConcepts:
    """A mixin for models that use concepts, where the data folder has them."""

    uses: frozenset[str] = frozenset({"concepts"})

    @classmethod
    def more_description(cls, config: Config, sources: Sources) -> dict[str, str]:
        """The file of concepts, for runs and results. Raises: as `read_concepts`."""
        if not (config.concepts and sources.concepts):
            return {}
        count = len(read_concepts(sources.concepts))
        return {"concepts": f"{sources.concepts.name} ({count:,} words)"} if count else {}

    @classmethod
    def more_tables(
        cls, config: Config, corpus: Corpus, *, sources: Sources, intensity: np.ndarray
    ) -> dict[str, Tensor]:
        """The table of concepts."""
        if not (config.concepts and sources.concepts):
            return {}
        concepts = read_concepts(sources.concepts)
        table = concept_table(concepts, corpus.vocabulary, intensity)
        return {"concepts": torch.from_numpy(table)}


def without_gaps(ids_BL: Tensor) -> tuple[Tensor, Tensor]:
    """The ids of each row without the PADs between them, and the position of each; [B, M].

    PAD follows the last id of a row.
    """
    given = ids_BL != PAD
    width = int(given.sum(dim=1).amax()) if len(given) else 0
    place = (~given).int().argsort(dim=1, stable=True)[:, :width]
    return ids_BL.gather(1, place), place


def affect_edges(nodes_BN: Tensor, place_BM: Tensor) -> Tensor:
    """The nodes that each node reads, [B, N, N].

    A token reads itself, the token before it, CLS and its concept. A concept reads itself and its
    token.

    Args:
        nodes_BN: mask of the nodes, L tokens and then M concepts.
        place_BM: the position of each concept's token.
    """
    batch, size = place_BM.shape
    token = torch.arange(nodes_BN.shape[1] - size, device=nodes_BN.device)
    back = token.unsqueeze(1) - token
    among = ((back == 0) | (back == 1) | (token == 0)).expand(batch, -1, -1)  # B L L
    owns = token.unsqueeze(1) == place_BM.unsqueeze(1)  # B L M
    itself = torch.eye(size, dtype=torch.bool, device=nodes_BN.device).expand(batch, -1, -1)
    tokens = torch.cat([among, owns], dim=2)
    concepts = torch.cat([owns.transpose(1, 2), itself], dim=2)
    return torch.cat([tokens, concepts], dim=1) & nodes_BN.unsqueeze(1)
