"""Context enriched with commonsense, as CEM does it (Sabour et al., 2022). Paper: Sec. 3.3.

Shapes: B batch, L context length, R = 5 relations, S length of a relation's phrases, D width.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.corpus import PAD
from ctsm_lib.kernels import masked_mean
from ctsm_lib.model.layers import Encoder

COGNITIVE = 4  # xIntent, xNeed, xWant, xEffect; the fifth relation, xReact, is affective


class KnowledgeEncoder(nn.Module):
    """One vector for each of the five relations.

    `K_r` is the CLS state of Encoder_cog over the phrases of a cognitive relation, `k_e` the mean
    of Encoder_emo over the words of xReact. A relation without phrases has a learned vector.
    """

    def __init__(self, dim: int, make_encoder: Callable[[int], Encoder]):
        super().__init__()
        self.cognitive = make_encoder(dim)
        self.emotional = make_encoder(dim)
        self.absent = nn.Parameter(torch.zeros(COGNITIVE + 1, dim))

    def forward(self, ids_BRS: Tensor, embedded_BRSD: Tensor) -> Tensor:
        """Knowledge vectors [B, 5, D]; each relation's ids are CLS and its phrases, padded."""
        batch, relations, _, dim = embedded_BRSD.shape
        mask = (ids_BRS != PAD).flatten(0, 1)  # B*R S
        embedded = embedded_BRSD.flatten(0, 1)
        vectors = self.absent.to(embedded.dtype).repeat(batch, 1)  # B*R D
        affective = torch.arange(batch * relations, device=ids_BRS.device) % relations == COGNITIVE
        given = mask[:, 1:].any(dim=1)

        # Only relations that have phrases are encoded: without commonsense this costs nothing.
        if len(rows := (given & ~affective).nonzero().squeeze(1)):
            encoded = self.cognitive(embedded[rows], mask[rows])[:, 0]
            vectors = vectors.index_copy(0, rows, encoded.to(vectors.dtype))
        if len(rows := (given & affective).nonzero().squeeze(1)):
            inner = mask[rows, 1:]  # without CLS: the mean is over the words of the reaction
            encoded = masked_mean(self.emotional(embedded[rows, 1:], inner), inner)
            vectors = vectors.index_copy(0, rows, encoded.to(vectors.dtype))
        return vectors.view(batch, relations, dim)


class SeparateFusion(nn.Module):
    """The paper's fusion: each relation refines the context by itself, and a gated MLP joins them.

    `U_r = Encoder_cr([H_C ; K_r])`, `U_e = Encoder_er([H_C ; k_e])`, `Z = [U_1..U_4 ; U_e]`,
    `H = W_2 relu(W_1 (sigmoid(Z) * Z))`.
    """

    def __init__(self, dim: int, make_encoder: Callable[[int], Encoder]):
        super().__init__()
        # [H ; K] W = H W_h + K W_k. The halves are applied apart: K is the same at each token.
        self.context_in = nn.Linear(dim, dim, bias=False)
        self.knowledge_in = nn.Linear(dim, dim, bias=False)
        self.emotion_context_in = nn.Linear(dim, dim, bias=False)
        self.emotion_knowledge_in = nn.Linear(dim, dim, bias=False)
        self.cognitive = make_encoder(dim)
        self.emotional = make_encoder(dim)
        self.first = nn.Linear((COGNITIVE + 1) * dim, 3 * dim, bias=False)
        self.second = nn.Linear(3 * dim, dim, bias=False)

    def forward(self, context_BLD: Tensor, knowledge_BRD: Tensor, mask_BL: Tensor) -> Tensor:
        """Enriched context H, [B, L, D]."""
        return self.fuse(context_BLD, knowledge_BRD, mask_BL)[0]

    def fuse(
        self, context_BLD: Tensor, knowledge_BRD: Tensor, mask_BL: Tensor
    ) -> tuple[Tensor, Tensor]:
        """H and U_e, each [B, L, D]."""
        batch, length, dim = context_BLD.shape
        # The four cognitive relations share one encoder, so they become rows of one batch.
        shared = self.context_in(context_BLD).unsqueeze(1)
        added = self.knowledge_in(knowledge_BRD[:, :COGNITIVE]).unsqueeze(2)
        mask = mask_BL.repeat_interleave(COGNITIVE, dim=0)
        cognitive = self.cognitive((shared + added).flatten(0, 1), mask)
        cognitive = cognitive.view(batch, COGNITIVE, length, dim).transpose(1, 2).flatten(2)

        reaction = self.emotion_knowledge_in(knowledge_BRD[:, COGNITIVE:])
        emotional = self.emotional(self.emotion_context_in(context_BLD) + reaction, mask_BL)
        joined = torch.cat([cognitive, emotional], dim=-1)  # B L 5D
        gated = F.silu(joined)  # silu(Z) is sigmoid(Z) * Z in one pass
        return self.second(self.first(gated).relu()), emotional
