"""CASE: cognition and affect of the speaker are two graphs, which are aligned with one another.

A cognition graph joins the last utterance with commonsense about it. An affect graph joins the context
with emotion concepts. A query selects nodes of both; a posterior that has read the answer teaches it in
training. The two selections are aligned dialogue by dialogue (coarse), and each inference with the
emotional reaction (fine).
Source: Zhou, Zheng, Wang, Zhang and Huang (2023).

    H = Encoder(E)                                                                        [B, L, D]
    G_cog = Graph(u, K_1 .. K_4)                                                          [B, 5, D]
            u: mean of H over the last utterance; edges carry relations
    G_aff = N softmax(I) * Graph(H ; concepts)                                            [B, N, D]
    prior: q = tanh(W h_CLS), a = softmax(q G), c = a G, for each graph
    posterior, in training: the same with q' = tanh(W' y), y: mean of Encoder_Y(target)
    g = sigmoid(W_g [c_aff ; k_e] + b),  l = W_l (g * c_aff + (1 - g) * k_e)              [B, 32]
    decoder layer: self-attention, attention to G_cog, to G_aff, to H, feed-forward
    L = NLL + CE(l) + 1.5 L_div + KL(a' || a) of both graphs + BOW(c'_cog, c'_aff)
        + coarse + 0.2 fine

Departure: commonsense is about the last utterance as a whole, with one node for each relation and all
its phrases, since batches hold it so. The paper also has nodes for sentences and for phrases.
Departure: the factor N, as in CTSM's Eq. (11). Without it nodes would vanish in long contexts.
Departure: the bag of words uses the decoder's output layer; another would be the largest part.
Departure: graph layers have the settings `small_...`; the paper has depth 100 and 300 filters.
Departure: the warm-up is the preset's, the same for all systems; the paper's is 12,000.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD
from ctsm_lib.interface import Tables
from ctsm_lib.kernels import masked_mean
from ctsm_lib.model.context import COGNITIVE, KnowledgeEncoder
from ctsm_lib.model.generation import DecoderLayer
from ctsm_lib.model.guidance import intensity_weights
from ctsm_lib.model.layers import Attention
from ctsm_lib.settings import LayerSizes
from ctsm_workbench.baselines.base import (
    LABELS,
    Baseline,
    BaselineCache,
    BaselineDecoder,
    BaselineMemory,
    initialise,
    without_gaps,
)
from ctsm_workbench.baselines.case_graphs import (
    Alignment,
    CognitionGraph,
    GraphLayer,
    affect_edges,
    divergence,
    last_utterance,
    select,
)
from ctsm_workbench.baselines.concepts import ReadsConcepts

GRAPHS = ("cognition", "affect")
COARSE, FINE = 1.0, 0.2  # weights of the alignments


class CaseLayer(DecoderLayer):
    """A decoder layer that attends to both graphs before the context, each after a LayerNorm."""

    def __init__(self, dim: int, memory_dim: int, sizes: LayerSizes):
        super().__init__(dim, memory_dim, sizes)
        self.cognition_norm = nn.LayerNorm(dim)
        self.affect_norm = nn.LayerNorm(dim)
        self.cognition_attention = Attention(dim, dim, sizes)
        self.affect_attention = Attention(dim, dim, sizes)

    def read_context(self, states: Tensor, memory: Any, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Attend to cognition, affect and context; `memory` has the keys and values of each."""
        context, (cognition, cognition_mask), (affect, affect_mask) = memory
        normed = self.cognition_norm(states)
        attended, _ = self.cognition_attention(normed, cognition, cognition_mask.unsqueeze(1))
        states = states + self.dropout(attended)
        normed = self.affect_norm(states)
        attended, _ = self.affect_attention(normed, affect, affect_mask.unsqueeze(1))
        return super().read_context(states + self.dropout(attended), context, mask)


class CaseDecoder(BaselineDecoder):
    """A decoder of such layers."""

    Layer = CaseLayer


@dataclass
class CaseMemory(BaselineMemory):
    """An encoded context with its graphs: nodes [B, N, D] and masks [B, N], by name."""

    graphs: dict[str, Tensor] = field(default_factory=dict)
    graph_masks: dict[str, Tensor] = field(default_factory=dict)


