"""KEMP: emotion concepts of the context's words join the context as nodes of a graph.

Source: Li, Li, Ren, Ren and Chen (2022).

    e_i' = norm(e_i + W_o sum_j alpha_ij W_v e_j)                                   [B, L, D]
           j: CLS, the token before, the own concept, itself
    H = Encoder([e' ; concepts])                                                    [B, L + M, D]
    w = softmax(I) over the nodes,  c_e = sum_i w_i h_i,  l = W c_e + b             [B, 32]
    decoder: begins with W_b l; each attention to H becomes W [MHA ; c_e]; copies from context and
        concepts
    L = NLL + CE(l) + 0.1 MSE(mean attention to H, w), the square's mean over a context's nodes

A context has at most ten concepts, those of the strongest emotion. Without concepts the graph has
the context's own edges. The attention in the loss is the last layer's, averaged over heads and over
the words of the answer.

Departure: in the paper concepts have positions and a speaker state. Here they have neither.
Departure: a word adds one concept, the strongest (`concepts`); in the paper it may add several.

Shapes: B batch, L context length, M concepts of a context, N = L + M nodes of a graph, D width.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import EMOTIONS, PAD, Corpus, Vocabulary
from ctsm_lib.kernels import masked_softmax
from ctsm_lib.model.generation import DecoderLayer, Taught
from ctsm_lib.model.layers import Attention
from ctsm_lib.settings import LayerSizes
from ctsm_lib.sources import Sources
from ctsm_workbench.baselines.base import Baseline, BaselineMemory, beside
from ctsm_workbench.beyond.extras import BiasedCache, BiasedDecoder
from ctsm_workbench.retrieval.conceptnet import read_conceptnet

STRONG = 0.6  # the least intensity of a word of strong emotion
MOST = 10  # concepts of a context
ATTENTION_WEIGHT = 0.1


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
    """A baseline that uses emotion concepts (KEMP, CASE), where the data folder has them."""

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


class KempLayer(DecoderLayer):
    """A decoder layer that joins the attention to the context with the context's emotion."""

    def __init__(self, dim: int, memory_dim: int, sizes: LayerSizes):
        super().__init__(dim, memory_dim, sizes)
        self.join = nn.Linear(2 * dim, dim)

    def read_context(self, states: Tensor, memory: Any, mask: Tensor) -> tuple[Tensor, Tensor]:
        keys_values, emotion_BD = memory
        attended, weights = self.cross_attention(self.cross_norm(states), keys_values, mask)
        return states + self.dropout(self.join(beside(attended, emotion_BD))), weights


@dataclass(kw_only=True)
class KempMemory(BaselineMemory):
    """An encoded context with its emotion."""

    emotion: Tensor  # B D, c_e
    weights: Tensor  # B L+M, w


class KEMP(ReadsConcepts):
    """Knowledge-aware EMPathetic dialogue generation."""

    class Decoder(BiasedDecoder):
        Layer = KempLayer

    def make_parts(self, dim: int) -> None:
        # As released: one head as wide as the states.
        sizes = replace(self.config.small_layer, heads=1, key_depth=dim)
        self.graph = Attention(dim, dim, sizes)
        self.graph_norm = nn.LayerNorm(dim)
        self.classify = nn.Linear(dim, len(EMOTIONS))
        self.begin = nn.Linear(len(EMOTIONS), dim)

    def context_concepts(self, context_BL: Tensor) -> tuple[Tensor, Tensor]:
        """The strongest concepts (the first of equals) and their words' positions, [B, M]."""
        concepts, place = super().context_concepts(context_BL)
        strength = self.intensity[concepts].masked_fill(concepts == PAD, -1.0)
        order = (-strength).argsort(dim=1, stable=True)[:, :MOST]
        return concepts.gather(1, order), place.gather(1, order)

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> KempMemory:
        # A PAD follows every context, even the longest: a convolution must not read a concept as
        # the next token.
        ids, edges = self.graph_of(F.pad(batch.context, (0, 1), value=PAD))
        mask = ids != PAD
        tokens = F.pad(self.embed(words["context"], words["speaker"]), (0, 0, 0, 1))
        added = self.embed.dropout(words["concepts"])
        nodes = self.graph.keys_values(torch.cat([tokens, added], dim=1))
        linked, _ = self.graph(tokens, nodes, edges[:, : tokens.shape[1]])
        tokens = self.graph_norm(tokens + linked)
        states = self.encoder(torch.cat([tokens, added.to(tokens.dtype)], dim=1), mask)
        weights = masked_softmax(self.intensity[ids], mask)
        emotion = (weights.to(states.dtype).unsqueeze(1) @ states).squeeze(1)
        logits = self.classify(emotion)
        return KempMemory(
            states=states, mask=mask, context=ids, emotion_logits=logits.float(),
            first=self.begin(logits), emotion=emotion, weights=weights,
        )  # fmt: skip

    def start(self, memory: Any) -> BiasedCache:
        cache = super().start(memory)
        cache.memory = [(keys_values, memory.emotion) for keys_values in cache.memory]
        return cache

    def taught_losses(self, memory: KempMemory, taught: Taught) -> dict[str, Tensor]:
        """Pull the attention, averaged over the words of an answer, to words of strong emotion."""
        sums = torch.zeros_like(memory.weights).index_add(0, taught.row, taught.copy.float())
        mean = sums / taught.mask.sum(dim=1, keepdim=True).clamp(min=1)
        squared = (mean - memory.weights).square().masked_fill(~memory.mask, 0.0)
        weighted = ATTENTION_WEIGHT * squared.sum(dim=1)
        return {"attention": weighted / memory.mask.sum(dim=1).clamp(min=1)}
