"""Trait and state emotion of every token. Paper: Sec. 3.4, Eq. (2) to (9).

Shapes: B batch, L context length, D width of the context, K = 32 emotions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.model.layers import Encoder


def state_inclination(context_BLD: Tensor, emotions_KD: Tensor, mask_BL: Tensor) -> Tensor:
    """Inclination of each token to each emotion word, Eq. (7): their cosine, [B, L, K]."""
    cosine = F.normalize(context_BLD.float(), dim=-1) @ F.normalize(emotions_KD.float(), dim=-1).T
    return cosine * mask_BL.unsqueeze(-1)


class StateInclination(nn.Module):
    """`V_cos`: two linear maps take tokens and emotion words into the space of their cosine.

    Paper: Eq. (5) to (7). Eq. (6) reads the embedding E_C, not the encoded context H_C.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.emotion_words = nn.Linear(dim, dim)
        self.tokens = nn.Linear(dim, dim)

    def forward(self, embedded_BLD: Tensor, labels_KD: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, L, 32]."""
        return state_inclination(self.tokens(embedded_BLD), self.emotion_words(labels_KD), mask_BL)


@dataclass
class EmotionStates:
    """Emotion embeddings V and their encodings H; PAD rows are zero, parts left out are None."""

    V_t: Tensor | None  # B L 14, trait
    V_cos: Tensor | None  # B L 32, state inclination; a part of V_s
    V_s: Tensor | None  # B L 43, state
    V_ts: Tensor  # B L 57, trait and state side by side
    H_t: Tensor | None  # B L 14
    H_s: Tensor | None  # B L 43
    H_ts: Tensor  # B L 57


class EmotionEncoding(nn.Module):
    """Trait embedding and encoder (TEE), state embedding and encoder (SEE).

    The compressed context `H~_C` serves both embeddings (Eq. 3). Without `trait` or `state`, TEE or
    SEE is left out, as the ablations do.
    """

    def __init__(
        self, dim: int, make_encoder: Callable[[int], Encoder], compressed: int = 10, *,
        trait: bool = True, state: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.compress = nn.Linear(dim, compressed, bias=False)
        self.trait_width = 3 + 1 + compressed if trait else 0  # VAD, IDF, context: 14
        self.state_width = len(EMOTIONS) + 1 + compressed if state else 0  # 43
        self.width = self.trait_width + self.state_width  # 57
        self.trait_encoder = make_encoder(self.trait_width) if trait else None
        self.inclination = StateInclination(dim) if state else None
        self.state_encoder = make_encoder(self.state_width) if state else None

    def forward(
        self, *, context: Tensor, embedded: Tensor, labels: Tensor, vad: Tensor, idf: Tensor,
        mask: Tensor,
    ) -> EmotionStates:  # fmt: skip
        """Embed and encode the emotions of each token. Paper: Eq. (2), (4), (8), (9).

        Args:
            context, embedded: H_C and E_C, [B, L, D].
            labels: embedded emotion words, [32, D].
            vad, idf, mask: [B, L, 3], [B, L, 1] and [B, L].
        """
        keep = mask.unsqueeze(-1)
        meaning = self.compress(context).float()  # H~_C, Eq. (3)
        V_t = H_t = V_cos = V_s = H_s = None
        if self.trait_encoder is not None:
            V_t = torch.cat([vad, idf, meaning], dim=-1)  # B L 14
            H_t = self.trait_encoder(V_t, mask) * keep
            V_t = V_t * keep
        if self.inclination is not None and self.state_encoder is not None:
            V_cos = self.inclination(embedded, labels, mask)
            V_s = torch.cat([V_cos, idf, meaning], dim=-1)  # B L 43
            H_s = self.state_encoder(V_s, mask) * keep
            V_s = V_s * keep
        nothing = None if self.width else meaning[..., :0]
        V_ts = _side_by_side(V_t, V_s, nothing)
        H_ts = _side_by_side(H_t, H_s, nothing)
        return EmotionStates(V_t=V_t, V_cos=V_cos, V_s=V_s, V_ts=V_ts, H_t=H_t, H_s=H_s, H_ts=H_ts)


def _side_by_side(*parts: Tensor | None) -> Tensor:
    return torch.cat([part for part in parts if part is not None], dim=-1)