class CASE(ReadsConcepts, Baseline):
    """Cognition and Affection for reSponding Empathetically."""

    smoothing = False
    diverse = True
    uses = frozenset({"knowledge", "concepts"})

    def __init__(self, config: Config, tables: Tables):
        super().__init__(config, tables)
        dim = config.dim
        self.knowledge = KnowledgeEncoder(dim, self.small_encoder)
        self.cognition, self.affect = CognitionGraph(config), GraphLayer(config)
        self.target_encoder = self.small_encoder(dim)
        self.prior = nn.Linear(dim, dim, bias=False)
        self.posterior = nn.Linear(dim, dim, bias=False)
        self.bag = nn.Linear(2 * dim, dim)
        self.coarse = Alignment(dim, config.temperature)
        self.fine = Alignment(dim, config.temperature)
        self.gate = nn.Linear(2 * dim, dim)
        self.classify = nn.Linear(dim, LABELS, bias=False)
        self.decoder = self.make_decoder(CaseDecoder)
        initialise(self)

    def ids(self, batch: Batch) -> dict[str, Tensor]:
        concepts, _ = without_gaps(self.concepts[batch.context])
        return super().ids(batch) | {"knowledge": batch.knowledge, "concepts": concepts}

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> CaseMemory:
        states, mask = self.encode_context(batch, words)
        inferences = self.knowledge(batch.knowledge, self.embed(words["knowledge"]))  # B 5 D
        reaction = inferences[:, COGNITIVE]
        cognition = self.cognition(masked_mean(states, last_utterance(batch.speaker)), inferences)
        affect, affect_mask = self._affect(batch, states, words["concepts"])
        graphs = {"cognition": cognition, "affect": affect}
        masks = {"cognition": affect_mask.new_ones(cognition.shape[:2]), "affect": affect_mask}

        query = self.prior(states[:, 0]).tanh()
        prior = {name: select(query, graphs[name], masks[name]) for name in GRAPHS}
        felt = prior["affect"][1]
        share = self.gate(torch.cat([felt, reaction], dim=-1)).sigmoid()
        logits = self.classify(share * felt + (1 - share) * reaction).float()
        memory = CaseMemory(
            states, mask, batch.context, emotion_logits=logits, graphs=graphs, graph_masks=masks
        )
        if self.training and batch.label is not None:
            memory.losses = self._taught(batch, words, graphs, masks, prior)
            memory.losses |= self._aligned(batch, cognition, prior, reaction)
        return memory

    def start(self, memory: Any) -> BaselineCache:
        # Keys and values of both graphs are computed once, as those of the context are.
        cache = super().start(memory)
        graphs, masks = memory.graphs, memory.graph_masks
        layers = cast(list[CaseLayer], list(self.decoder.layers))
        cache.memory = [
            (
                context,
                (layer.cognition_attention.keys_values(graphs["cognition"]), masks["cognition"]),
                (layer.affect_attention.keys_values(graphs["affect"]), masks["affect"]),
            )
            for layer, context in zip(layers, cache.memory, strict=True)
        ]
        return cache

    def _affect(self, batch: Batch, states: Tensor, concept_words: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and concepts, weighted by emotion intensity [B, N, D], and their mask [B, N]."""
        concepts, place = without_gaps(self.concepts[batch.context])
        ids = torch.cat([batch.context, concepts], dim=1)
        mask = ids != PAD
        nodes = torch.cat([states, self.embed.dropout(concept_words).to(states.dtype)], dim=1)
        weights = intensity_weights(self.intensity[ids], mask)
        return self.affect(nodes, affect_edges(mask, place)) * weights.unsqueeze(-1), mask

    def _taught(
        self, batch: Batch, words: dict[str, Tensor], graphs: dict[str, Tensor], masks: dict[str, Tensor],
        prior: dict[str, tuple[Tensor, Tensor]],
    ) -> dict[str, Tensor]:  # fmt: skip
        """Losses [B] of the selection, which the posterior teaches, and of the posterior's words."""
        assert batch.target is not None
        mask = batch.target != PAD
        answer = masked_mean(self.target_encoder(self.embed(words["target"]), mask), mask)
        query = self.posterior(answer).tanh()
        posterior = {name: select(query, graphs[name], masks[name]) for name in GRAPHS}
        chosen = torch.cat([posterior[name][1] for name in GRAPHS], dim=-1)
        bag = self.decoder.pointer.logits(
            self.bag(chosen).tanh(), self.embed.words.weight
        ).log_softmax(dim=-1)
        log_prob = (bag.gather(1, batch.target) * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        apart = torch.stack([divergence(posterior[name][0], prior[name][0]) for name in GRAPHS])
        return {"selection": apart.sum(dim=0), "bag_of_words": -log_prob}

    def _aligned(
        self,
        batch: Batch,
        cognition: Tensor,
        prior: dict[str, tuple[Tensor, Tensor]],
        reaction: Tensor,
    ) -> dict[str, Tensor]:
        """The weighted alignments, a scalar of the whole batch each."""
        selected = [prior[name][1].unsqueeze(1) for name in GRAPHS]
        known = (batch.knowledge[..., 1:] != PAD).any(dim=-1)  # B 5
        pairs = known[:, :COGNITIVE] & known[:, COGNITIVE:]
        coarse = self.coarse(*selected, torch.ones_like(known[:, :1]), batch.total_pairs)
        reactions = reaction.unsqueeze(1).expand(-1, COGNITIVE, -1)
        return {
            "coarse": COARSE * coarse,
            "fine": FINE * self.fine(cognition[:, 1:], reactions, pairs, batch.total_pairs),
        }
