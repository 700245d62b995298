"""Small functions on tensors that every model needs, and faster equivalents of two of PyTorch's.

Masks are bool and True at real tokens.
"""

import math

import torch
from torch import Tensor, nn


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis where `mask` is True. A row without any gives zeros, never NaN."""
    # The softmax of a row of -inf is NaN, and so is its gradient: an empty row stays open until
    # the last line.
    empty = ~mask.any(dim=-1, keepdim=True)
    open_scores = scores.float().masked_fill(~(mask | empty), float("-inf"))
    return open_scores.softmax(dim=-1).masked_fill(~mask, 0.0)


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


def causal_mask(length: int, before: int, device: torch.device) -> Tensor:
    """[1, length, before + length], True where a position may read: itself and earlier ones."""
    mask = torch.ones(length, before + length, dtype=torch.bool, device=device)
    return mask.tril(diagonal=before).unsqueeze(0)


class Dropout(nn.Dropout):
    """Dropout that draws one random byte for each value on the CPU, where PyTorch draws 64 bits.

    The probability is rounded to a multiple of 1/256 that is neither 0 nor 1: 0.15 becomes 38/256.
    Accelerators use PyTorch's own dropout.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape and dtype; in evaluation they are unchanged."""
        if not self.training or self.p == 0:
            return values
        if values.device.type != "cpu":
            return super().forward(values)
        dropped = min(max(round(self.p * 256), 1), 255)
        count = values.numel()
        # Eight bytes at a time: the generator makes whole 64-bit numbers anyway.
        words = torch.empty((count + 7) // 8, dtype=torch.int64)
        words.random_(torch.iinfo(torch.int64).min, None)
        keep = words.view(torch.uint8)[:count].view(values.shape) >= dropped
        return (values * keep).mul_(256 / (256 - dropped))


class TargetLogProbability(torch.autograd.Function):
    """The log softmax of one column in each row, in a single backward pass over the logits.

    Autograd's own way through logsumexp and gather makes five passes over [N, V]. This function
    makes one, because it keeps the softmax in place of the logits.
    """

    @staticmethod
    def forward(ctx, logits_NV: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[no-untyped-def,override]
        """Return the log-probability of each target, the log of the softmax's denominator, and the
        arg-max; each [N]."""
        log_sum, word, softmax_NV = log_denominator(logits_NV)
        ctx.save_for_backward(softmax_NV, target_N)
        ctx.mark_non_differentiable(log_sum, word)
        return logits_NV.gather(1, target_N.unsqueeze(1)).squeeze(1) - log_sum, log_sum, word

    @staticmethod
    def backward(ctx, grad_N: Tensor, *_: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def,override]
        softmax_NV, target_N = ctx.saved_tensors
        grad = softmax_NV * -grad_N.unsqueeze(1)
        return grad.scatter_add_(1, target_N.unsqueeze(1), grad_N.unsqueeze(1)), None


def log_denominator(logits_NV: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log sum exp and arg-max of each row, [N], and the softmax, [N, V]."""
    best, word = logits_NV.max(dim=-1)
    softmax_NV = logits_NV.softmax(dim=-1)
    # The likeliest word has a probability of at least 1/V, so its logarithm is exact. The
    # logarithm of a rare target's probability would not be.
    log_sum = best - softmax_NV.gather(1, word.unsqueeze(1)).squeeze(1).log()
    return log_sum, word, softmax_NV
