"""Decoder and diversity loss. Paper: Sec. 3.6.1, Eq. (20), (21).

Shapes: B batch, T target length, N real target tokens of a batch, L context length, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from ctsm_lib.corpus import EOS, PAD, SOS
from ctsm_lib.model.layers import Attention, Dropout, FeedForward, TokenEmbedding
from ctsm_lib.model.pointer import Leaning, PointerGenerator
from ctsm_lib.parallel import all_sum

KeysValues = tuple[Tensor, Tensor]
Past = tuple[Tensor, Tensor, Tensor]  # a layer's keys, values and last feed-forward inputs


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the context, feed-forward; pre-norm."""

    def __init__(
        self,
        dim: int,
        memory_dim: int,
        heads: int,
        key_depth: int,
        ffn_dim: int,
        ffn: str,
        dropout: float,
    ):
        super().__init__()
        self.self_norm, self.cross_norm, self.ffn_norm = (
            nn.LayerNorm(dim),
            nn.LayerNorm(dim),
            nn.LayerNorm(dim),
        )
        self.self_attention = Attention(dim, dim, heads, key_depth, dropout)
        self.cross_attention = Attention(dim, memory_dim, heads, key_depth, dropout)
        self.ffn = FeedForward(dim, ffn_dim, ffn, dropout, causal=True)
        self.dropout = Dropout(dropout)

    def forward(
        self, states: Tensor, past: Past | None, memory: KeysValues, self_mask: Tensor, mask: Tensor, real: Tensor,
        extra: dict[str, Tensor],
    ) -> tuple[Tensor, Past, Tensor]:  # fmt: skip
        """One layer.

        Args:
            states: [B, T, D].
            past: what earlier positions left, or None.
            memory: keys and values of the context.
            self_mask: [B or 1, T, T + past].
            mask: [B, 1, L].
            real: [B, T].
            extra: what else a model gives its decoder; baselines use it.

        Returns:
            [B, T, D]; `past` with this call's added; cross-attention weights [B, H, T, L].
        """
        normed = self.self_norm(states)
        own = self.self_attention.keys_values(normed)
        if past is not None:
            own = (torch.cat([past[0], own[0]], dim=2), torch.cat([past[1], own[1]], dim=2))
        states = states + self.dropout(self.self_attention(normed, own, self_mask)[0])
        states = self.consult(states, extra)
        attended, weights = self.attend(self.cross_norm(states), memory, mask, extra)
        states = states + self.dropout(attended)
        inputs = self.ffn_norm(states)
        if past is not None and self.ffn.reach:  # a convolution reads earlier positions, too
            inputs = torch.cat([past[2], inputs], dim=1)
            real = torch.cat([real.new_ones(past[2].shape[:2]), real], dim=1)
        states = states + self.ffn(inputs, real)[:, -states.shape[1] :]
        tail = inputs[:, inputs.shape[1] - min(self.ffn.reach, inputs.shape[1]) :]
        return states, (*own, tail), weights

    def consult(self, states: Tensor, extra: dict[str, Tensor]) -> Tensor:
        """What a baseline's decoder reads before the context, added to the states [B, T, D]; here nothing."""
        return states

    def attend(
        self, normed: Tensor, memory: KeysValues, mask: Tensor, extra: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """What a position reads of the context [B, T, D], and the weights [B, H, T, L]; baselines read it otherwise."""
        return self.cross_attention(normed, memory, mask)


@dataclass
class Taught:
    """What teacher forcing gives. N real target tokens, row by row.

    Attributes:
        log_prob: [N] log P(y).
        spread: [N] mean over the vocabulary of the generated part's log-probability, for label smoothing.
        prediction: [N] arg-max of P.
        alpha: [N] probability of generating rather than copying.
        target: [N] y.
        row: [N] which pair of the batch.
        states: [B, T, D] decoder states before the output layer.
        mask: [B, T].
        copy: [N, L] copy weights.
    """

    log_prob: Tensor
    spread: Tensor
    prediction: Tensor
    alpha: Tensor
    target: Tensor
    row: Tensor
    states: Tensor
    mask: Tensor
    copy: Tensor | None = None


@dataclass
class DecoderCache:
    """What a step needs of the steps before it; rows can be selected, repeated and dropped."""

    memory: list[KeysValues]
    mask: Tensor  # B L
    context: Tensor  # B L
    past: list[Past | None]
    length: int = 0
    extra: dict[str, Tensor] = field(
        default_factory=dict
    )  # B ...; "first" [B, D] is read in the place of SOS
    said: Tensor | None = (
        None  # B L: words of the context that the answer has, where they may not be copied again
    )
    log_unigram: Tensor | None = None  # V: the model's, where answers lean away from common words

    def select(self, rows: Tensor) -> DecoderCache:
        """The cache of some rows, in the given order."""
        memory = [(key[rows], value[rows]) for key, value in self.memory]
        past = [
            None if kept is None else (kept[0][rows], kept[1][rows], kept[2][rows])
            for kept in self.past
        ]
        extra = {name: value[rows] for name, value in self.extra.items()}
        said = None if self.said is None else self.said[rows]
        kept = (memory, self.mask[rows], self.context[rows], past, self.length, extra, said)
        return DecoderCache(*kept, self.log_unigram)


def causal_mask(states_BTD: Tensor, before: int) -> Tensor:
    """[1, T, before + T] True where a position may read: itself and all earlier ones."""
    length = states_BTD.shape[1]
    mask = torch.ones(length, before + length, dtype=torch.bool, device=states_BTD.device)
    return mask.tril(diagonal=before).unsqueeze(0)


def previous_words(target_BT: Tensor) -> Tensor:
    """What the decoder reads at each target position: SOS, then the target without its last token, [B, T]."""
    return torch.cat([target_BT.new_full((len(target_BT), 1), SOS), target_BT[:, :-1]], dim=1)


class ResponseDecoder(nn.Module):
    """Decoder layers and pointer generator; teacher forcing and step-by-step answering share every weight."""

    Layer = DecoderLayer
    smooth = False  # whether `teach` also gives what label smoothing needs

    def __init__(
        self,
        dim: int, memory_dim: int, layers: int, heads: int, key_depth: int, ffn_dim: int, ffn: str, dropout: float,
        size: int, tied: bool, bias: Tensor | None, leaning: Leaning | None = None,
    ):  # fmt: skip
        super().__init__()
        make = (
            self.Layer(dim, memory_dim, heads, key_depth, ffn_dim, ffn, dropout)
            for _ in range(layers)
        )
        self.layers = nn.ModuleList(make)
        self.norm = nn.LayerNorm(dim)
        self.pointer = PointerGenerator(dim, size, tied, bias, leaning)

    def start(
        self,
        memory_BLD: Tensor,
        mask_BL: Tensor,
        context_BL: Tensor,
        extra: dict[str, Tensor] | None = None,
    ) -> DecoderCache:
        """A cache for contexts: their keys and values are computed once."""
        attentions = cast(list[Attention], [layer.cross_attention for layer in self.layers])
        memory = [attention.keys_values(memory_BLD) for attention in attentions]
        return DecoderCache(
            memory, mask_BL, context_BL, [None] * len(self.layers), extra=extra or {}
        )

    def run(self, embedded: Tensor, cache: DecoderCache, real: Tensor) -> tuple[Tensor, Tensor]:
        """States [B, T, D] and the last layer's head-averaged attention to the context [B, T, L]."""
        length, causal = embedded.shape[1], causal_mask(embedded, cache.length)
        states, weights = embedded, embedded
        for number, layer in enumerate(self.layers):
            arguments = (
                cache.past[number],
                cache.memory[number],
                causal,
                cache.mask.unsqueeze(1),
                real,
                cache.extra,
            )
            states, cache.past[number], weights = layer(states, *arguments)
        cache.length += length
        return self.norm(states), weights.mean(dim=1)

    def teach(
        self, embed: TokenEmbedding, previous: Tensor, cache: DecoderCache, target_BT: Tensor
    ) -> Taught:
        """Score targets under teacher forcing; the vocabulary is projected at real targets only.

        Args:
            previous: [B, T, D] word vectors of the shifted target (`previous_words`).
            cache: what `start` returned; it is used up.
            target_BT: [B, T] with EOS, padded.
        """
        mask = target_BT != PAD
        states, copy = self.run(embed(self._begin(previous, cache)), cache, mask)
        if self.pointer.copy_once:
            said = (target_BT.unsqueeze(2) == cache.context.unsqueeze(1)).long()
            copy = copy.masked_fill(said.cumsum(dim=1) > said, 0.0)
        row, _ = place = mask.nonzero(as_tuple=True)
        target, copied = target_BT[place], copy[place]
        before = previous_words(target_BT)[place] if self.pointer.repeat_bias else None
        given = (states[place], copied, cache.context[row], target, embed.words.weight)
        scored = self.pointer.score(*given, self.smooth, before, cache.log_unigram)
        return Taught(*scored, target, row, states, mask, copied)

    def step(
        self, embed: TokenEmbedding, cache: DecoderCache, token_B: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of the next word [B, V], alpha [B] and copy weights [B, L], after one more token."""
        words = embed.look_up({"token": token_B.unsqueeze(1)})["token"]
        embedded = embed(self._begin(words, cache), start=cache.length)
        states, copy = self.run(
            embedded, cache, torch.ones_like(token_B, dtype=torch.bool).unsqueeze(1)
        )
        if self.pointer.copy_once:
            cache.said = (cache.context == token_B.unsqueeze(1)) | (
                False if cache.said is None else cache.said
            )
            copy = copy.masked_fill(cache.said.unsqueeze(1), 0.0)
        log_prob, alpha = self.pointer.distribution(
            states[:, 0], copy[:, 0], cache.context, embed.words.weight, token_B, cache.log_unigram
        )
        return log_prob, alpha, copy[:, 0]

    @staticmethod
    def _begin(words_BTD: Tensor, cache: DecoderCache) -> Tensor:
        """Some baselines begin an answer with the emotion in the place of SOS."""
        if cache.length or "first" not in cache.extra:
            return words_BTD
        return torch.cat(
            [cache.extra["first"].unsqueeze(1).to(words_BTD.dtype), words_BTD[:, 1:]], dim=1
        )


class DiversityLoss(nn.Module):
    """Weights against words that the model says too often. Source: CEM (Sabour et al., 2022); Paper: Eq. (25).

    Running counts f of arg-max predictions in training give `w_v = 1 - f_v / max f`, rescaled to mean 1. The counts are
    state: a checkpoint holds them.
    """

    counts: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("counts", torch.zeros(size, dtype=torch.int64))

    def update(self, taught: Taught) -> None:
        """Count this batch's predictions of all processes, without a predicted EOS and what follows it."""
        end = (taught.prediction == EOS).to(torch.int64)
        in_row = torch.zeros(len(taught.mask), dtype=torch.int64, device=end.device).index_add_(
            0, taught.row, end
        )
        # Tokens stand row by row: what was ended before a row began does not count. No mask, which a device waits for.
        before_end = end.cumsum(dim=0) == (in_row.cumsum(dim=0) - in_row)[taught.row]
        new = torch.zeros_like(self.counts)
        new.scatter_add_(0, taught.prediction, before_end.to(torch.int64))
        self.counts += all_sum(new)

    def weights(self, target_N: Tensor) -> Tensor:
        """`w` of each target, [N]."""
        counts = self.counts.double()
        most = counts.max().clamp(min=1)
        mean = 1 - counts.sum() / (most * len(counts))
        return ((1 - counts[target_N] / most) / mean.clamp(min=1e-9)).float()
