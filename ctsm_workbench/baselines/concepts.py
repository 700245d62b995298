"""Emotion concepts of words, as KEMP and CASE attach them to a context. Source: Li et al. (2022).

Shapes: B batch, L context length, M concepts of a context, N = L + M nodes of a graph.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD, Corpus, Vocabulary
from ctsm_lib.sources import Sources
from ctsm_workbench.baselines.base import Baseline
from ctsm_workbench.retrieval.conceptnet import read_conceptnet

STRONG = 0.6  # the least intensity of a word of strong emotion


def concept_table(
    concepts: dict[str, list[str]], vocabulary: Vocabulary, intensity: np.ndarray
) -> np.ndarray:
    """The concept of each word, [V] ids: the related word of the strongest emotion, or PAD.

    It is in the vocabulary and has an `intensity` [V] of at least 0.6. Of equals the first counts.
    """
    index = vocabulary.index
    table = np.full(len(vocabulary), PAD, dtype=np.int64)
    for word in concepts.keys() & index.keys():
        known = [index[concept] for concept in concepts[word] if concept in index]
        strong = [i for i in known if i != index[word] and intensity[i] >= STRONG]
        table[index[word]] = max(strong, key=lambda i: intensity[i], default=PAD)
    return table


class ReadsConcepts(Baseline):
    """A baseline that uses emotion concepts, where the data folder has them."""

    uses = frozenset({"concepts"})

    @classmethod
    def more_description(cls, config: Config, sources: Sources) -> dict[str, str]:
        """The file of concepts, for runs and results. Raises: as `read_conceptnet`."""
        path = sources.concepts
        concepts = _given_concepts(config, sources)
        return {"concepts": f"{path.name} ({len(concepts):,} words)"} if path and concepts else {}

    @classmethod
    def more_tables(cls, config: Config, corpus: Corpus, **more: Any) -> dict[str, Tensor]:
        """The concept of every word of the vocabulary, if there is a file of concepts."""
        tables = super().more_tables(config, corpus)
        if concepts := _given_concepts(config, more["sources"]):
            table = concept_table(concepts, corpus.vocabulary, more["intensity"])
            tables["concepts"] = torch.from_numpy(table)
        return tables

    def context_concepts(self, context_BL: Tensor) -> tuple[Tensor, Tensor]:
        """A context's concepts and the positions of their words, [B, M]."""
        return without_gaps(self.concepts[context_BL])

    def graph_of(self, context_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Ids of a context's tokens and concepts, [B, N], and the nodes that each of them reads."""
        concepts, place = self.context_concepts(context_BL)
        ids = torch.cat([context_BL, concepts], dim=1)
        return ids, affect_edges(ids != PAD, place)

    def ids(self, batch: Batch) -> dict[str, Tensor]:
        return super().ids(batch) | {"concepts": self.context_concepts(batch.context)[0]}


def _given_concepts(config: Config, sources: Sources) -> dict[str, list[str]]:
    path = sources.concepts
    return _read_once(path, path.stat().st_mtime_ns) if config.concepts and path else {}


# A run asks for the words, and again for their number.
_read_once = lru_cache(maxsize=1)(lambda path, changed: read_conceptnet(path))


def without_gaps(ids_BL: Tensor) -> tuple[Tensor, Tensor]:
    """The ids of each row without the PADs between them, and the position of each; [B, M]."""
    given = ids_BL != PAD
    width = int(given.sum(dim=1).amax()) if len(given) else 0
    place = (~given).int().argsort(dim=1, stable=True)[:, :width]
    return ids_BL.gather(1, place), place


def affect_edges(nodes_BN: Tensor, place_BM: Tensor) -> Tensor:
    """The nodes that each node reads, [B, N, N].

    A token reads itself, the token before it, CLS and its concept. A concept reads itself and its
    token. `nodes_BN` is the mask of L tokens and M concepts, `place_BM` the concepts' tokens.
    """
    batch, size = nodes_BN.shape
    node = torch.arange(size, device=nodes_BN.device)
    is_token = node < size - place_BM.shape[1]
    place = torch.cat([node[is_token].expand(batch, -1), place_BM], dim=1)  # B N
    back = place.unsqueeze(2) - place.unsqueeze(1)  # B N N
    among = is_token.unsqueeze(1) & is_token & ((back == 1) | (node == 0))
    return ((back == 0) | among) & nodes_BN.unsqueeze(1)
