"""The diversity loss, which CTSM takes from CEM. Paper: Eq. (25)."""

from typing import Any

import torch
from torch import Tensor, nn

from ctsm_lib.corpus import EOS
from ctsm_lib.parallel import all_sum


class DiversityLoss(nn.Module):
    """Weights against words that the model generates too often. Source: Sabour et al. (2022).

    Running counts f of arg-max predictions in training give `w_v = 1 - f_v / max f`, scaled to a
    mean of 1. The counts are a part of the checkpoint.
    """

    counts: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("counts", torch.zeros(size, dtype=torch.int64))

    def update(self, taught: Any) -> None:
        """Count the predictions of `Taught` in all processes, up to the first predicted EOS."""
        end = (taught.scores.prediction == EOS).to(torch.int64)
        in_row = torch.zeros(len(taught.mask), dtype=torch.int64, device=end.device)
        in_row = in_row.index_add_(0, taught.row, end)
        # Tokens stand row by row. A token counts while its own row has no EOS yet: the running
        # total then equals that of all rows before. (A boolean index would make a GPU wait.)
        before_row = (in_row.cumsum(dim=0) - in_row)[taught.row]
        counted = (end.cumsum(dim=0) == before_row).to(torch.int64)
        new = torch.zeros_like(self.counts).scatter_add_(0, taught.scores.prediction, counted)
        self.counts += all_sum(new)

    def weights(self, target_N: Tensor) -> Tensor:
        """The weight of each target, [N]."""
        counts = self.counts.double()
        most = counts.max().clamp(min=1)
        mean = 1 - counts.sum() / (most * len(counts))
        return ((1 - counts[target_N] / most) / mean.clamp(min=1e-9)).float()
