"""Label smoothing's own softmax: its values and its hand-written gradient."""

from __future__ import annotations

import numpy as np
import torch
from helpers import array, close, normal, slow_softmax

from ctsm_workbench.baselines.base import SmoothedLogProbability


def test_smoothed_log_probability_and_its_gradient() -> None:
    """`x_y - log sum exp x` and the mean of the log softmax, with gradients in float64."""
    logits = (normal(6, 9) * 3).requires_grad_()
    target = torch.tensor([0, 8, 3, 3, 5, 1])
    value, mean, log_sum, word = SmoothedLogProbability.apply(logits, target)
    assert word.tolist() == [int(np.argmax(array(row))) for row in logits]
    rows = zip(logits, target.tolist(), strict=True)
    close(value, [np.log(slow_softmax(row.tolist())[y]) for row, y in rows])
    close(log_sum, [np.log(np.exp(array(row)).sum()) for row in logits])
    close(mean, [np.log(slow_softmax(row.tolist())).mean() for row in logits])
    assert torch.autograd.gradcheck(
        lambda x: SmoothedLogProbability.apply(x, target)[:2], (logits,)
    )
    (expected,) = torch.autograd.grad(
        logits.log_softmax(dim=1).gather(1, target.unsqueeze(1)).sum(), logits
    )
    close(torch.autograd.grad(value.sum(), logits)[0], expected, 1e-12)
