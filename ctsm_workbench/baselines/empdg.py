"""EmpDG: the context's words of strong emotion are encoded a second time, by themselves.

Source: Li, Chen, Ren, Ren, Tu and Chen (2020).

    C_u = Encoder(E),  C_e = Encoder_e([CLS ; emotion words])        [B, L, D], [B, 1 + M, D]
    l = W [C_e[CLS] ; C_u[CLS]] + b                                  [B, 32]
The decoder reads [C_u ; C_e] as one sequence, copies from both, and begins with W_emb l, not SOS.

Departure: emotion words have an intensity of at least 0.6. The data here lacks the paper's list.
Departure: the adversarial part is left out; as released, it gives the generator no gradient.
Departure: Encoder_e has the settings `small_...`, so that EmpDG costs about as much as the others.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.corpus import CLS, EMOTIONS, PAD
from ctsm_workbench.baselines.base import Baseline, BaselineMemory
from ctsm_workbench.baselines.kemp import STRONG, without_gaps


class EmpDG(Baseline):
    """Multi-resolution Empathetic Dialogue Generation, the generator."""

    def make_parts(self, dim: int) -> None:
        self.emotion_encoder = self.small_encoder(dim)
        self.classify = nn.Linear(2 * dim, len(EMOTIONS))
        self.begin = nn.Linear(len(EMOTIONS), dim)

    def emotion_words(self, context_BL: Tensor) -> Tensor:
        """CLS and the context's words of strong emotion, in their order, [B, 1 + M]."""
        words, _ = without_gaps(context_BL.where(self.intensity[context_BL] >= STRONG, PAD))
        return F.pad(words, (1, 0), value=CLS)

    def ids(self, batch: Batch) -> dict[str, Tensor]:
        return super().ids(batch) | {"emotion": self.emotion_words(batch.context)}

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> BaselineMemory:
        states, _ = self.encode_context(batch, words)
        emotion_words = self.emotion_words(batch.context)
        emotion = self.emotion_encoder(self.embed(words["emotion"]), emotion_words != PAD)
        logits = self.classify(torch.cat([emotion[:, 0], states[:, 0].to(emotion.dtype)], dim=-1))
        states = torch.cat([states, emotion.to(states.dtype)], dim=1)
        ids = torch.cat([batch.context, emotion_words], dim=1)
        return BaselineMemory(
            states, ids != PAD, ids, emotion_logits=logits.float(), first=self.begin(logits)
        )
