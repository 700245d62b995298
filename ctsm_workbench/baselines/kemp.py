"""KEMP: words of the context bring emotion concepts along, as nodes of a graph that is encoded with the context.

Source: Li, Li, Ren, Ren and Chen (2022).

    e_i' = norm(e_i + W_o sum_j alpha_ij W_v e_j)   j: CLS, the token before, own concept, itself      [B, L, D]
    H = Encoder([e' ; concepts])                                                                       [B, L + M, D]
    w = softmax(I) over the nodes,  c_e = sum_i w_i h_i,  l = W c_e + b                                [B, 32]
    decoder: begins with W_b l; each attention to H becomes W [MHA ; c_e]; copies from context and concepts
    L = NLL + CE(l) + 0.1 MSE(mean attention to H, w), the square's mean over a context's nodes
At most ten concepts of a context, those of the strongest emotion. Without concepts the graph keeps the context's own
edges. The attention in the loss is the last layer's, on average over heads and the answer's words.

Departure: in the paper concepts have positions and a state of their own. Here they have neither: they stand nowhere in
the sentence, and tokens are told from them by what is added to tokens alone, position and speaker.
Departure: a word brings one concept along, the strongest that it has (`concepts`); in the paper it may bring several.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD
from ctsm_lib.model.ctsm import Memory, Tables
from ctsm_lib.model.generation import DecoderLayer, KeysValues, ResponseDecoder, Taught
from ctsm_lib.model.layers import Attention, masked_softmax
from ctsm_workbench.baselines.base import LABELS, Baseline, initialise, without_gaps
from ctsm_workbench.baselines.case_graphs import affect_edges

MOST = 10  # concepts of a context
ATTENTION_WEIGHT = 0.1


class KempLayer(DecoderLayer):
    """A decoder layer whose reading of the context is joined with the context's emotion: `W [MHA ; c_e]`."""

    def __init__(
        self,
        dim: int,
        memory_dim: int,
        heads: int,
        key_depth: int,
        ffn_dim: int,
        ffn: str,
        dropout: float,
    ):
        super().__init__(dim, memory_dim, heads, key_depth, ffn_dim, ffn, dropout)
        self.join = nn.Linear(2 * dim, dim)

    def attend(
        self, normed: Tensor, memory: KeysValues, mask: Tensor, extra: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        attended, weights = self.cross_attention(normed, memory, mask)
        emotion = extra["emotion"].unsqueeze(1).expand_as(attended).to(attended.dtype)
        return self.join(torch.cat([attended, emotion], dim=-1)), weights


class KempDecoder(ResponseDecoder):
    """A decoder of such layers."""

    Layer = KempLayer


class KEMP(Baseline):
    """Knowledge-aware EMPathetic dialogue generation."""

    reads = frozenset({"concepts"})

    def __init__(self, config: Config, tables: Tables):
        super().__init__(config, tables)
        dim = config.dim
        self.graph = Attention(dim, dim, config.small_heads, config.small_key_depth, config.dropout)
        self.graph_norm = nn.LayerNorm(dim)
        self.classify, self.begin = nn.Linear(dim, LABELS), nn.Linear(LABELS, dim)
        self.decoder = self.make_decoder(KempDecoder)
        initialise(self)

    def context_concepts(self, context_BL: Tensor) -> tuple[Tensor, Tensor]:
        """A context's strongest concepts, earlier ones first among equals, and the places of their words; [B, M]."""
        concepts, place = without_gaps(self.concepts[context_BL])
        strength = self.intensity[concepts].masked_fill(concepts == PAD, -1.0)
        order = (-strength).argsort(dim=1, stable=True)[:, :MOST]
        return concepts.gather(1, order), place.gather(1, order)

    def ids(self, batch: Batch) -> dict[str, Tensor]:
        return super().ids(batch) | {"concepts": self.context_concepts(batch.context)[0]}

    def read(self, batch: Batch, words: dict[str, Tensor]) -> Memory:
        concepts, place = self.context_concepts(batch.context)
        # A PAD behind every context, also the longest: a convolution must not take a concept for the next token.
        context = F.pad(batch.context, (0, 1), value=PAD)
        ids = torch.cat([context, concepts], dim=1)
        mask, length = ids != PAD, context.shape[1]
        tokens = F.pad(self.embed(words["context"], words["speaker"]), (0, 0, 0, 1))
        added = self.embed.dropout(words["concepts"])
        edges = affect_edges(mask, place)[:, :length]
        linked, _ = self.graph(
            tokens, self.graph.keys_values(torch.cat([tokens, added], dim=1)), edges
        )
        tokens = self.graph_norm(tokens + linked)
        states = self.encoder(torch.cat([tokens, added.to(tokens.dtype)], dim=1), mask)
        weights = masked_softmax(self.intensity[ids], mask)
        emotion = (weights.to(states.dtype).unsqueeze(1) @ states).squeeze(1)
        logits = self.classify(emotion)
        extra = {"first": self.begin(logits), "emotion": emotion, "weights": weights}
        return Memory(states, mask, ids, logits.float(), extra=extra)

    def taught_losses(self, memory: Memory, taught: Taught) -> dict[str, Tensor]:
        """Attention, on average over an answer's words, is drawn to strong emotion; mean over the nodes."""
        copy, weights = cast(Tensor, taught.copy).float(), memory.extra["weights"]
        sums = torch.zeros_like(weights).index_add(0, taught.row, copy)
        mean = sums / taught.mask.sum(dim=1, keepdim=True).clamp(min=1)
        squared = (mean - weights).square().masked_fill(~memory.mask, 0.0)
        return {
            "attention": ATTENTION_WEIGHT * squared.sum(dim=1) / memory.mask.sum(dim=1).clamp(min=1)
        }
