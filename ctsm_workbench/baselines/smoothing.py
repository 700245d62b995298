"""Label smoothing of the words, as in the papers of several baselines."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ctsm_lib.kernels import log_denominator
from ctsm_lib.model.pointer import Mixture, Scores, mixture_at
from ctsm_workbench.beyond.biased import BiasedPointer


class _SmoothedLogProbability(torch.autograd.Function):
    """As `TargetLogProbability`, and the mean of the log softmax over the vocabulary."""

    @staticmethod
    def forward(ctx, logits_NV, target_N):  # type: ignore[no-untyped-def,override]
        log_sum, word, softmax_NV = log_denominator(logits_NV)
        ctx.save_for_backward(softmax_NV, target_N)
        ctx.mark_non_differentiable(log_sum, word)
        chosen = logits_NV.gather(1, target_N.unsqueeze(1)).squeeze(1) - log_sum
        return chosen, logits_NV.mean(dim=-1) - log_sum, log_sum, word

    @staticmethod
    def backward(ctx, grad_N, mean_grad_N, *_):  # type: ignore[no-untyped-def,override]
        softmax_NV, target_N = ctx.saved_tensors
        share = (mean_grad_N / softmax_NV.shape[1]).unsqueeze(1)
        grad = torch.addcmul(share, softmax_NV, -(grad_N + mean_grad_N).unsqueeze(1))
        return grad.scatter_add_(1, target_N.unsqueeze(1), grad_N.unsqueeze(1)), None


@dataclass
class SmoothedScores(Scores):
    """Scores of N target tokens, with the term that label smoothing adds."""

    spread: Tensor  # N, mean over the vocabulary of the generated part's log-probability


class SmoothingPointer(BiasedPointer):
    """A pointer generator whose scores have a spread."""

    def score(self, parts: Mixture, target_N: Tensor) -> SmoothedScores:
        """Score target words."""
        log_prob, mean, log_sum, word = _SmoothedLogProbability.apply(parts.logits, target_N)
        log_alpha = F.logsigmoid(parts.gate).squeeze(1)
        generated = log_prob + log_alpha
        scores = mixture_at(parts, target_N, generated=generated, log_sum=log_sum, word=word)
        return SmoothedScores(**vars(scores), spread=mean + log_alpha)
