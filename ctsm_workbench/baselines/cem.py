"""CEM: commonsense says what the speaker intends, needs, wants, undergoes and feels, and so enriches the context.

The idea of Section 3.3 of CTSM comes from here. CEM runs it once, reads the emotion from the half that the reactions
(xReact) refined, and answers from all of it; the diversity loss is CEM's, too.
Source: Sabour, Zheng and Huang (2022).

    H_C = Encoder(E)                                              [B, L, D]
    U_r = Encoder_cr([H_C ; K_r])  for xIntent, xNeed, xWant, xEffect
    U_e = Encoder_er([H_C ; k_e])  with xReact
    Z   = [U_1 .. U_4 ; U_e]                                      [B, L, 5D]
    H   = W_2 relu(W_1 (sigmoid(Z) * Z))                          [B, L, D], the decoder's memory
    l   = W U_e[CLS]                                              [B, 32]
    L   = NLL + CE(l) + 1.5 L_div
"""

from __future__ import annotations

from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.interface import Tables
from ctsm_lib.model.context import KnowledgeEncoder, SeparateFusion
from ctsm_workbench.baselines.base import LABELS, Baseline, BaselineMemory, initialise


class CEM(Baseline):
    """Commonsense-aware Empathetic chatting Machine. The setting `fusion` is CTSM's; here it is always "separate"."""

    smoothing = False
    diverse = True
    uses = frozenset({"knowledge"})

    def __init__(self, config: Config, tables: Tables):
        super().__init__(config, tables)
        self.knowledge = KnowledgeEncoder(config.dim, self.small_encoder)
        self.fusion = SeparateFusion(config.dim, self.small_encoder)
        self.classify = nn.Linear(config.dim, LABELS, bias=False)
        self.decoder = self.make_decoder()
        initialise(self)

    def ids(self, batch: Batch) -> dict[str, Tensor]:
        return super().ids(batch) | {"knowledge": batch.knowledge}

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> BaselineMemory:
        context, mask = self.encode_context(batch, words)
        knowledge = self.knowledge(batch.knowledge, self.embed(words["knowledge"]))  # B 5 D
        states, emotional = self.fusion.fuse(context, knowledge, mask)
        return BaselineMemory(states, mask, batch.context, self.classify(emotional[:, 0]).float())
