"""The parts of CASE: a graph attention layer, the edges of its two graphs, selection of nodes, alignment.

Shapes: B batch, L context length, M concepts of a context, N = L + M or 5 nodes, P pairs of views, D width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD
from ctsm_lib.kernels import masked_softmax
from ctsm_lib.model.context import COGNITIVE
from ctsm_lib.model.layers import Attention, FeedForward
from ctsm_lib.parallel import gather_rows


class GraphLayer(nn.Module):
    """`u = norm(v)`, `w = norm(u + Attention(u over its edges))`, `v' = norm(w + FFN(w))`.

    The first norm brings encoded tokens and word vectors to one scale. An edge of relation r from j to i gives
    `v_j + r` in the place of `v_j`, to keys and values alike.
    """

    def __init__(self, config: Config):
        super().__init__()
        dim = config.dim
        self.node_norm = nn.LayerNorm(dim)
        self.edge_norm = nn.LayerNorm(dim)
        self.ffn_norm = nn.LayerNorm(dim)
        # Nodes have no neighbours to the left and right: never a convolution.
        sizes = replace(config.small_layer, ffn="linear")
        self.attention = Attention(dim, dim, sizes)
        self.ffn = FeedForward(dim, sizes)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, nodes_BND: Tensor, edges: Tensor, relations_NND: Tensor | None = None
    ) -> Tensor:
        """[B, N, D].

        Args:
            edges: bool, broadcastable to [B, N, N]; the row reads the column.
            relations_NND: what the relation of each edge adds; None where edges are all of one kind.
        """
        nodes = self.node_norm(nodes_BND)
        if relations_NND is None:
            attended, _ = self.attention(nodes, self.attention.keys_values(nodes), edges)
        else:
            # Each node becomes a query with a memory of its own: what a neighbour is depends on who looks at it.
            batch, size, _ = nodes.shape
            memory = (nodes.unsqueeze(1) + relations_NND).flatten(0, 1)  # B*N N D
            query, mask = (
                nodes.flatten(0, 1).unsqueeze(1),
                edges.expand(batch, size, size).flatten(0, 1).unsqueeze(1),
            )
            attended = self.attention(query, self.attention.keys_values(memory), mask)[0].view_as(
                nodes
            )
        nodes = self.edge_norm(nodes + self.dropout(attended))
        return self.ffn_norm(nodes + self.ffn(nodes, edges.any(dim=-1)))


class CognitionGraph(nn.Module):
    """The last utterance and what commonsense says of its intent, need, want and effect, five nodes in a star.

    An edge between utterance and inference carries the inference's relation, either way; every node has an edge to
    itself.
    """

    edges: Tensor
    kind: Tensor

    def __init__(self, config: Config):
        super().__init__()
        kind = torch.zeros(COGNITIVE + 1, COGNITIVE + 1, dtype=torch.int64)  # 0: itself
        kind[0, 1:] = kind[1:, 0] = torch.arange(1, COGNITIVE + 1)
        self.register_buffer("kind", kind, persistent=False)
        self.register_buffer(
            "edges", (kind > 0) | torch.eye(COGNITIVE + 1, dtype=torch.bool), persistent=False
        )
        self.relations = nn.Parameter(torch.zeros(COGNITIVE + 1, config.dim))
        self.layer = GraphLayer(config)

    def forward(self, utterance_BD: Tensor, inferences_BRD: Tensor) -> Tensor:
        """[B, 5, D], the utterance first."""
        nodes = torch.cat([utterance_BD.unsqueeze(1), inferences_BRD[:, :COGNITIVE]], dim=1)
        return self.layer(nodes, self.edges, self.relations[self.kind])


def last_utterance(speaker_BL: Tensor) -> Tensor:
    """Mask [B, L] of the last turn: the tokens behind the last one that another said; else CLS."""
    mask = speaker_BL != PAD
    place = torch.arange(speaker_BL.shape[1], device=speaker_BL.device)
    last = speaker_BL.gather(1, mask.sum(dim=1, keepdim=True) - 1)
    other = torch.where(mask & (speaker_BL != last), place, -1).amax(dim=1, keepdim=True)
    return mask & (place > other)


def affect_edges(nodes_BN: Tensor, place_BM: Tensor) -> Tensor:
    """Which node reads which, [B, N, N]: a token itself, the one before it, CLS and its concept; a concept itself and
    its word.

    Args:
        nodes_BN: mask of the nodes, L tokens and then M concepts.
        place_BM: the token that each concept belongs to.
    """
    batch, size = place_BM.shape
    token = torch.arange(nodes_BN.shape[1] - size, device=nodes_BN.device)
    back = token.unsqueeze(1) - token
    among = ((back == 0) | (back == 1) | (token == 0)).expand(batch, -1, -1)
    owns = token.unsqueeze(1) == place_BM.unsqueeze(1)  # B L M
    itself = torch.eye(size, dtype=torch.bool, device=nodes_BN.device).expand(batch, -1, -1)
    edges = torch.cat(
        [torch.cat([among, owns], dim=2), torch.cat([owns.transpose(1, 2), itself], dim=2)], dim=1
    )
    return edges & nodes_BN.unsqueeze(1)


def select(query_BD: Tensor, nodes_BND: Tensor, mask_BN: Tensor) -> tuple[Tensor, Tensor]:
    """`a = softmax(q v / sqrt(D))` over a graph's nodes [B, N], and `c = sum_j a_j v_j` [B, D]."""
    scores = (nodes_BND @ query_BD.unsqueeze(2)).squeeze(2) * nodes_BND.shape[2] ** -0.5
    weights = masked_softmax(scores, mask_BN)
    return weights, (weights.to(nodes_BND.dtype).unsqueeze(1) @ nodes_BND).squeeze(1)


