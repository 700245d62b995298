"""Cross-contrastive learning: five pairs of views of one dialogue are drawn together. Paper: Sec. 3.6.2, Eq. (22) to (24)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Views, in the order in which they are stacked, and the five positive pairs of Eq. (22).
VIEWS = ("target", "emotion", "context", "generated")  # H_Y, H_ts, H^stu, P_w
PAIRS = (("target", "emotion"), ("context", "generated"), ("context", "target"), ("emotion", "generated"),
         ("target", "generated"))  # fmt: skip


def pair_loss(
    first_PBD: Tensor, second_PBD: Tensor, temperature: float, negatives: str = "both"
) -> Tensor:
    """NT-Xent between two views, mean over the 2B anchors, [P].

    Args:
        first_PBD, second_PBD: unit vectors of P pairs of views.
        temperature: tau of Eq. (23).
        negatives: "both": a view's negatives are the other dialogues of both views; "cross": of the other view only.

    One dialogue has no negative, and its loss is exactly 0. Paper: Eq. (23).
    """
    size = first_PBD.shape[1]
    own = torch.arange(size, device=first_PBD.device)
    across = first_PBD @ second_PBD.transpose(1, 2) / temperature  # P B B
    if negatives == "cross":
        scores = torch.cat([across, across.transpose(1, 2)], dim=1)  # P 2B B
        goal = torch.cat([own, own])
    else:
        itself = torch.eye(size, dtype=torch.bool, device=first_PBD.device)
        within = [view @ view.transpose(1, 2) / temperature for view in (first_PBD, second_PBD)]
        within = [scores.masked_fill(itself, float("-inf")) for scores in within]
        top = torch.cat([across, within[0]], dim=2)
        bottom = torch.cat([across.transpose(1, 2), within[1]], dim=2)
        scores = torch.cat([top, bottom], dim=1)  # P 2B 2B
        goal = torch.cat([own, own])
    goal = goal.expand(len(scores), -1)
    return F.cross_entropy(scores.transpose(1, 2), goal, reduction="none").mean(dim=1)


def cross_contrastive_loss(
    views_BKD: Tensor, temperature: float, negatives: str = "both"
) -> Tensor:
    """Mean of the five pairs' losses, a scalar.

    Args:
        views_BKD: [B, 4, D], time-averaged views in the order of `VIEWS`; they are brought to length 1 here.

    Paper: Eq. (24).
    """
    views = F.normalize(views_BKD.float(), dim=-1).transpose(0, 1)  # K B D
    first = torch.stack([views[VIEWS.index(a)] for a, _ in PAIRS])
    second = torch.stack([views[VIEWS.index(b)] for _, b in PAIRS])
    return pair_loss(first, second, temperature, negatives).mean()
