"""The pointer generator: a word is generated from the vocabulary, or copied from the context.

Paper: Sec. 3.6.1, after See et al. (2017).
Shapes: N target tokens of a batch, or B rows of one step; L context length, D width, V vocabulary.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.corpus import PAD
from ctsm_lib.kernels import TargetLogProbability

TINY = torch.finfo(torch.float32).tiny


@dataclass
class Mixture:
    """The parts of `P = alpha softmax(logits) + (1 - alpha) copy`."""

    logits: Tensor  # N V, float32
    gate: Tensor  # N 1, log-odds of generating: alpha = sigmoid(gate)
    copy: Tensor  # N L
    context: Tensor  # N L


@dataclass
class Scores:
    """Scores of N target tokens."""

    log_prob: Tensor  # N, log P of the target
    prediction: Tensor  # N, arg-max of P
    alpha: Tensor  # N, probability of generating rather than copying


class PointerGenerator(nn.Module):
    """`P = alpha softmax(W o) + (1 - alpha) copy`, over the closed vocabulary of V = `size` words.

    With a tied output layer `W o = E (A o + a) + b`, where E is the word table. `bias` [V] is the
    first value of the output layer's bias; None means 0.
    """

    def __init__(self, dim: int, size: int, *, tied: bool = False, bias: Tensor | None = None):
        super().__init__()
        self.gate = nn.Linear(dim, 1)
        self.output = nn.Linear(dim, dim if tied else size)
        self.bias = nn.Parameter(torch.zeros(size)) if tied else None
        if bias is not None:
            with torch.no_grad():
                (self.output.bias if self.bias is None else self.bias).copy_(bias)

    def logits(self, states_ND: Tensor, words_VD: Tensor) -> Tensor:
        """Logits [N, V] of generating each word, float32."""
        output = self.output(states_ND)
        return (output if self.bias is None else F.linear(output, words_VD, self.bias)).float()

    def forward(
        self, states: Tensor, words_VD: Tensor, *, copy: Tensor, context: Tensor, previous: Tensor
    ) -> Mixture:
        """The parts of the mixture at N positions.

        Given are decoder states [N, D], the word table, copy weights [N, L] and ids [N, L] of the
        context's tokens, and the words [N] that were read, which do not matter in the paper.
        """
        gate = self.gate(states).float()
        logits = self.logits(states, words_VD)
        return Mixture(logits=logits, gate=gate, copy=copy, context=context)

    def score(self, parts: Mixture, target_N: Tensor) -> Scores:
        """Score target words."""
        log_prob, log_sum, word = TargetLogProbability.apply(parts.logits, target_N)
        generated = log_prob + F.logsigmoid(parts.gate).squeeze(1)
        return mixture_at(parts, target_N, generated=generated, log_sum=log_sum, word=word)


def mixture(logits: Tensor, gate: Tensor, copy: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """Log P of every word [B, V], and alpha [B], for one step. Arguments are as in `Mixture`."""
    generated = F.logsigmoid(gate) + logits.log_softmax(dim=-1)
    copied = torch.zeros_like(generated).scatter_add_(1, context, copy.float())
    mixed = torch.logaddexp(generated, F.logsigmoid(-gate) + copied.clamp(min=TINY).log())
    return torch.where(copied > 0, mixed, generated), gate.sigmoid().squeeze(1)


def mixture_at(
    parts: Mixture, target_N: Tensor, *, generated: Tensor, log_sum: Tensor, word: Tensor
) -> Scores:
    """Log P of each target and the arg-max of P, without building P over the vocabulary.

    Only words of the context can be copied. So the arg-max is either a word of the context or the
    likeliest generated `word` [N]. `generated` [N] is the log of the generated part of P at the
    target, and `log_sum` [N] the log of the softmax's denominator.
    """
    gate, copy, context = parts.gate, parts.copy, parts.context
    copied = (copy * (context == target_N.unsqueeze(1))).sum(dim=1)
    log_copied = F.logsigmoid(-gate).squeeze(1) + copied.clamp(min=TINY).log()
    mixed = torch.where(copied > 0, torch.logaddexp(generated, log_copied), generated)
    with torch.no_grad():
        alpha = gate.sigmoid()
        log_sum = log_sum.unsqueeze(1)
        # A word may stand at several positions: each of them gets the sum of their weights.
        same = context.unsqueeze(1) == context.unsqueeze(2)
        with torch.autocast(copy.device.type, enabled=False):  # bf16 would change the arg-max
            total = (same.to(copy.dtype) @ copy.unsqueeze(2)).squeeze(2)
        p_context = alpha * (parts.logits.gather(1, context) - log_sum).exp() + (1 - alpha) * total
        best_in_context, place = p_context.masked_fill(context == PAD, -1.0).max(dim=1)
        best_logit = parts.logits.gather(1, word.unsqueeze(1))
        best_generated = (alpha * (best_logit - log_sum).exp()).squeeze(1)
        word_in_context = context.gather(1, place.unsqueeze(1)).squeeze(1)
        prediction = torch.where(best_in_context > best_generated, word_in_context, word)
    return Scores(log_prob=mixed, prediction=prediction, alpha=alpha.squeeze(1))
