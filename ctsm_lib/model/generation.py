"""Decoder, pointer generator and diversity loss. Paper: Sec. 3.6.1, Eq. (20), (21).

Shapes: B batch, T target length, N real target tokens of a batch, L context length, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.corpus import EOS, PAD, SOS
from ctsm_lib.model.layers import Attention, Dropout, FeedForward, TokenEmbedding
from ctsm_lib.parallel import all_sum

KeysValues = tuple[Tensor, Tensor]
Past = tuple[Tensor, Tensor, Tensor]  # a layer's keys, values and last feed-forward inputs


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the context, feed-forward; pre-norm."""

    def __init__(self, dim: int, memory_dim: int, heads: int, key_depth: int, ffn_dim: int, ffn: str, dropout: float):
        super().__init__()
        self.self_norm, self.cross_norm, self.ffn_norm = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
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
    extra: dict[str, Tensor] = field(default_factory=dict)  # B ...; "first" [B, D] is read in the place of SOS

    def select(self, rows: Tensor) -> DecoderCache:
        """The cache of some rows, in the given order."""
        memory = [(key[rows], value[rows]) for key, value in self.memory]
        past = [None if kept is None else (kept[0][rows], kept[1][rows], kept[2][rows]) for kept in self.past]
        extra = {name: value[rows] for name, value in self.extra.items()}
        return DecoderCache(memory, self.mask[rows], self.context[rows], past, self.length, extra)


