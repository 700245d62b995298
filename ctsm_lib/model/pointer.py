"""The pointer generator: a word is said of the whole vocabulary, or copied from the context.

Paper: Sec. 3.6.1, after See et al. (2017). Shapes: B batch, N real target tokens of a batch, L context length, D width,
V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.corpus import PAD

RARE = -10.0  # log-probability: the tilt takes no word for rarer (e^-10: one word in 22,000)


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


@dataclass(frozen=True)
class Leaning:
    """How answers lean towards what is particular. Beyond the paper; its pointer generator leans nowhere.

    Biases and tilt are of answers and scores, not of training: that learns to copy and to say common words as often as
    people do on average, and a greedy answer then hardly ever copies and says what everybody says.

    Attributes:
        copy_bias: added to the log-odds of copying.
        copy_once: a word that the answer has already is not copied again, in training either.
        tilt: times `log p(v)` among the words of responses, taken off the logit of word v; words rarer than `RARE` count
            as `RARE`.
        repeat_bias: added to the logit of the word just said. It may still be copied, without `copy_once`.
    """

    copy_bias: float = 0.0
    copy_once: bool = False
    tilt: float = 0.0
    repeat_bias: float = 0.0


class PointerGenerator(nn.Module):
    """`P = alpha softmax(W o) + (1 - alpha) copy`, over the closed vocabulary.

    Where the output layer is tied, `W o = E (A o + a) + b` with the word table E.

    Args:
        bias: [V] where the output's bias begins; None: at 0.
    """

    def __init__(
        self, dim: int, size: int, tied: bool, bias: Tensor | None, leaning: Leaning | None = None
    ):
        super().__init__()
        leaning = leaning or Leaning()
        self.gate = nn.Linear(dim, 1)
        self.output = nn.Linear(dim, dim) if tied else nn.Linear(dim, size)
        self.tied = tied
        self.copy_bias, self.copy_once = leaning.copy_bias, leaning.copy_once
        self.tilt, self.repeat_bias = leaning.tilt, leaning.repeat_bias
        self.bias = nn.Parameter(torch.zeros(size)) if tied else None
        if bias is not None:
            with torch.no_grad():
                (self.bias if self.bias is not None else self.output.bias).copy_(bias)

    def logits(self, states_ND: Tensor, words_VD: Tensor) -> Tensor:
        """[N, V] before the softmax, float32, upright."""
        output = self.output(states_ND)
        return (F.linear(output, words_VD, self.bias) if self.tied else output).float()

    def lean(
        self, logits_NV: Tensor, before_N: Tensor | None, log_unigram_V: Tensor | None
    ) -> Tensor:
        """Logits as they lean, once trained.

        Args:
            before_N: the word just said; wanted where there is a `repeat_bias`.
            log_unigram_V: `log p(v)`; wanted where there is a tilt.
        """
        if self.training:
            return logits_NV
        if self.tilt:
            assert log_unigram_V is not None
            logits_NV = logits_NV - self.tilt * log_unigram_V.float().clamp(min=RARE)
        if self.repeat_bias:
            assert before_N is not None
            bias_N1 = logits_NV.new_full((len(logits_NV), 1), self.repeat_bias)
            logits_NV = logits_NV.scatter_add(1, before_N.unsqueeze(1), bias_N1)
        return logits_NV

    def odds(self, states_ND: Tensor, copy_NL: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds of generating rather than copying, [N, 1] float32, and copy weights that sum to 1, [N, L].

        With `copy_once`, what is missing from copy weights is a chance to generate.
        """
        gate = self.gate(states_ND).float()
        if not self.training:
            gate = gate - self.copy_bias
        if not self.copy_once:
            return gate, copy_NL
        copy_NL = copy_NL.float()
        kept = copy_NL.sum(dim=1, keepdim=True).clamp(min=1e-9)
        generate, copy = F.logsigmoid(gate), F.logsigmoid(-gate)
        lost = (1 - kept).clamp(min=1e-9).log()
        return torch.logaddexp(generate, copy + lost) - copy - kept.log(), copy_NL / kept

    def distribution(
        self, states_BD: Tensor, copy_BL: Tensor, context_BL: Tensor, words_VD: Tensor,
        before_B: Tensor | None = None, log_unigram_V: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Log-probabilities of every word, [B, V], and alpha [B]. For answering, a step at a time.

        Args:
            before_B, log_unigram_V: as in `lean`.
        """
        logits = self.lean(self.logits(states_BD, words_VD), before_B, log_unigram_V)
        gate, copy_BL = self.odds(states_BD, copy_BL)
        generated = F.logsigmoid(gate) + logits.log_softmax(dim=-1)
        copied = torch.zeros_like(generated).scatter_add_(1, context_BL, copy_BL.float())
        tiny = torch.finfo(torch.float32).tiny
        mixed = torch.logaddexp(generated, F.logsigmoid(-gate) + copied.clamp(min=tiny).log())
        return torch.where(copied > 0, mixed, generated), gate.sigmoid().squeeze(1)

    def score(
        self, states_ND: Tensor, copy_NL: Tensor, context_NL: Tensor, target_N: Tensor, words_VD: Tensor,
        smooth: bool = False, before_N: Tensor | None = None, log_unigram_V: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """Log-probability of each target, its spread (`Taught`), arg-max of P, and alpha, each [N], without building P.

        Copying only concerns words of the context: P of the target needs the copy weight of that one word, and the
        arg-max is either the likeliest generated word or a word of the context.

        Args:
            copy_NL: copy weights of context positions, 0 at PAD and at words that may not be copied.
            context_NL: the words at those positions.
            smooth: whether the spread is wanted; without it, it is 0.
            before_N, log_unigram_V: as in `lean`.
        """
        logits = self.lean(self.logits(states_ND, words_VD), before_N, log_unigram_V)
        gate, copy_NL = self.odds(states_ND, copy_NL)
        chosen, mean, log_sum, word = _TargetLogProbability.apply(logits, target_N, smooth)
        log_sum = log_sum.unsqueeze(1)
        log_alpha = F.logsigmoid(gate).squeeze(1)
        generated = chosen + log_alpha
        copied = (copy_NL * (context_NL == target_N.unsqueeze(1))).sum(dim=1)
        tiny = torch.finfo(torch.float32).tiny
        mixed = torch.logaddexp(
            generated, F.logsigmoid(-gate).squeeze(1) + copied.clamp(min=tiny).log()
        )
        log_prob = torch.where(copied > 0, mixed, generated)
        with torch.no_grad():
            best = logits.gather(1, word.unsqueeze(1)).squeeze(1)
            alpha = gate.sigmoid()
            # Copy weight of a word that stands in several places: every place gets the sum of them.
            same = context_NL.unsqueeze(1) == context_NL.unsqueeze(2)
            with torch.autocast(
                copy_NL.device.type, enabled=False
            ):  # bf16 sums would change which word is likeliest
                place = (same.to(copy_NL.dtype) @ copy_NL.unsqueeze(2)).squeeze(2)
            total = alpha * (logits.gather(1, context_NL) - log_sum).exp() + (1 - alpha) * place
            total = total.masked_fill(context_NL == PAD, -1.0)
            best_copy, where = total.max(dim=1)
            best_generated = alpha.squeeze(1) * (best - log_sum.squeeze(1)).exp()
            copied_word = context_NL.gather(1, where.unsqueeze(1)).squeeze(1)
            prediction = torch.where(best_copy > best_generated, copied_word, word)
        return log_prob, mean + log_alpha if smooth else mean, prediction, alpha.squeeze(1)
