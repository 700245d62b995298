"""Cross-contrastive learning: five pairs of views of one dialogue attract each other.

Paper: Sec. 3.6.2, Eq. (22) to (24). Shapes: B batch, V = 4 views, P = 5 pairs, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

VIEWS = ("target", "emotion", "context", "generated")  # H_Y, H_ts, H^stu, P_w, as they are stacked
POSITIVE_PAIRS = (  # Eq. (22)
    ("target", "emotion"), ("context", "generated"), ("context", "target"),
    ("emotion", "generated"), ("target", "generated"),
)  # fmt: skip


def pair_loss(
    first_PBD: Tensor, second_PBD: Tensor, temperature: float, negatives: str = "both"
) -> Tensor:
    """NT-Xent between two views, the mean over the 2B anchors, [P]. Paper: Eq. (23).

    The vectors have length 1, and `temperature` is tau. With negatives "both", the negatives of a
    view are the other dialogues of both views; with "cross", those of the other view only. A batch
    of one dialogue has no negative, and its loss is exactly 0.
    """
    size = first_PBD.shape[1]
    goal = torch.arange(size, device=first_PBD.device).repeat(2)  # 2B
    across = first_PBD @ second_PBD.transpose(1, 2) / temperature  # P B B
    back = across.transpose(1, 2)
    if negatives == "cross":
        scores = torch.cat([across, back], dim=1)  # P 2B B
    else:
        top = torch.cat([across, _within(first_PBD, temperature)], dim=2)
        bottom = torch.cat([back, _within(second_PBD, temperature)], dim=2)
        scores = torch.cat([top, bottom], dim=1)  # P 2B 2B
    goal = goal.expand(len(scores), -1)
    return F.cross_entropy(scores.transpose(1, 2), goal, reduction="none").mean(dim=1)


def _within(view_PBD: Tensor, temperature: float) -> Tensor:
    """Similarities inside one view, [P, B, B]; a dialogue is no negative of itself."""
    itself = torch.eye(view_PBD.shape[1], dtype=torch.bool, device=view_PBD.device)
    return (view_PBD @ view_PBD.mT / temperature).masked_fill(itself, float("-inf"))


def cross_contrastive_loss(
    views_BVD: Tensor, temperature: float, negatives: str = "both"
) -> Tensor:
    """The mean loss of the five pairs of time-averaged views, ordered as in `VIEWS`. Eq. (24)."""
    views = F.normalize(views_BVD.float(), dim=-1).transpose(0, 1)  # V B D
    first = torch.stack([views[VIEWS.index(one)] for one, _ in POSITIVE_PAIRS])
    second = torch.stack([views[VIEWS.index(other)] for _, other in POSITIVE_PAIRS])
    return pair_loss(first, second, temperature, negatives).mean()
