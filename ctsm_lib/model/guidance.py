"""Emotion guidance: a teacher that sees the emotion embeddings, and a student that learns its soft labels.

Paper: Sec. 3.5, Eq. (10) to (19).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.corpus import PAD
from ctsm_lib.model.layers import masked_softmax

LABELS = 32
STEEP = 5.0  # of the bag's logits: optimisers move every weight alike, and a bag has unit length


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
    """

    def __init__(self, width: int, intensity: bool = True):
        super().__init__()
        self.intensity = intensity
        self.attend = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)
        self.hidden = nn.Linear(width, width)
        self.classify = nn.Linear(width, LABELS)

    def forward(self, values_BLW: Tensor, intensity_BL: Tensor, mask_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Emotion logits [B, 32] and pooling weights S [B, L]. Paper: Eq. (11) to (14)."""
        if self.intensity:
            values_BLW = values_BLW * intensity_weights(intensity_BL, mask_BL).unsqueeze(-1)  # C_l
        scores = self.score(self.attend(values_BLW).tanh()).squeeze(-1)
        pooling = masked_softmax(scores, mask_BL)
        pooled = (pooling.unsqueeze(1) @ values_BLW.float()).squeeze(1)  # C^T S
        return self.classify(self.hidden(pooled).tanh()).float(), pooling


def label_loss(logits_BK: Tensor, label_B: Tensor) -> Tensor:
    """Cross-entropy with the dialogue's emotion, [B]. Paper: Eq. (15)."""
    return F.cross_entropy(logits_BK.float(), label_B, reduction="none")


class BagExpert(nn.Module):
    """Emotion logits of a bag of the context's words: no order, no speakers, no vectors. Beyond the paper.

    `l = 5 x W + b` with `x_v = idf_v` of the words that occur, scaled to length 1. It alone is right about as often as
    the student, and partly in other cases.
    """

    idf: Tensor

    def __init__(self, idf_V: Tensor):
        super().__init__()
        self.register_buffer("idf", idf_V.clone())
        self.votes = nn.Embedding(len(idf_V), LABELS)
        self.bias = nn.Parameter(torch.zeros(LABELS))
        nn.init.zeros_(self.votes.weight)

    def forward(self, context_BL: Tensor) -> Tensor:
        """[B, 32], float32."""
        same = context_BL.unsqueeze(2) == context_BL.unsqueeze(1)
        again = same.tril(-1).any(dim=2)
        weights_BL = F.normalize(self.idf[context_BL] * ~(again | (context_BL == PAD)), dim=1)
        with torch.autocast(context_BL.device.type, enabled=False):
            return STEEP * (weights_BL.unsqueeze(1) @ self.votes(context_BL)).squeeze(1) + self.bias


def mean_of_experts(first_BK: Tensor, second_BK: Tensor) -> Tensor:
    """Logits of the geometric mean of two distributions, [B, K]."""
    return (first_BK.float().log_softmax(dim=-1) + second_BK.float().log_softmax(dim=-1)) / 2
