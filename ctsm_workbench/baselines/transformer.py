"""Transformer, and Transformer with an emotion classifier: the two yardsticks without any idea about emotion.

Sources: Vaswani et al. (2017); Rashkin et al. (2019).
"""

from __future__ import annotations

from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.interface import Tables
from ctsm_workbench.baselines.base import LABELS, Baseline, BaselineMemory, initialise


class Transformer(Baseline):
    """`H = Enc(E)`, `P = Dec(Y, H)`; it predicts no emotion."""

    predicts_emotion = False

    def __init__(self, config: Config, tables: Tables):
        super().__init__(config, tables)
        self.decoder = self.make_decoder()
        initialise(self)

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> BaselineMemory:
        states, mask = self.encode_context(batch, words)
        return BaselineMemory(
            states, mask, batch.context, states.new_zeros(len(states), LABELS).float()
        )


class MultiTransformer(Baseline):
    """The same, and `l = W h_CLS + b` for the 32 emotions."""

    def __init__(self, config: Config, tables: Tables):
        super().__init__(config, tables)
        self.classify = nn.Linear(config.dim, LABELS)
        self.decoder = self.make_decoder()
        initialise(self)

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> BaselineMemory:
        states, mask = self.encode_context(batch, words)
        return BaselineMemory(states, mask, batch.context, self.classify(states[:, 0]).float())
