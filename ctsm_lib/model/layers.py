"""Transformer layers and the word embedding. Paper: Sec. 3.2 and Eq. (1).

A name's suffix gives the shape: B batch, L tokens or queries, M attended positions, D width,
H heads, K depth of a head, V vocabulary. Masks are bool and True at real tokens.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.corpus import PAD
from ctsm_lib.kernels import Dropout, masked_softmax, positions
from ctsm_lib.settings import LayerSizes, ModelSettings


class Attention(nn.Module):
    """Multi-head scaled dot-product attention of states [B, L, dim] to [B, M, memory_dim]."""

    def __init__(self, dim: int, memory_dim: int, sizes: LayerSizes):
        super().__init__()
        self.heads = sizes.heads
        self.depth = sizes.key_depth // sizes.heads
        self.query = nn.Linear(dim, sizes.key_depth, bias=False)
        self.key_value = nn.Linear(memory_dim, 2 * sizes.key_depth, bias=False)
        self.result = nn.Linear(sizes.key_depth, dim, bias=False)
        self.dropout = Dropout(sizes.dropout)

    def keys_values(self, memory_BMD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, each [B, H, M, K]. They are computed once and serve many queries."""
        both = self.key_value(memory_BMD).unflatten(-1, (2, self.heads, self.depth))
        key, value = both.permute(2, 0, 3, 1, 4)  # each B H M K
        return key, value

    def forward(
        self, query_BLD: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The result [B, L, D] and weights [B, H, L, M]; `mask` is broadcast to [B, L, M]."""
        key, value = keys_values
        query = self.query(query_BLD).unflatten(-1, (self.heads, self.depth)).transpose(1, 2)
        scores = query @ key.transpose(2, 3) * self.depth**-0.5  # B H L M
        weights = masked_softmax(scores, mask.unsqueeze(1))
        mixed = self.dropout(weights).to(value.dtype) @ value  # B H L K
        return self.result(mixed.transpose(1, 2).flatten(2)), weights


class FeedForward(nn.Module):
    """Two layers with a ReLU between them, applied at every position alone.

    With `ffn="conv"` both layers are convolutions of width 3, as in the baselines' released code; a
    causal one reads no later position. Departure: that code's convolution reads PAD positions, so
    that the longest row of a batch changes the others. Here PAD is zero before each convolution.
    """

    def __init__(self, dim: int, sizes: LayerSizes, causal: bool = False):
        super().__init__()
        self.is_conv = sizes.ffn == "conv"
        self.reach = 4 if self.is_conv else 0  # earlier positions that a causal result depends on
        self.padding = (2, 0) if causal else (1, 1)
        make = partial(nn.Conv1d, kernel_size=3) if self.is_conv else nn.Linear
        self.first = make(dim, sizes.ffn_dim)
        self.second = make(sizes.ffn_dim, dim)
        self.dropout = Dropout(sizes.dropout)

    def forward(self, states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, L, D] from [B, L, D]. Only a convolution reads the mask."""
        hidden = self.dropout(self._apply_layer(self.first, states_BLD, mask_BL).relu())
        return self.dropout(self._apply_layer(self.second, hidden, mask_BL))

    def _apply_layer(self, layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
        if not self.is_conv:
            return layer(states)
        padded = F.pad((states * mask.unsqueeze(-1)).transpose(1, 2), self.padding)  # B D L
        return layer(padded).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each applied to a LayerNorm of its input and added to it."""

    def __init__(self, dim: int, sizes: LayerSizes):
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.ffn_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, dim, sizes)
        self.ffn = FeedForward(dim, sizes)
        self.dropout = Dropout(sizes.dropout)

    def forward(self, states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        normed = self.attention_norm(states_BLD)
        keys_values = self.attention.keys_values(normed)
        attended, _ = self.attention(normed, keys_values, mask_BL.unsqueeze(1))
        states_BLD = states_BLD + self.dropout(attended)
        return states_BLD + self.ffn(self.ffn_norm(states_BLD), mask_BL)


class Encoder(nn.Module):
    """Transformer encoder with a final LayerNorm. Paper: Eq. (1), (4), (9)."""

    def __init__(self, dim: int, layers: int, sizes: LayerSizes):
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(dim, sizes) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, L, D] from [B, L, D]. Values at PAD are arbitrary: mask them before any sum."""
        for layer in self.layers:
            states_BLD = layer(states_BLD, mask_BL)
        return self.norm(states_BLD)


class TokenEmbedding(nn.Module):
    """The shared word table: word vector plus speaker state, scaled, plus position.

    One table serves context, response, commonsense, speaker states and emotion words. All ids of a
    batch are looked up in one call, because the gradient of each call is as large as the table. The
    row of PAD stays zero.
    """

    def __init__(self, vectors_VD: Tensor, settings: ModelSettings):
        super().__init__()
        freeze = not settings.train_vectors
        self.words = nn.Embedding.from_pretrained(vectors_VD.clone(), freeze, padding_idx=PAD)
        self.scale = settings.embedding_scale
        self.dropout = Dropout(settings.dropout)
        if settings.train_vectors:
            # A tied output layer would move the PAD row, which `padding_idx` does not prevent.
            self.words.weight.register_hook(_zero_pad_row)

    def look_up(self, ids: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scaled word vectors [..., D] of every named tensor of ids [...], in one look-up."""
        flat = self.words(torch.cat([value.flatten() for value in ids.values()])) * self.scale
        parts = flat.split([value.numel() for value in ids.values()])
        named = zip(ids.items(), parts, strict=True)
        return {name: part.view(*value.shape, flat.shape[1]) for (name, value), part in named}

    def forward(self, words: Tensor, speaker: Tensor | None = None, start: int = 0) -> Tensor:
        """Embedding [..., L, D] of looked-up words whose first is at position `start`."""
        embedded = words if speaker is None else words + speaker
        length, width = words.shape[-2:]
        return self.dropout(embedded + positions(length, width, words.device, start))


def _zero_pad_row(grad: Tensor) -> Tensor:
    grad[PAD] = 0  # a plain number: a tensor of indices would be copied to the device each time
    return grad
