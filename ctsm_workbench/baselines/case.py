"""CASE: two graphs of the speaker's cognition and affect, which are aligned with one another.

A cognition graph joins the last utterance with commonsense about it. An affect graph joins the
context with emotion concepts. A query selects nodes of both; in training it learns from a posterior
query, which has read the answer. The two selections are aligned dialogue by dialogue (coarse), and
each inference with the emotional reaction (fine).
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

Departure: commonsense is about the last utterance as a whole, with one node for each relation and
all its phrases, since batches hold it so. The paper also has nodes for sentences and for phrases.
Departure: the factor N, as in CTSM's Eq. (11). Without it nodes would vanish in long contexts.
Departure: the bag of words uses the decoder's output layer; another would be the largest part.
Departure: graph layers have the settings `small_...`; the paper has depth 100 and 300 filters.
Departure: the warm-up is the preset's, the same for all systems; the paper's is 12,000.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.corpus import EMOTIONS, PAD
from ctsm_lib.kernels import masked_mean
from ctsm_lib.model.context import COGNITIVE, KnowledgeEncoder
from ctsm_lib.model.generation import DecoderLayer
from ctsm_lib.model.guidance import intensity_weights
from ctsm_lib.model.layers import Attention
from ctsm_lib.settings import LayerSizes
from ctsm_workbench.baselines import case_graphs
from ctsm_workbench.baselines.base import BaselineCache, BaselineDecoder, BaselineMemory
from ctsm_workbench.baselines.case_graphs import Graph
from ctsm_workbench.baselines.concepts import ReadsConcepts, affect_edges

FINE = 0.2  # weight of the fine alignment


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


@dataclass(kw_only=True)
class CaseMemory(BaselineMemory):
    """An encoded context with its graphs."""

    cognition: Graph
    affect: Graph


class CASE(ReadsConcepts):
    """Cognition and Affection for reSponding Empathetically."""

    smoothing = False
    diverse = True
    uses = frozenset({"knowledge", "concepts"})

    class Decoder(BaselineDecoder):
        Layer = CaseLayer

    def make_parts(self, dim: int) -> None:
        self.knowledge = KnowledgeEncoder(dim, self.small_encoder)
        self.cognition = case_graphs.CognitionGraph(self.config)
        self.affect = case_graphs.GraphLayer(self.config)
        self.target_encoder = self.small_encoder(dim)
        self.prior = nn.Linear(dim, dim, bias=False)
        self.posterior = nn.Linear(dim, dim, bias=False)
        self.bag = nn.Linear(2 * dim, dim)
        self.coarse = case_graphs.Alignment(dim, self.config.temperature)
        self.fine = case_graphs.Alignment(dim, self.config.temperature)
        self.gate = nn.Linear(2 * dim, dim)
        self.classify = nn.Linear(dim, len(EMOTIONS), bias=False)

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> CaseMemory:
        states, mask = self.encode_context(batch, words)
        inferences = self.knowledge(batch.knowledge, self.embed(words["knowledge"]))  # B 5 D
        cognition = self._cognition(batch, states, inferences)
        affect = self._affect(batch, states, words["concepts"])
        query = self.prior(states[:, 0]).tanh()
        prior = (cognition.select(query), affect.select(query))
        chosen = prior[1].chosen  # c_aff
        reaction = inferences[:, COGNITIVE]  # k_e
        share = self.gate(torch.cat([chosen, reaction], dim=-1)).sigmoid()
        logits = self.classify(share * chosen + (1 - share) * reaction).float()
        memory = CaseMemory(
            states=states, mask=mask, context=batch.context, emotion_logits=logits,
            cognition=cognition, affect=affect,
        )  # fmt: skip
        if self.training and batch.label is not None:
            memory.losses = self._own_losses(batch, words, memory, prior=prior, reaction=reaction)
        return memory

    def start(self, memory: Any) -> BaselineCache:
        # Keys and values of both graphs are computed once, as those of the context are.
        cache = super().start(memory)
        graphs = (memory.cognition, memory.affect)
        cache.memory = [
            (
                context,
                (layer.cognition_attention.keys_values(graphs[0].nodes), graphs[0].mask),
                (layer.affect_attention.keys_values(graphs[1].nodes), graphs[1].mask),
            )
            for layer, context in zip(self.decoder.layers, cache.memory, strict=True)
        ]
        return cache

    def _cognition(self, batch: Batch, states: Tensor, inferences: Tensor) -> Graph:
        utterance = masked_mean(states, case_graphs.last_utterance(batch.speaker))
        nodes = self.cognition(utterance, inferences)
        return Graph(nodes, mask=torch.ones_like(nodes[..., 0], dtype=torch.bool))

    def _affect(self, batch: Batch, states: Tensor, concept_words: Tensor) -> Graph:
        concepts, place = self.context_concepts(batch.context)
        ids = torch.cat([batch.context, concepts], dim=1)
        mask = ids != PAD
        nodes = torch.cat([states, self.embed.dropout(concept_words).to(states.dtype)], dim=1)
        weights = intensity_weights(self.intensity[ids], mask)
        return Graph(self.affect(nodes, affect_edges(mask, place)) * weights.unsqueeze(-1), mask)

    def _own_losses(
        self, batch: Batch, words: dict[str, Tensor], memory: CaseMemory, *, prior: Any,
        reaction: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Losses of selection and words [B], and of both alignments, scalars of the whole batch."""
        assert batch.target is not None
        mask = batch.target != PAD
        answer = masked_mean(self.target_encoder(self.embed(words["target"]), mask), mask)
        query = self.posterior(answer).tanh()
        posterior = (memory.cognition.select(query), memory.affect.select(query))
        bag = self.bag(torch.cat([graph.chosen for graph in posterior], dim=-1)).tanh()
        logits = self.decoder.pointer.logits(bag, self.embed.words.weight)
        log_prob = logits.log_softmax(dim=-1).gather(1, batch.target) * mask
        apart = [
            case_graphs.divergence(goal.weights, own.weights)
            for goal, own in zip(posterior, prior, strict=True)
        ]
        known = (batch.knowledge[..., 1:] != PAD).any(dim=-1)  # B 5
        every = torch.ones_like(known[:, :1])
        views = [graph.chosen.unsqueeze(1) for graph in prior]
        coarse = self.coarse(*views, every, batch.total_pairs)
        both = known[:, :COGNITIVE] & known[:, COGNITIVE:]
        reactions = reaction.unsqueeze(1).expand(-1, COGNITIVE, -1)
        fine = self.fine(memory.cognition.nodes[:, 1:], reactions, both, batch.total_pairs)
        return {
            "selection": torch.stack(apart).sum(dim=0),
            "bag_of_words": -(log_prob.sum(dim=1) / mask.sum(dim=1).clamp(min=1)),
            "coarse": coarse,
            "fine": FINE * fine,
        }
