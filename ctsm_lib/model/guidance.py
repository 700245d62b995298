"""Emotion guidance: a teacher that reads the emotion embeddings, a student that learns from it.

Paper: Sec. 3.5, Eq. (10) to (19).
Shapes: B batch, L context length, W width of a token's representation, K = 32 emotions.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.kernels import masked_softmax


def intensity_weights(intensity_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """`n softmax(I)` over the n real tokens, [B, L]: 1 on average, more for strong words.

    Departure: the factor n. Without it every token would shrink as the context grows.
    Paper: Eq. (11), (17).
    """
    return masked_softmax(intensity_BL, mask_BL) * mask_BL.sum(dim=1, keepdim=True)


def label_loss(logits_BK: Tensor, label_B: Tensor) -> Tensor:
    """Cross-entropy with the emotion label of the dialogue, [B]. Paper: Eq. (15)."""
    return F.cross_entropy(logits_BK.float(), label_B, reduction="none")


def soft_label_loss(student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
    """Cross-entropy of the student with the teacher, which gets no gradient; [B], Eq. (18)."""
    soft_labels = teacher_BK.detach().float().softmax(dim=-1)
    return -(soft_labels * student_BK.float().log_softmax(dim=-1)).sum(dim=-1)


class EmotionPredictor(nn.Module):
    """Intensity-weighted attention pooling, and a classifier. Teacher and student have one each.

    Departure: Eq. (11) prints a sum over tokens, which would leave Eq. (12) nothing to attend to.
    The sum is taken in Eq. (13). Without `intensity` (the ablation w/o EGM) tokens are not weighted
    by emotion intensity first (Eq. 11, 17). A token's `width` is 300 + 14 + 43 = 357.
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
            values_BLW = values_BLW * intensity_weights(intensity_BL, mask_BL).unsqueeze(-1)  # C_l
        scores = self.score(self.attend(values_BLW).tanh()).squeeze(-1)
        pooling = masked_softmax(scores, mask_BL)  # S, Eq. (12)
        pooled = (pooling.unsqueeze(1) @ values_BLW.float()).squeeze(1)  # C^T S
        return self.classify(self.hidden(pooled).tanh()).float(), pooling  # Eq. (13), (14)
