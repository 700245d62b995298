"""CASE: two graphs of the speaker's cognition and affect, which are aligned with one another.

A query selects nodes of both graphs; in training it learns from a posterior query, which has read
the answer. The selections are aligned dialogue by dialogue (coarse), and each inference with the
emotional reaction (fine). Both are merged into the context that the decoder reads.
Source: Zhou, Zheng, Wang, Zhang and Huang (2023).

    H = Encoder(E)                                                                        [B, L, D]
    G_cog = Graph(u, K_1 .. K_4) without u                                                [B, 4, D]
            u: mean of H over the last utterance; edges carry relations
    G_aff = N softmax(I) * Graph(H ; concepts)                                            [B, N, D]
    prior: q = tanh(W h_CLS), a = softmax(q G), c = a G, for each graph
    posterior, in training: the same with q' = tanh(W' y), y: mean of Encoder_Y(target)
    r = W_r Encoder_r(W [H ; k_e])[CLS]: the reaction, refined by the context             [B, D]
    g = sigmoid(w W_g [c_aff ; r]), a number;  e = g c_aff + (1 - g) r,  l = W_l e        [B, 32]
    M = W_2 relu(W_1 [H ; c_cog ; e])                                                     [B, L, D]
    decoder layer: self-attention, attention to G_cog, to G_aff, to M, feed-forward
    L = NLL + CE(l) + 1.5 L_div + KL(a' || a) of both graphs + BOW(c'_cog, c'_aff)
        + coarse + 0.2 fine

Departure: commonsense is about the last utterance as a whole, with one node for each relation and
all its phrases, since batches hold it so. The paper also has nodes for sentences and for phrases.
Departure: the factor N, as in CTSM's Eq. (11). Without it nodes would vanish in long contexts. The
release has a LayerNorm in its place.
Departure: the bag of words is not trained alone first (4 epochs in the paper). It uses the
decoder's output layer; another would be the largest part.
Departure: both alignments are InfoNCE with all dialogues of a batch. The release has a binary
cross-entropy with one shifted dialogue.
Departure: graph layers have the settings `small_...` (in the paper depth 100 and 300 filters), and
the warm-up is the preset's, the same for all systems (12,000 in the paper).

Shapes: B batch, L context length, N nodes of a graph, P pairs of views, D width.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import EMOTIONS, PAD
from ctsm_lib.kernels import masked_mean, masked_softmax
from ctsm_lib.model.context import COGNITIVE, KnowledgeEncoder
from ctsm_lib.model.generation import DecoderLayer
from ctsm_lib.model.guidance import intensity_weights
from ctsm_lib.model.layers import Attention, FeedForward
from ctsm_lib.model.pointer import TINY
from ctsm_lib.parallel import gather_rows
from ctsm_lib.settings import LayerSizes
from ctsm_workbench.baselines.base import BaselineMemory, beside
from ctsm_workbench.baselines.kemp import ReadsConcepts
from ctsm_workbench.beyond.extras import BiasedCache, BiasedDecoder

FINE = 0.2  # weight of the fine alignment


@dataclass
class Graph:
    """The encoded nodes of a graph."""

    nodes: Tensor  # B N D
    mask: Tensor  # B N

    def select(self, query_BD: Tensor) -> tuple[Tensor, Tensor]:
        """`a = softmax(q v / sqrt(D))` [B, N] over the nodes v, and `c = sum_j a_j v_j` [B, D]."""
        scores = (self.nodes @ query_BD.unsqueeze(2)).squeeze(2) * self.nodes.shape[2] ** -0.5
        weights = masked_softmax(scores, self.mask)
        return weights, (weights.to(self.nodes.dtype).unsqueeze(1) @ self.nodes).squeeze(1)


class GraphLayer(nn.Module):
    """`u = norm(v)`, `w = norm(u + Attention(u over its edges))`, `v' = norm(w + FFN(w))`.

    The first norm brings encoded tokens and word vectors to one scale. An edge of relation r from j
    to i gives `v_j + r` in place of `v_j`, to keys and values alike.
    """

    def __init__(self, config: Config):
        super().__init__()
        # Nodes have no left and right neighbours: a convolution would be meaningless.
        sizes = replace(config.small_layer, ffn="linear")
        self.node_norm = nn.LayerNorm(config.dim)
        self.edge_norm = nn.LayerNorm(config.dim)
        self.ffn_norm = nn.LayerNorm(config.dim)
        self.attention = Attention(config.dim, config.dim, sizes)
        self.ffn = FeedForward(config.dim, sizes)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, nodes: Tensor, edges: Tensor, relations_NND: Tensor | None = None) -> Tensor:
        """Nodes [B, N, D] from nodes [B, N, D].

        Where `edges` (bool, broadcastable to [B, N, N]) is True, the row's node reads the column's.
        `relations_NND` are the vectors that the edges' relations add, if there are several.
        """
        nodes = query = memory = self.node_norm(nodes)
        mask = edges
        if relations_NND is not None:
            # A neighbour's vector depends on the node that reads it. So each node becomes a row of
            # the batch, with one query and a memory of its own.
            memory = (nodes.unsqueeze(1) + relations_NND).flatten(0, 1)  # B*N N D
            query = nodes.flatten(0, 1).unsqueeze(1)  # B*N 1 D
            mask = edges.expand(len(nodes), *edges.shape[-2:]).flatten(0, 1).unsqueeze(1)
        attended, _ = self.attention(query, self.attention.keys_values(memory), mask)
        nodes = self.edge_norm(nodes + self.dropout(attended.view_as(nodes)))
        return self.ffn_norm(nodes + self.ffn(nodes, edges.any(dim=-1)))


class CognitionGraph(nn.Module):
    """A star of five nodes: the last utterance, and inferences of intent, need, want and effect.

    An edge carries the inference's relation in both directions. Every node has one to itself.
    """

    def __init__(self, config: Config):
        super().__init__()
        # The relation of each edge, 0 of a node with itself; -1: no edge.
        kind = torch.full((COGNITIVE + 1, COGNITIVE + 1), -1).fill_diagonal_(0)
        kind[0, 1:] = kind[1:, 0] = torch.arange(1, COGNITIVE + 1)
        self.kind = nn.Buffer(kind, persistent=False)
        self.relations = nn.Parameter(torch.zeros(COGNITIVE + 1, config.dim))
        self.layer = GraphLayer(config)

    def forward(self, utterance_BD: Tensor, inferences_BRD: Tensor) -> Tensor:
        """Nodes [B, 5, D], the utterance first."""
        nodes = torch.cat([utterance_BD.unsqueeze(1), inferences_BRD[:, :COGNITIVE]], dim=1)
        return self.layer(nodes, self.kind >= 0, self.relations[self.kind.clamp(min=0)])


class Alignment(nn.Module):
    """InfoNCE with in-batch negatives, both ways: views of one dialogue attract each other.

    Departure: the similarity is the cosine of two linear maps at CTSM's temperature, so that both
    systems contrast alike.
    """

    def __init__(self, dim: int, temperature: float):
        super().__init__()
        self.first = nn.Linear(dim, dim, bias=False)
        self.second = nn.Linear(dim, dim, bias=False)
        self.temperature = temperature

    def forward(self, first: Tensor, second: Tensor, given_BP: Tensor, total: int) -> Tensor:
        """Mean over the anchors of all processes, a scalar; exactly 0 where nothing has a negative.

        Given are P pairs of views of each dialogue, [B, P, D], and the number of dialogues of the
        whole batch. A missing view (`given_BP` False: no phrase) is neither anchor nor negative.
        """
        projected = torch.stack([self.first(first), self.second(second)], dim=1)
        views = F.normalize(gather_rows(projected.float(), total), dim=-1).permute(1, 2, 0, 3)
        given = gather_rows(given_BP.to(views.dtype), total).T > 0  # P B
        with torch.autocast(views.device.type, enabled=False):
            # bf16 is too coarse for similarities that are divided by 0.07.
            scores = views[0] @ views[1].transpose(1, 2) / self.temperature  # P B B
        itself = torch.eye(total, dtype=torch.bool, device=scores.device)
        both = torch.stack([scores, scores.transpose(1, 2)])
        both = both.masked_fill(~(given.unsqueeze(1) | itself), float("-inf"))
        loss = -both.log_softmax(dim=-1).diagonal(dim1=-2, dim2=-1)  # 2 P B
        return loss.masked_fill(~given, 0.0).sum() / (2 * given.sum()).clamp(min=1)


class CaseLayer(DecoderLayer):
    """A decoder layer that attends to both graphs before the context, each after a LayerNorm."""

    def __init__(self, dim: int, memory_dim: int, sizes: LayerSizes):
        super().__init__(dim, memory_dim, sizes)
        self.cognition_norm = nn.LayerNorm(dim)
        self.affect_norm = nn.LayerNorm(dim)
        self.cognition_attention = Attention(dim, dim, sizes)
        self.affect_attention = Attention(dim, dim, sizes)

    def read_context(self, states: Tensor, memory: Any, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Attend to cognition, affect and context: `memory` has keys and values, and masks."""
        context, (cognition, every), (affect, real) = memory
        attended, _ = self.cognition_attention(self.cognition_norm(states), cognition, every)
        states = states + self.dropout(attended)
        attended, _ = self.affect_attention(self.affect_norm(states), affect, real)
        states = states + self.dropout(attended)
        return super().read_context(states, context, mask)


