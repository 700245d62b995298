"""The parts of CASE: graph attention, the cognition graph, selection of nodes, alignment.

Shapes: B batch, L context length, N nodes of a graph, P pairs of views, D width.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD
from ctsm_lib.kernels import masked_softmax
from ctsm_lib.model.context import COGNITIVE
from ctsm_lib.model.layers import Attention, FeedForward
from ctsm_lib.model.pointer import TINY
from ctsm_lib.parallel import gather_rows


@dataclass
class Selection:
    """The nodes of a graph that a query selects."""

    weights: Tensor  # B N, a = softmax(q v / sqrt(D))
    chosen: Tensor  # B D, c = sum_j a_j v_j


@dataclass
class Graph:
    """The encoded nodes of a graph."""

    nodes: Tensor  # B N D
    mask: Tensor  # B N

    def select(self, query_BD: Tensor) -> Selection:
        """Attend to the nodes with one query for each graph."""
        scores = (self.nodes @ query_BD.unsqueeze(2)).squeeze(2) * self.nodes.shape[2] ** -0.5
        weights = masked_softmax(scores, self.mask)
        chosen = (weights.to(self.nodes.dtype).unsqueeze(1) @ self.nodes).squeeze(1)
        return Selection(weights=weights, chosen=chosen)


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

        Args:
            edges: bool, broadcastable to [B, N, N]; the row's node reads the column's node.
            relations_NND: the vector that the relation of each edge adds, if there are several.
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

    An edge between utterance and inference carries the inference's relation in both directions.
    Every node has an edge to itself.
    """

    kind: Tensor  # 5 5, the relation of each edge; 0 elsewhere
    edges: Tensor  # 5 5

    def __init__(self, config: Config):
        super().__init__()
        kind = torch.zeros(COGNITIVE + 1, COGNITIVE + 1, dtype=torch.int64)
        kind[0, 1:] = kind[1:, 0] = torch.arange(1, COGNITIVE + 1)
        edges = (kind > 0) | torch.eye(COGNITIVE + 1, dtype=torch.bool)
        self.register_buffer("kind", kind, persistent=False)
        self.register_buffer("edges", edges, persistent=False)
        self.relations = nn.Parameter(torch.zeros(COGNITIVE + 1, config.dim))
        self.layer = GraphLayer(config)

    def forward(self, utterance_BD: Tensor, inferences_BRD: Tensor) -> Tensor:
        """Nodes [B, 5, D], the utterance first."""
        nodes = torch.cat([utterance_BD.unsqueeze(1), inferences_BRD[:, :COGNITIVE]], dim=1)
        return self.layer(nodes, self.edges, self.relations[self.kind])


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

        Args:
            first, second: P pairs of views of each dialogue, [B, P, D].
            given_BP: False where a view is missing (no phrase): neither anchor nor negative.
            total: dialogues of the whole batch.
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
