"""Emotion guidance: a teacher that reads the emotion embeddings, a student that learns from it.

Paper: Sec. 3.5, Eq. (10) to (19).
Shapes: B batch, L context length, W width of a token's representation, K = 32 emotions.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.model.layers import masked_softmax


def intensity_weights(intensity_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """`n softmax(I)` over the n real tokens, [B, L]: 1 on average, more for words of strong emotion.

    Departure: the factor n. Without it every token would shrink as the context grows.
    Paper: Eq. (11), (17).
    """
    return masked_softmax(intensity_BL, mask_BL) * mask_BL.sum(dim=1, keepdim=True)


def label_loss(logits_BK: Tensor, label_B: Tensor) -> Tensor:
    """Cross-entropy with the emotion label of the dialogue, [B]. Paper: Eq. (15)."""
    return F.cross_entropy(logits_BK.float(), label_B, reduction="none")


def soft_label_loss(student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
    """Cross-entropy of the student with the teacher's distribution, [B].

    No gradient reaches the teacher. Paper: Eq. (18).

    Args:
        student_BK, teacher_BK: logits.
    """
    soft_labels = teacher_BK.detach().float().softmax(dim=-1)
    return -(soft_labels * student_BK.float().log_softmax(dim=-1)).sum(dim=-1)


class EmotionPredictor(nn.Module):
    """Intensity-weighted attention pooling, and a classifier. Teacher and student have one each.

    Departure: Eq. (11) prints a sum over tokens, which would leave nothing to attend to in Eq. (12).
    The sum is taken in Eq. (13).

    Args:
        width: width of a token's representation, 300 + 14 + 43 = 357.
        intensity: weight tokens by emotion intensity first (Eq. 11, 17). The ablation w/o EGM does
            not.
    """

    def __init__(self, width: int, intensity: bool = True):
        super().__init__()
        self.intensity = intensity
        self.attend = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)
        self.hidden = nn.Linear(width, width)
        self.classify = nn.Linear(width, len(EMOTIONS))

    def forward(
        self, values_BLW: Tensor, intensity_BL: Tensor, mask_BL: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Emotion logits [B, 32] and pooling weights S [B, L]. Paper: Eq. (11) to (14)."""
        if self.intensity:
            weights = intensity_weights(intensity_BL, mask_BL)
            values_BLW = values_BLW * weights.unsqueeze(-1)  # C_l, Eq. (11)
        scores = self.score(self.attend(values_BLW).tanh()).squeeze(-1)
        pooling = masked_softmax(scores, mask_BL)  # S, Eq. (12)
        pooled = (pooling.unsqueeze(1) @ values_BLW.float()).squeeze(1)  # C^T S
        summary = self.hidden(pooled).tanh()  # S', Eq. (13)
        return self.classify(summary).float(), pooling  # Eq. (14)