@dataclass(kw_only=True)
class CaseMemory(BaselineMemory):
    """An encoded context with its graphs."""

    cognition: Graph
    affect: Graph


class CASE(ReadsConcepts):
    """Cognition and Affection for reSponding Empathetically."""

    diverse = True
    uses = frozenset({"knowledge", "concepts"})

    class Decoder(BiasedDecoder):
        Layer = CaseLayer

    def make_parts(self, dim: int) -> None:
        self.knowledge = KnowledgeEncoder(dim, self.small_encoder)
        self.cognition = CognitionGraph(self.config)
        self.affect = GraphLayer(self.config)
        self.target_encoder = self.small_encoder(dim)
        self.prior = nn.Linear(dim, dim, bias=False)
        self.posterior = nn.Linear(dim, dim, bias=False)
        self.answer_words = nn.Linear(2 * dim, dim)
        self.coarse = Alignment(dim, self.config.temperature)
        self.fine = Alignment(dim, self.config.temperature)
        self.refine_in = nn.Linear(2 * dim, dim, bias=False)
        self.refine = self.small_encoder(dim)
        self.refine_out = nn.Linear(dim, dim)
        self.join = nn.Linear(2 * dim, dim)
        self.gate = nn.Linear(dim, 1)
        self.merge_in = nn.Linear(3 * dim, dim, bias=False)
        self.merge_out = nn.Linear(dim, dim, bias=False)
        self.classify = nn.Linear(dim, len(EMOTIONS), bias=False)

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> CaseMemory:
        states, mask = self.encode_context(batch, words)
        inferences = self.knowledge(batch.knowledge, self.embed(words["knowledge"]))  # B 5 D
        nodes = self.cognition(masked_mean(states, last_utterance(batch.speaker)), inferences)
        nodes = nodes[:, 1:]  # without the utterance
        cognition = Graph(nodes, torch.ones_like(nodes[..., 0], dtype=torch.bool))
        ids, edges = self.graph_of(batch.context)
        concepts = self.embed.dropout(words["concepts"]).to(states.dtype)
        nodes = self.affect(torch.cat([states, concepts], dim=1), edges)
        weights = intensity_weights(self.intensity[ids], ids != PAD)
        affect = Graph(nodes * weights.unsqueeze(-1), ids != PAD)
        query = self.prior(states[:, 0]).tanh()
        prior = (cognition.select(query), affect.select(query))
        (_, c_cog), (_, c_aff) = prior
        refined = self.refine(self.refine_in(beside(states, inferences[:, COGNITIVE])), mask)
        reaction = self.refine_out(refined[:, 0])
        share = self.gate(self.join(torch.cat([c_aff, reaction], dim=-1))).sigmoid()  # B 1
        emotion = share * c_aff + (1 - share) * reaction
        selected = torch.cat([c_cog, emotion.to(states.dtype)], dim=-1)
        merged = self.merge_in(beside(states, selected)).relu()
        memory = CaseMemory(
            states=self.merge_out(merged), mask=mask, context=batch.context,
            emotion_logits=self.classify(emotion).float(), cognition=cognition, affect=affect,
        )  # fmt: skip
        if self.training and batch.label is not None:
            memory.losses = self._own_losses(batch, words, memory, prior=prior, reaction=reaction)
        return memory

    def start(self, memory: Any) -> BiasedCache:
        # Keys and values of both graphs are computed once, as those of the context are.
        cache = super().start(memory)
        every, real = (graph.mask.unsqueeze(1) for graph in (memory.cognition, memory.affect))
        for i, layer in enumerate(self.decoder.layers):
            cognition = layer.cognition_attention.keys_values(memory.cognition.nodes)
            affect = layer.affect_attention.keys_values(memory.affect.nodes)
            cache.memory[i] = (cache.memory[i], (cognition, every), (affect, real))
        return cache

    def _own_losses(
        self, batch: Batch, words: dict[str, Tensor], memory: CaseMemory, *,
        prior: tuple, reaction: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Losses of selection and words [B], and of both alignments, scalars of the whole batch."""
        assert batch.target is not None
        mask = batch.target != PAD
        answer = masked_mean(self.target_encoder(self.embed(words["target"]), mask), mask)
        query = self.posterior(answer).tanh()
        goal_cog, chosen_cog = memory.cognition.select(query)
        goal_aff, chosen_aff = memory.affect.select(query)
        bag = self.answer_words(torch.cat([chosen_cog, chosen_aff], dim=-1)).tanh()
        logits = self.decoder.pointer.logits(bag, self.embed.words.weight)
        log_prob = logits.log_softmax(dim=-1).gather(1, batch.target) * mask
        (a_cog, c_cog), (a_aff, c_aff) = prior
        known = (batch.knowledge[..., 1:] != PAD).any(dim=-1)  # B 5
        both = known[:, :COGNITIVE] & known[:, COGNITIVE:]
        views = (c_cog.unsqueeze(1), c_aff.unsqueeze(1))
        reactions = reaction.unsqueeze(1).expand(-1, COGNITIVE, -1)
        return {
            "selection": divergence(goal_cog, a_cog) + divergence(goal_aff, a_aff),
            "bag_of_words": -(log_prob.sum(dim=1) / mask.sum(dim=1).clamp(min=1)),
            "coarse": self.coarse(*views, torch.ones_like(known[:, :1]), batch.total_pairs),
            "fine": FINE * self.fine(memory.cognition.nodes, reactions, both, batch.total_pairs),
        }


def last_utterance(speaker_BL: Tensor) -> Tensor:
    """Mask [B, L] of the last turn: the tokens after the other's last one. Without turns, CLS."""
    mask = speaker_BL != PAD
    place = torch.arange(speaker_BL.shape[1], device=speaker_BL.device)
    last = speaker_BL.gather(1, mask.sum(dim=1, keepdim=True) - 1)
    other = torch.where(mask & (speaker_BL != last), place, -1).amax(dim=1, keepdim=True)
    return mask & (place > other)


def divergence(posterior_BN: Tensor, prior_BN: Tensor) -> Tensor:
    """`KL(posterior || prior)`, [B]. The posterior gets no gradient. Weights of 0 add nothing."""
    goal = posterior_BN.detach()
    return (goal * (goal.clamp(min=TINY).log() - prior_BN.clamp(min=TINY).log())).sum(dim=1)
