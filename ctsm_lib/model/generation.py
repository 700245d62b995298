"""Response decoder. Paper: Sec. 3.6.1, Eq. (20), (21).

Shapes: B batch, T answer length, N real target tokens of a batch, L context length, D width,
H heads, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from ctsm_lib.corpus import PAD, SOS
from ctsm_lib.kernels import Dropout, causal_mask
from ctsm_lib.model.layers import Attention, FeedForward, TokenEmbedding
from ctsm_lib.model.pointer import PointerGenerator, Scores, mixture
from ctsm_lib.settings import LayerSizes

Past = tuple[Tensor, Tensor, Tensor]  # a layer's keys, values and last feed-forward inputs


@dataclass
class Masks:
    """Positions that may be read."""

    causal: Tensor  # 1 T past+T
    context: Tensor  # B 1 L
    real: Tensor  # B T, True at real tokens of the answer


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the context, feed-forward; pre-norm."""

    def __init__(self, dim: int, memory_dim: int, sizes: LayerSizes):
        super().__init__()
        self.self_norm = nn.LayerNorm(dim)
        self.cross_norm = nn.LayerNorm(dim)
        self.ffn_norm = nn.LayerNorm(dim)
        self.self_attention = Attention(dim, dim, sizes)
        self.cross_attention = Attention(dim, memory_dim, sizes)
        self.ffn = FeedForward(dim, sizes, causal=True)
        self.dropout = Dropout(sizes.dropout)

    def forward(
        self, states: Tensor, past: Past | None, memory: Any, masks: Masks
    ) -> tuple[Tensor, Past, Tensor]:
        """Apply the layer to states [B, T, D]; `memory` has keys and values of the context.

        Returns the states, `past` with these positions, attention to the context [B, H, T, L].
        """
        normed = self.self_norm(states)
        keys, values = self.self_attention.keys_values(normed)
        if past is not None:
            keys = torch.cat([past[0], keys], dim=2)
            values = torch.cat([past[1], values], dim=2)
        attended, _ = self.self_attention(normed, (keys, values), masks.causal)
        states, weights = self.read_context(states + self.dropout(attended), memory, masks.context)

        inputs = self.ffn_norm(states)
        real = masks.real
        if past is not None and self.ffn.reach:  # a convolution reads earlier positions, too
            inputs = torch.cat([past[2], inputs], dim=1)
            real = torch.cat([real.new_ones(past[2].shape[:2]), real], dim=1)
        states = states + self.ffn(inputs, real)[:, -states.shape[1] :]
        tail = inputs[:, max(inputs.shape[1] - self.ffn.reach, 0) :]
        return states, (keys, values, tail), weights

    def read_context(self, states: Tensor, memory: Any, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Attend to the context: the states, and the weights [B, H, T, L]."""
        attended, weights = self.cross_attention(self.cross_norm(states), memory, mask)
        return states + self.dropout(attended), weights


@dataclass
class DecoderCache:
    """Everything that a step needs of the steps before it. Rows can be selected and repeated."""

    memory: list[Any]  # for each layer, keys and values of the context; a subclass may keep more
    mask: Tensor  # B L, of the context
    context: Tensor  # B L, its ids
    past: list[Past | None]  # for each layer, the results of earlier positions
    length: int = 0  # number of positions so far

    def select(self, rows: Tensor) -> Self:
        """The cache of some rows, in the given order."""
        kept = {field.name: _rows_of(getattr(self, field.name), rows) for field in fields(self)}
        return replace(self, **kept)


def _rows_of(value: Any, rows: Tensor) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_rows_of(part, rows) for part in value)
    return value[rows] if isinstance(value, Tensor) else value


@dataclass
class Taught:
    """Results of teacher forcing for N real target tokens, row by row."""

    scores: Scores
    target: Tensor  # N
    row: Tensor  # N, the pair of the batch that each belongs to
    states: Tensor  # B T D, before the output layer
    mask: Tensor  # B T
    copy: Tensor  # N L


def previous_words(target_BT: Tensor) -> Tensor:
    """The decoder's input at each target position: SOS, then the target shifted by one, [B, T]."""
    return torch.cat([target_BT.new_full((len(target_BT), 1), SOS), target_BT[:, :-1]], dim=1)


class ResponseDecoder(nn.Module):
    """Decoder layers and pointer generator. Paper: Eq. (20).

    Teacher forcing (`teach`) and answering word by word (`step`) share every weight.
    """

    Layer: type[DecoderLayer] = DecoderLayer

    def __init__(
        self, dim: int, layers: int, sizes: LayerSizes, *, memory_dim: int,
        make_pointer: Callable[[], PointerGenerator],
    ):  # fmt: skip
        super().__init__()
        self.layers = nn.ModuleList(self.Layer(dim, memory_dim, sizes) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.pointer = make_pointer()

    def start(self, memory_BLD: Tensor, mask_BL: Tensor, context_BL: Tensor) -> DecoderCache:
        """A cache for contexts: their keys and values are computed once."""
        layers: Any = self.layers
        memory = [layer.cross_attention.keys_values(memory_BLD) for layer in layers]
        return DecoderCache(memory, mask_BL, context_BL, past=[None] * len(layers))

    def run(self, embedded: Tensor, cache: DecoderCache, real: Tensor) -> tuple[Tensor, Tensor]:
        """States [B, T, D] and the last layer's attention to the context [B, H, T, L]."""
        causal = causal_mask(embedded.shape[1], cache.length, embedded.device)
        masks = Masks(causal=causal, context=cache.mask.unsqueeze(1), real=real)
        states = attention = embedded
        for number, layer in enumerate(self.layers):
            past = cache.past[number]
            states, cache.past[number], attention = layer(states, past, cache.memory[number], masks)
        cache.length += embedded.shape[1]
        return self.norm(states), attention

    def copy_weights(self, attention: Tensor, words_BT: Tensor, cache: DecoderCache) -> Tensor:
        """Copy distribution [B, T, L]: the mean over heads, whatever words were read."""
        return attention.mean(dim=1)

    def teach(
        self, embed: TokenEmbedding, previous: Tensor, cache: DecoderCache, target_BT: Tensor
    ) -> Taught:
        """Score targets, which end with EOS and are padded, under teacher forcing.

        `previous` are looked-up vectors [B, T, D] of the shifted target (`previous_words`).
        """
        mask = target_BT != PAD
        words = previous_words(target_BT)
        states, attention = self.run(embed(previous), cache, mask)
        copy = self.copy_weights(attention, words, cache)
        # The vocabulary is projected at real targets only.
        place = mask.nonzero(as_tuple=True)
        row = place[0]
        target = target_BT[place]
        copied = copy[place]
        given = {"copy": copied, "context": cache.context[row], "previous": words[place]}
        parts = self.pointer(states[place], embed.words.weight, **given)
        scores = self.pointer.score(parts, target)
        return Taught(scores=scores, target=target, row=row, states=states, mask=mask, copy=copied)

    def step(
        self, embed: TokenEmbedding, vectors: Tensor, cache: DecoderCache, token_B: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Read one more word: log P of the next [B, V], alpha [B], and copy weights [B, L].

        `vectors` are the looked-up vectors [B, 1, D] of `token_B`.
        """
        words = token_B.unsqueeze(1)
        real = torch.ones_like(words, dtype=torch.bool)
        states, attention = self.run(embed(vectors, start=cache.length), cache, real)
        copy = self.copy_weights(attention, words, cache)[:, 0]
        given = {"copy": copy, "context": cache.context, "previous": token_B}
        parts = self.pointer(states[:, 0], embed.words.weight, **given)
        log_prob, alpha = mixture(parts.logits, parts.gate, parts.copy, parts.context)
        return log_prob, alpha, copy
