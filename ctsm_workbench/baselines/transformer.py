"""Transformer, without and with an emotion classifier: two baselines without a model of emotion.

Sources: Vaswani et al. (2017); Rashkin et al. (2019).
"""

import torch
from torch import Tensor

from ctsm_lib.batches import Batch
from ctsm_lib.corpus import EMOTIONS
from ctsm_workbench.baselines.base import Baseline, BaselineMemory


class Transformer(Baseline):
    """`H = Enc(E)`, `P = Dec(Y, H)`; it predicts no emotion."""

    predicts_emotion = False

    def make_parts(self, dim: int) -> None: ...

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> BaselineMemory:
        states, mask = self.encode_context(batch, words)
        none = torch.zeros(len(states), len(EMOTIONS), device=states.device)
        return BaselineMemory(states, mask, batch.context, emotion_logits=none)


class MultiTransformer(Baseline):
    """The same, and `l = W h_CLS + b` for the 32 emotions."""
