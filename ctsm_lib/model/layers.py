"""Attention, feed-forward, encoder: the backbone that every component stands on.

Shapes: B batch, L or M length (of queries, of memory), D width, H heads. Masks are True at real tokens.
Pre-norm Transformer layers. Specification, Section 2; Paper: Eq. (1).
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis among the places where `mask` is True; a row without any gives zeros, never NaN.

    Args:
        scores: [..., M].
        mask: bool, broadcastable to `scores`.
    """
    empty = ~mask.any(dim=-1, keepdim=True)
    # An empty row is opened for the softmax and zeroed after it: softmax of -inf only would poison the gradient.
    weights = scores.float().masked_fill(~(mask | empty), float("-inf")).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0)


def masked_mean(states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    """Mean over the real tokens, [B, D]; zeros where there is none."""
    mask = mask_BL.unsqueeze(-1)
    return (states_BLD * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def positions(length: int, dim: int, device: torch.device, start: int = 0) -> Tensor:
    """Sinusoidal position signal, [length, dim]. Source: Vaswani et al. (2017), Sec. 3.5."""
    place = torch.arange(start, start + length, device=device, dtype=torch.float32).unsqueeze(1)
    rate = torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10_000.0) / dim))
    signal = torch.zeros(length, dim, device=device)
    signal[:, 0::2] = torch.sin(place * rate)
    signal[:, 1::2] = torch.cos(place * rate[: dim // 2])
    return signal


class Dropout(nn.Dropout):
    """Dropout that draws one random byte for a value on the CPU, where PyTorch's draws a random number of 64 bits.

    The probability is the nearest 256th that is neither 0 nor 1: 0.15 becomes 38/256. Accelerators use PyTorch's own.
    """

    def forward(self, values: Tensor) -> Tensor:
        """The same shape and dtype; in evaluation the values themselves."""
        if not self.training or self.p == 0:
            return values
        if values.device.type != "cpu":
            return super().forward(values)
        dropped = min(max(round(self.p * 256), 1), 255)
        count = values.numel()
        drawn = torch.empty((count + 7) // 8, dtype=torch.int64).random_(
            torch.iinfo(torch.int64).min, None
        )
        keep = drawn.view(torch.uint8)[:count].view(values.shape) >= dropped
        return (values * keep).mul_(256 / (256 - dropped))


class Attention(nn.Module):
    """Multi-head scaled dot-product attention.

    Args:
        dim: width of queries and of the result.
        memory_dim: width of what is attended to.
        key_depth: width of keys and values, of all heads together; it need not be `dim`.
    """

    def __init__(self, dim: int, memory_dim: int, heads: int, key_depth: int, dropout: float = 0.0):
        super().__init__()
        self.heads, self.depth = heads, key_depth // heads
        self.query = nn.Linear(dim, key_depth, bias=False)
        self.key_value = nn.Linear(memory_dim, 2 * key_depth, bias=False)
        self.result = nn.Linear(key_depth, dim, bias=False)
        self.dropout = Dropout(dropout)

    def keys_values(self, memory_BMD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, each [B, H, M, depth], for use by many queries."""
        batch, length, _ = memory_BMD.shape
        both = (
            self.key_value(memory_BMD)
            .view(batch, length, 2, self.heads, self.depth)
            .permute(2, 0, 3, 1, 4)
        )
        return both[0], both[1]

    def forward(
        self, query_BLD: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            query_BLD: [B, L, D].
            keys_values: what `keys_values` made of the memory.
            mask: bool, broadcastable to [B, L, M].

        Returns:
            [B, L, D], and the weights [B, H, L, M].
        """
        batch, length, _ = query_BLD.shape
        key, value = keys_values
        query = self.query(query_BLD).view(batch, length, self.heads, self.depth).transpose(1, 2)
        scores = query @ key.transpose(2, 3) * self.depth**-0.5
        weights = masked_softmax(scores, mask.unsqueeze(1))
        mixed = self.dropout(weights).to(value.dtype) @ value  # B H L depth
        return self.result(
            mixed.transpose(1, 2).reshape(batch, length, self.heads * self.depth)
        ), weights


class FeedForward(nn.Module):
    """Two layers with a ReLU, at every position alone; or as the peers have it, a convolution of width 3.

    Departure: the peers' convolution reads PAD positions, which lets a batch's longest row change the answer to the
    others. Here PAD is zeroed before each convolution.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        kind: str = "linear",
        dropout: float = 0.0,
        causal: bool = False,
    ):
        super().__init__()
        self.kind, self.causal = kind, causal
        self.reach = (
            4 if kind == "conv" else 0
        )  # how many earlier positions a causal result depends on
        make = nn.Linear if kind == "linear" else lambda a, b: nn.Conv1d(a, b, kernel_size=3)
        self.first, self.second = make(dim, hidden), make(hidden, dim)
        self.dropout = Dropout(dropout)

    def forward(self, states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, L, D] from [B, L, D]; `mask_BL` matters to the convolution only."""
        hidden = self.dropout(self._project(self.first, states_BLD, mask_BL).relu())
        return self.dropout(self._project(self.second, hidden, mask_BL))

    def _project(self, layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
        if self.kind == "linear":
            return layer(states)
        padding = (2, 0) if self.causal else (1, 1)
        return layer(F.pad((states * mask.unsqueeze(-1)).transpose(1, 2), padding)).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each after a LayerNorm and added to its input."""

    def __init__(
        self, dim: int, heads: int, key_depth: int, ffn_dim: int, ffn: str, dropout: float
    ):
        super().__init__()
        self.attention_norm, self.ffn_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, dim, heads, key_depth, dropout)
        self.ffn = FeedForward(dim, ffn_dim, ffn, dropout)
        self.dropout = Dropout(dropout)

    def forward(self, states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        normed = self.attention_norm(states_BLD)
        attended, _ = self.attention(
            normed, self.attention.keys_values(normed), mask_BL.unsqueeze(1)
        )
        states_BLD = states_BLD + self.dropout(attended)
        return states_BLD + self.ffn(self.ffn_norm(states_BLD), mask_BL)


class Encoder(nn.Module):
    """Transformer encoder with a final LayerNorm. Paper: Eq. (1), (4), (9)."""

    def __init__(
        self,
        dim: int,
        layers: int,
        heads: int,
        key_depth: int,
        ffn_dim: int,
        ffn: str,
        dropout: float,
    ):
        super().__init__()
        make = (EncoderLayer(dim, heads, key_depth, ffn_dim, ffn, dropout) for _ in range(layers))
        self.layers = nn.ModuleList(make)
        self.norm = nn.LayerNorm(dim)

    def forward(self, states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, L, D] from [B, L, D]. What stands at PAD positions is undefined; mask it before any sum."""
        for layer in self.layers:
            states_BLD = layer(states_BLD, mask_BL)
        return self.norm(states_BLD)


def _without_row(grad: Tensor, row: int) -> Tensor:
    grad[row] = 0  # an index of tensors would have to be sent to the device
    return grad


class TokenEmbedding(nn.Module):
    """Word, plus speaker state, times a scale, plus position. Paper: Sec. 3.3.

    One word table serves context, response, knowledge, speaker states and label words. Everything that a batch needs is
    looked up at once: each look-up would cost a gradient as large as the whole table.
    """

    def __init__(self, vectors_VD: Tensor, scale: float, dropout: float, train: bool, pad: int):
        super().__init__()
        self.words = nn.Embedding.from_pretrained(
            vectors_VD.clone(), freeze=not train, padding_idx=pad
        )
        self.scale = scale
        self.dropout = Dropout(dropout)
        if train:  # a tied output layer would move the PAD row, which padding_idx does not prevent
            self.words.weight.register_hook(partial(_without_row, row=pad))

    def look_up(self, ids: dict[str, Tensor]) -> dict[str, Tensor]:
        """Word vectors [..., D] for every named tensor of ids [...], scaled, in one look-up."""
        flat = self.words(torch.cat([value.flatten() for value in ids.values()])) * self.scale
        parts = flat.split([value.numel() for value in ids.values()])
        width = self.words.weight.shape[
            1
        ]  # named, as -1 is ambiguous where a process has no pair of a batch
        return {
            name: part.view(*value.shape, width)
            for (name, value), part in zip(ids.items(), parts, strict=True)
        }

    def forward(self, words: Tensor, speaker: Tensor | None = None, start: int = 0) -> Tensor:
        """Embedding [..., L, D] of looked-up words and, for the context, of speaker states.

        Args:
            start: position of the first token.
        """
        embedded = words if speaker is None else words + speaker
        return self.dropout(
            embedded + positions(words.shape[-2], words.shape[-1], words.device, start)
        )
