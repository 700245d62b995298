"""Trait and state emotions of every token. Paper: Sec. 3.4, Eq. (2) to (9)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.model.layers import Encoder

VAD, IDF, LABELS = 3, 1, 32


def state_inclination(context_BLD: Tensor, emotions_KD: Tensor, mask_BL: Tensor) -> Tensor:
    """How far each token leans towards each emotion word: cosine in [-1, 1], [B, L, K]; PAD rows are zero.

    Paper: Eq. (7).
    """
    cosine = F.normalize(context_BLD.float(), dim=-1) @ F.normalize(emotions_KD.float(), dim=-1).T
    return cosine * mask_BL.unsqueeze(-1)


def bending(states_ND: Tensor, words_N: Tensor, size: int) -> Tensor:
    """How far context bends each word: mean cosine distance between two of its occurrences, [size] in [0, 2].

    Words that occur less than twice have 0.

    Args:
        states_ND: a state for each occurrence, e.g. `V_cos` or `H_s`.
        words_N: its word's id, below `size`.
    """
    unit = F.normalize(states_ND.float(), dim=-1)
    sums = unit.new_zeros(size, unit.shape[1]).index_add(0, words_N, unit)
    count = torch.bincount(words_N, minlength=size)
    # |sum of unit vectors|^2 is the sum of all cosines; those of an occurrence with itself are 1 each.
    between = (sums.square().sum(dim=-1) - count) / (count * (count - 1)).clamp(min=1)
    return torch.where(count > 1, 1 - between, 0.0)


class StateInclination(nn.Module):
    """`V_cos`: two linear maps bring tokens and emotion words into one space, where their cosine is taken.

    Paper: Eq. (5) to (7). Eq. (6) takes the embedding E_C, not the encoded context H_C.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.emotion_words, self.tokens = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, embedded_BLD: Tensor, labels_KD: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, L, 32]."""
        return state_inclination(self.tokens(embedded_BLD), self.emotion_words(labels_KD), mask_BL)


class EmotionEncoding(nn.Module):
    """Trait embedding and encoder (TEE), state embedding and encoder (SEE); either can be left out.

    Args:
        dim: width of the context.
        compressed: width of the compressed context `H~_C`, one matrix for both embeddings (Eq. 3).
    """

    def __init__(
        self,
        dim: int,
        compressed: int,
        trait: bool,
        state: bool,
        make_encoder: Callable[[int], Encoder],
    ):
        super().__init__()
        self.compress = nn.Linear(dim, compressed, bias=False)
        self.trait_width = VAD + IDF + compressed if trait else 0  # 14
        self.state_width = LABELS + IDF + compressed if state else 0  # 43
        self.width = self.trait_width + self.state_width  # 57
        self.trait_encoder = make_encoder(self.trait_width) if trait else None
        self.inclination = StateInclination(dim) if state else None
        self.state_encoder = make_encoder(self.state_width) if state else None

    def forward(
        self,
        context: Tensor,
        embedded: Tensor,
        labels_KD: Tensor,
        vad: Tensor,
        idf: Tensor,
        mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Embeddings and their encodings.

        Args:
            context: [B, L, D] H_C.
            embedded: [B, L, D] E_C.
            labels_KD: [32, D] embedded label words.
            vad: [B, L, 3].
            idf: [B, L, 1].
            mask: [B, L].

        Returns:
            `[V_t ; V_s]` and `[H_t ; H_s]`, each [B, L, 14 + 43], PAD rows zero. Paper: Eq. (2), (4), (8), (9).
        """
        meaning = self.compress(context).float()
        embeddings, encoded = [], []
        if self.trait_encoder is not None:
            trait = torch.cat([vad, idf, meaning], dim=-1)  # B L 14
            embeddings.append(trait)
            encoded.append(self.trait_encoder(trait, mask))
        if self.inclination is not None and self.state_encoder is not None:
            inclination = self.inclination(embedded, labels_KD, mask)
            state = torch.cat([inclination, idf, meaning], dim=-1)  # B L 43
            embeddings.append(state)
            encoded.append(self.state_encoder(state, mask))
        if not embeddings:
            nothing = context.new_zeros((*mask.shape, 0))
            return nothing, nothing
        keep = mask.unsqueeze(-1)
        return torch.cat(embeddings, dim=-1) * keep, torch.cat(encoded, dim=-1) * keep