def divergence(posterior_BN: Tensor, prior_BN: Tensor) -> Tensor:
    """`KL(posterior || prior)`, [B]; no gradient reaches the posterior. Places of weight 0 add nothing."""
    tiny = torch.finfo(torch.float32).tiny
    goal = posterior_BN.detach()
    return (goal * (goal.clamp(min=tiny).log() - prior_BN.clamp(min=tiny).log())).sum(dim=1)


class Alignment(nn.Module):
    """Views of the same dialogue are to be nearer than those of others: InfoNCE with in-batch negatives, both ways.

    Departure: the similarity is the cosine of two linear maps at CTSM's temperature: both systems contrast alike.
    """

    def __init__(self, dim: int, temperature: float):
        super().__init__()
        self.first, self.second = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.temperature = temperature

    def forward(
        self, first_BPD: Tensor, second_BPD: Tensor, given_BP: Tensor, total: int
    ) -> Tensor:
        """Mean over the anchors of all processes, a scalar; exactly 0 where nothing has a negative.

        Args:
            first_BPD, second_BPD: P pairs of views of each dialogue.
            given_BP: False where one view of a pair is no view (no phrase): neither anchor nor negative.
            total: dialogues of the whole batch.
        """
        projected = torch.stack([self.first(first_BPD), self.second(second_BPD)], dim=1)
        views = F.normalize(gather_rows(projected.float(), total), dim=-1).permute(
            1, 2, 0, 3
        )  # 2 P B D
        given = gather_rows(given_BP.to(views.dtype), total).T > 0  # P B
        with torch.autocast(
            views.device.type, enabled=False
        ):  # bf16 is too coarse for what is divided by 0.07
            scores = views[0] @ views[1].transpose(1, 2) / self.temperature
        itself = torch.eye(total, dtype=torch.bool, device=scores.device)
        both = torch.stack([scores, scores.transpose(1, 2)])
        both = both.masked_fill(~(given.unsqueeze(1) | itself), float("-inf"))
        loss = -both.log_softmax(dim=-1).diagonal(dim1=-2, dim2=-1)  # 2 P B
        return loss.masked_fill(~given, 0.0).sum() / (2 * given.sum()).clamp(min=1)
