"""EmpDG: the emotion is also heard in single words of the context, which are encoded a second time by themselves.

Source: Li, Chen, Ren, Ren, Tu and Chen (2020).

    C_u = Encoder(E),  C_e = Encoder_e([CLS ; emotion words])        [B, L, D], [B, 1 + M, D]
    l = W [C_e[CLS] ; C_u[CLS]] + b                                  [B, 32]
The decoder reads [C_u ; C_e], one behind the other, copies from both, and begins with W_emb l in the place of SOS.

Departure: emotion words are those of an intensity of at least 0.6; the paper's list of words is none of the data here.
Departure: the adversarial part is left out; as released, no gradient of it reaches the generator.
Departure: Encoder_e has the settings `small_...`, so that the cost is near the others'.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import CLS, PAD
from ctsm_lib.interface import Tables
from ctsm_workbench.baselines.base import LABELS, Baseline, BaselineMemory, initialise, without_gaps
from ctsm_workbench.baselines.concepts import STRONG


class EmpDG(Baseline):
    """Multi-resolution Empathetic Dialogue Generation, the generator."""

    def __init__(self, config: Config, tables: Tables):
        super().__init__(config, tables)
        self.emotion_encoder = self.small_encoder(config.dim)
        self.classify = nn.Linear(2 * config.dim, LABELS)
        self.begin = nn.Linear(LABELS, config.dim)
        self.decoder = self.make_decoder()
        initialise(self)

    def emotion_words(self, context_BL: Tensor) -> Tensor:
        """CLS and the context's words of strong emotion, in their order, [B, 1 + M]."""
        strong = torch.where(self.intensity[context_BL] >= STRONG, context_BL, PAD)
        words, _ = without_gaps(strong)
        return torch.cat([words.new_full((len(words), 1), CLS), words], dim=1)

    def ids(self, batch: Batch) -> dict[str, Tensor]:
        return super().ids(batch) | {"emotion": self.emotion_words(batch.context)}

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> BaselineMemory:
        states, mask = self.encode_context(batch, words)
        emotion_words = self.emotion_words(batch.context)
        emotion_mask = emotion_words != PAD
        emotion = self.emotion_encoder(self.embed(words["emotion"]), emotion_mask)
        logits = self.classify(torch.cat([emotion[:, 0], states[:, 0].to(emotion.dtype)], dim=-1))
        return BaselineMemory(
            torch.cat([states, emotion.to(states.dtype)], dim=1),
            torch.cat([mask, emotion_mask], dim=1),
            torch.cat([batch.context, emotion_words], dim=1),
            logits.float(),
            first=self.begin(logits),
        )
