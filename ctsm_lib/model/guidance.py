"""Emotion guidance: a teacher that sees the emotion embeddings, and a student that learns its soft labels.

Paper: Sec. 3.5, Eq. (10) to (19).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.model.layers import Dropout, masked_softmax

LABELS = 32


def intensity_weights(intensity_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """`n softmax(I)` over the n real tokens, [B, L]: 1 on average, more for words of strong emotion.

    Departure: the factor n. Without it every token shrinks with the length of the context. Paper: Eq. (11), (17).
    """
    return masked_softmax(intensity_BL, mask_BL) * mask_BL.sum(dim=1, keepdim=True)


def soft_label_loss(student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
    """Cross-entropy of the student with the teacher's distribution, [B]; no gradient reaches the teacher.

    Args:
        student_BK, teacher_BK: logits. Paper: Eq. (18).
    """
    soft_labels = teacher_BK.detach().float().softmax(dim=-1)
    return -(soft_labels * student_BK.float().log_softmax(dim=-1)).sum(dim=-1)


class EmotionPredictor(nn.Module):
    """Intensity-weighted attention pooling and a classifier; teacher and student have one each.

    Departure: Eq. (11) prints a sum over tokens, which would leave Eq. (12) nothing to attend to; the sum is the one in
    Eq. (13).

    Args:
        width: of the token representations, 300 + 14 + 43 = 357.
        intensity: weigh tokens by emotion intensity first (Eq. 11, 17); the ablation w/o EGM does not.
        dropout: before the classifier. Beyond the paper.
    """

    def __init__(self, width: int, intensity: bool = True, dropout: float = 0.0):
        super().__init__()
        self.intensity = intensity
        self.attend = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)
        self.hidden = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        self.classify = nn.Linear(width, LABELS)

    def forward(
        self, values_BLW: Tensor, intensity_BL: Tensor, mask_BL: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Emotion logits [B, 32] and pooling weights S [B, L]. Paper: Eq. (11) to (14)."""
        if self.intensity:
            values_BLW = values_BLW * intensity_weights(intensity_BL, mask_BL).unsqueeze(-1)  # C_l
        scores = self.score(self.attend(values_BLW).tanh()).squeeze(-1)
        pooling = masked_softmax(scores, mask_BL)
        pooled = (pooling.unsqueeze(1) @ values_BLW.float()).squeeze(1)  # C^T S
        return self.classify(self.dropout(self.hidden(pooled).tanh())).float(), pooling


def label_loss(logits_BK: Tensor, label_B: Tensor) -> Tensor:
    """Cross-entropy with the dialogue's emotion, [B]. Paper: Eq. (15)."""
    return F.cross_entropy(logits_BK.float(), label_B, reduction="none")


def mean_of_experts(first_BK: Tensor, second_BK: Tensor) -> Tensor:
    """Logits of the geometric mean of two distributions, [B, K]."""
    return (first_BK.float().log_softmax(dim=-1) + second_BK.float().log_softmax(dim=-1)) / 2