class _TargetLogProbability(torch.autograd.Function):
    """log softmax at one place of each row and its mean over all places, the log of the softmax's denominator, and the
    arg-max; each [N].

    Autograd's own way through logsumexp and gather makes five passes over [N, V] going back; this makes one, since the
    softmax of the way there is kept in place of the logits.
    """

    @staticmethod
    def forward(  # type: ignore[no-untyped-def,override]
        ctx, logits_NV: Tensor, target_N: Tensor, smooth: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        best, word = logits_NV.max(dim=-1)
        softmax_NV = logits_NV.softmax(dim=-1)
        # The likeliest word has at least 1/V: its logarithm is exact where that of a rare target would be lost.
        log_sum = best - softmax_NV.gather(1, word.unsqueeze(1)).squeeze(1).log()
        ctx.save_for_backward(softmax_NV, target_N)
        ctx.smooth = smooth
        ctx.mark_non_differentiable(log_sum, word)
        mean = logits_NV.mean(dim=-1) - log_sum if smooth else torch.zeros_like(log_sum)
        return logits_NV.gather(1, target_N.unsqueeze(1)).squeeze(1) - log_sum, mean, log_sum, word

    @staticmethod
    def backward(ctx, grad_N: Tensor, mean_grad_N: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def,override]
        softmax_NV, target_N = ctx.saved_tensors
        if not ctx.smooth:
            grad = softmax_NV * -grad_N.unsqueeze(1)
        else:
            share = (mean_grad_N / softmax_NV.shape[1]).unsqueeze(1)
            grad = torch.addcmul(share, softmax_NV, -(grad_N + mean_grad_N).unsqueeze(1))
        return grad.scatter_add_(1, target_N.unsqueeze(1), grad_N.unsqueeze(1)), None, None


class PointerGenerator(nn.Module):
    """`P = alpha softmax(W o) + (1 - alpha) copy`, over the closed vocabulary.

    Paper: Sec. 3.6.1, after See et al. (2017). Where the output layer is tied, `W o = E (A o + a) + b` with the word
    table E.

    Args:
        copy_bias: added to the log-odds of copying in answers and scores, not in training; 0 in the paper. Training
            copies as often as people do on average, and a greedy answer then hardly ever does.
    """

    def __init__(self, dim: int, size: int, tied: bool, bias: Tensor | None, copy_bias: float = 0.0):
        super().__init__()
        self.gate = nn.Linear(dim, 1)
        self.output = nn.Linear(dim, dim) if tied else nn.Linear(dim, size)
        self.tied = tied
        self.copy_bias = copy_bias
        self.bias = nn.Parameter(torch.zeros(size)) if tied else None
        if bias is not None:
            with torch.no_grad():
                (self.bias if self.bias is not None else self.output.bias).copy_(bias)

    def logits(self, states_ND: Tensor, words_VD: Tensor) -> Tensor:
        """[N, V] before the softmax, float32."""
        if self.tied:
            return F.linear(self.output(states_ND), words_VD, self.bias).float()
        return self.output(states_ND).float()

    def gate_logits(self, states_ND: Tensor) -> Tensor:
        """Log-odds of generating rather than copying, [N, 1], float32."""
        gate = self.gate(states_ND).float()
        return gate if self.training else gate - self.copy_bias

    def distribution(
        self, states_BD: Tensor, copy_BL: Tensor, context_BL: Tensor, words_VD: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities of every word, [B, V], and alpha [B]. For answering, a step at a time."""
        logits = self.logits(states_BD, words_VD)
        gate = self.gate_logits(states_BD)
        generated = F.logsigmoid(gate) + logits.log_softmax(dim=-1)
        copied = torch.zeros_like(generated).scatter_add_(1, context_BL, copy_BL.float())
        tiny = torch.finfo(torch.float32).tiny
        mixed = torch.logaddexp(generated, F.logsigmoid(-gate) + copied.clamp(min=tiny).log())
        return torch.where(copied > 0, mixed, generated), gate.sigmoid().squeeze(1)

    def score(
        self, states_ND: Tensor, copy_NL: Tensor, context_NL: Tensor, target_N: Tensor, words_VD: Tensor,
        smooth: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """Log-probability of each target, its spread (`Taught`), arg-max of P, and alpha, each [N], without building P.

        Copying only concerns words of the context: P of the target needs the copy weight of that one word, and the
        arg-max is either the likeliest generated word or a word of the context.

        Args:
            copy_NL: copy weights of context positions, PAD positions 0.
            context_NL: the words at those positions.
            smooth: whether the spread is wanted; without it, it is 0.
        """
        logits = self.logits(states_ND, words_VD)
        gate = self.gate_logits(states_ND)
        chosen, mean, log_sum, word = _TargetLogProbability.apply(logits, target_N, smooth)
        log_sum = log_sum.unsqueeze(1)
        log_alpha = F.logsigmoid(gate).squeeze(1)
        generated = chosen + log_alpha
        copied = (copy_NL * (context_NL == target_N.unsqueeze(1))).sum(dim=1)
        tiny = torch.finfo(torch.float32).tiny
        mixed = torch.logaddexp(generated, F.logsigmoid(-gate).squeeze(1) + copied.clamp(min=tiny).log())
        log_prob = torch.where(copied > 0, mixed, generated)
        with torch.no_grad():
            best = logits.gather(1, word.unsqueeze(1)).squeeze(1)
            alpha = gate.sigmoid()
            # Copy weight of a word that stands in several places: every place gets the sum of them.
            same = context_NL.unsqueeze(1) == context_NL.unsqueeze(2)
            with torch.autocast(copy_NL.device.type, enabled=False):  # bf16 sums would change which word is likeliest
                place = (same.to(copy_NL.dtype) @ copy_NL.unsqueeze(2)).squeeze(2)
            total = alpha * (logits.gather(1, context_NL) - log_sum).exp() + (1 - alpha) * place
            total = total.masked_fill(context_NL == PAD, -1.0)
            best_copy, where = total.max(dim=1)
            best_generated = alpha.squeeze(1) * (best - log_sum.squeeze(1)).exp()
            copied_word = context_NL.gather(1, where.unsqueeze(1)).squeeze(1)
            prediction = torch.where(best_copy > best_generated, copied_word, word)
        return log_prob, mean + log_alpha if smooth else mean, prediction, alpha.squeeze(1)


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
        size: int, tied: bool, bias: Tensor | None, copy_bias: float = 0.0,
    ):  # fmt: skip
        super().__init__()
        make = (self.Layer(dim, memory_dim, heads, key_depth, ffn_dim, ffn, dropout) for _ in range(layers))
        self.layers = nn.ModuleList(make)
        self.norm = nn.LayerNorm(dim)
        self.pointer = PointerGenerator(dim, size, tied, bias, copy_bias)

    def start(
        self, memory_BLD: Tensor, mask_BL: Tensor, context_BL: Tensor, extra: dict[str, Tensor] | None = None
    ) -> DecoderCache:
        """A cache for contexts: their keys and values are computed once."""
        attentions = cast(list[Attention], [layer.cross_attention for layer in self.layers])
        memory = [attention.keys_values(memory_BLD) for attention in attentions]
        return DecoderCache(memory, mask_BL, context_BL, [None] * len(self.layers), extra=extra or {})

    def run(self, embedded: Tensor, cache: DecoderCache, real: Tensor) -> tuple[Tensor, Tensor]:
        """States [B, T, D] and the last layer's head-averaged attention to the context [B, T, L]."""
        length, causal = embedded.shape[1], causal_mask(embedded, cache.length)
        states, weights = embedded, embedded
        for number, layer in enumerate(self.layers):
            arguments = (cache.past[number], cache.memory[number], causal, cache.mask.unsqueeze(1), real, cache.extra)
            states, cache.past[number], weights = layer(states, *arguments)
        cache.length += length
        return self.norm(states), weights.mean(dim=1)

    def teach(self, embed: TokenEmbedding, previous: Tensor, cache: DecoderCache, target_BT: Tensor) -> Taught:
        """Score targets under teacher forcing; the vocabulary is projected at real targets only.

        Args:
            previous: [B, T, D] word vectors of the shifted target (`previous_words`).
            cache: what `start` returned; it is used up.
            target_BT: [B, T] with EOS, padded.
        """
        mask = target_BT != PAD
        states, copy = self.run(embed(self._begin(previous, cache)), cache, mask)
        row, _ = place = mask.nonzero(as_tuple=True)
        target, words = target_BT[place], embed.words.weight
        copied = copy[place]
        scored = self.pointer.score(states[place], copied, cache.context[row], target, words, self.smooth)
        return Taught(*scored, target, row, states, mask, copied)

    def step(self, embed: TokenEmbedding, cache: DecoderCache, token_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of the next word [B, V], alpha [B] and copy weights [B, L], after one more token."""
        words = embed.look_up({"token": token_B.unsqueeze(1)})["token"]
        embedded = embed(self._begin(words, cache), start=cache.length)
        states, copy = self.run(embedded, cache, torch.ones_like(token_B, dtype=torch.bool).unsqueeze(1))
        log_prob, alpha = self.pointer.distribution(states[:, 0], copy[:, 0], cache.context, embed.words.weight)
        return log_prob, alpha, copy[:, 0]

    @staticmethod
    def _begin(words_BTD: Tensor, cache: DecoderCache) -> Tensor:
        """Some baselines begin an answer with the emotion in the place of SOS."""
        if cache.length or "first" not in cache.extra:
            return words_BTD
        return torch.cat([cache.extra["first"].unsqueeze(1).to(words_BTD.dtype), words_BTD[:, 1:]], dim=1)


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
        ended = torch.zeros_like(taught.mask, dtype=torch.int64)
        ended[taught.mask] = (taught.prediction == EOS).to(torch.int64)
        before_end = (ended.cumsum(dim=1) == 0)[taught.mask]
        new = torch.zeros_like(self.counts)
        new.scatter_add_(0, taught.prediction, before_end.to(torch.int64))
        self.counts += all_sum(new)

    def weights(self, target_N: Tensor) -> Tensor:
        """`w` of each target, [N]."""
        counts = self.counts.double()
        most = counts.max().clamp(min=1)
        mean = 1 - counts.sum() / (most * len(counts))
        return ((1 - counts[target_N] / most) / mean.clamp(min=1e-9)).float()
