"""CASE: what the speaker thinks and what the speaker feels are two graphs, which are aligned with one another.

A cognition graph joins the last utterance with commonsense about it, an affect graph joins the context with emotion
concepts. A query selects nodes of both; a posterior that has read the answer teaches it in training. The two selections
are aligned dialogue by dialogue (coarse), each inference with the emotional reaction (fine).
Source: Zhou, Zheng, Wang, Zhang and Huang (2023).

    H = Encoder(E)                                                 [B, L, D]
    G_cog = Graph(u, K_1 .. K_4)   u: mean of H over the last utterance; edges carry relations    [B, 5, D]
    G_aff = N softmax(I) * Graph(H ; concepts)                     [B, N, D]
    prior: q = tanh(W h_CLS), a = softmax(q G), c = a G, for each graph
    posterior, in training: the same with q' = tanh(W' y), y: mean of Encoder_Y(target)
    g = sigmoid(W_g [c_aff ; k_e] + b),  l = W_l (g * c_aff + (1 - g) * k_e)                      [B, 32]
    decoder layer: self-attention, attention to G_cog, to G_aff, to H, feed-forward
    L = NLL + CE(l) + 1.5 L_div + KL(a' || a) of both graphs + BOW(c'_cog, c'_aff) + coarse + 0.2 fine

Departure: commonsense is about the last utterance as a whole, a node for each relation with all its phrases, since
batches hold it so; the paper also has a node for each sentence, with inferences of its own, and one for each phrase.
Departure: the factor N, as in CTSM's Eq. (11): without it nodes would vanish where a context is long.
Departure: the bag of words goes through the decoder's output layer; another one would be the model's largest part.
Departure: graph layers have the settings `small_...` where the paper has depth 100 and 300 filters.
Departure: the warm-up is the preset's, the same for all systems; the paper's is 12,000.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD
from ctsm_lib.model.context import COGNITIVE, KnowledgeEncoder
from ctsm_lib.model.ctsm import Memory, Tables
from ctsm_lib.model.generation import DecoderCache, DecoderLayer, ResponseDecoder
from ctsm_lib.model.guidance import intensity_weights
from ctsm_lib.model.layers import Attention, masked_mean
from ctsm_workbench.baselines.base import LABELS, Baseline, initialise, without_gaps
from ctsm_workbench.baselines.case_graphs import (
    Alignment,
    CognitionGraph,
    GraphLayer,
    affect_edges,
    divergence,
    last_utterance,
    select,
)

GRAPHS = ("cognition", "affect")
COARSE, FINE = 1.0, 0.2  # weights of the alignments


class CaseLayer(DecoderLayer):
    """A decoder layer that reads both graphs before the context, each after a LayerNorm and added to its input."""

    number = 0  # which layer of its decoder: keys and values of the graphs are kept by it

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
        self.cognition_norm, self.affect_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.cognition_attention = Attention(dim, dim, heads, key_depth, dropout)
        self.affect_attention = Attention(dim, dim, heads, key_depth, dropout)

    def attention_to(self, name: str) -> Attention:
        """The layer's attention to a graph."""
        return self.cognition_attention if name == "cognition" else self.affect_attention

    def consult(self, states: Tensor, extra: dict[str, Tensor]) -> Tensor:
        for name, norm in zip(GRAPHS, (self.cognition_norm, self.affect_norm), strict=True):
            key, value = extra[f"{name}_{self.number}"].unbind(dim=1)
            mask = extra[f"{name}_mask"].unsqueeze(1)
            attended, _ = self.attention_to(name)(norm(states), (key, value), mask)
            states = states + self.dropout(attended)
        return states


class CaseDecoder(ResponseDecoder):
    """Keys and values of both graphs are computed once a context, as those of the context are."""

    Layer = CaseLayer

    def start(
        self,
        memory_BLD: Tensor,
        mask_BL: Tensor,
        context_BL: Tensor,
        extra: dict[str, Tensor] | None = None,
    ) -> DecoderCache:
        assert extra is not None
        kept = {f"{name}_mask": extra[f"{name}_mask"] for name in GRAPHS}
        for number, layer in enumerate(cast(list[CaseLayer], list(self.layers))):
            layer.number = number
            for name in GRAPHS:
                kept[f"{name}_{number}"] = torch.stack(
                    layer.attention_to(name).keys_values(extra[name]), dim=1
                )
        return super().start(memory_BLD, mask_BL, context_BL, kept)


class CASE(Baseline):
    """Cognition and Affection for reSponding Empathetically."""

    smoothing = False
    diverse = True
    reads = frozenset({"knowledge", "concepts"})

    def __init__(self, config: Config, tables: Tables):
        super().__init__(config, tables)
        dim = config.dim
        self.knowledge = KnowledgeEncoder(dim, self.small_encoder)
        self.cognition, self.affect = CognitionGraph(config), GraphLayer(config)
        self.target_encoder = self.small_encoder(dim)
        self.prior, self.posterior = (
            nn.Linear(dim, dim, bias=False),
            nn.Linear(dim, dim, bias=False),
        )
        self.bag = nn.Linear(2 * dim, dim)
        self.coarse, self.fine = (
            Alignment(dim, config.temperature),
            Alignment(dim, config.temperature),
        )
        self.gate = nn.Linear(2 * dim, dim)
        self.classify = nn.Linear(dim, LABELS, bias=False)
        self.decoder = self.make_decoder(CaseDecoder)
        initialise(self)

    def ids(self, batch: Batch) -> dict[str, Tensor]:
        concepts, _ = without_gaps(self.concepts[batch.context])
        return super().ids(batch) | {"knowledge": batch.knowledge, "concepts": concepts}

    def read(self, batch: Batch, words: dict[str, Tensor]) -> Memory:
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
        memory = Memory(states, mask, batch.context, logits)
        memory.extra = graphs | {f"{name}_mask": masks[name] for name in GRAPHS}
        if self.training and batch.label is not None:
            memory.losses = self._taught(batch, words, graphs, masks, prior)
            memory.losses |= self._aligned(batch, cognition, prior, reaction)
        return memory

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
        """What the posterior teaches the prior, and what keeps the posterior informative: its words; [B] each."""
        assert batch.target is not None
        mask = batch.target != PAD
        answer = masked_mean(self.target_encoder(self.embed(words["target"]), mask), mask)
        query = self.posterior(answer).tanh()
        posterior = {name: select(query, graphs[name], masks[name]) for name in GRAPHS}
        chosen = torch.cat([posterior[name][1] for name in GRAPHS], dim=-1)
        bag = self.decoder.pointer.logits(
            self.bag(chosen).tanh(), self.embed.words.weight
        ).log_softmax(dim=-1)
        said = (bag.gather(1, batch.target) * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        apart = torch.stack([divergence(posterior[name][0], prior[name][0]) for name in GRAPHS])
        return {"selection": apart.sum(dim=0), "bag_of_words": -said}

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
