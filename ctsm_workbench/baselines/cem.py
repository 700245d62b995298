"""CEM: commonsense about the speaker enriches the context.

Section 3.3 of CTSM takes its fusion from CEM. CEM runs it once. It predicts the emotion from the
part that the reaction (xReact) refined, and answers from all. The diversity loss is CEM's, too.
Source: Sabour, Zheng and Huang (2022).

    H_C = Encoder(E)                                              [B, L, D]
    H, U_e: the fusion of H_C with commonsense, as in `SeparateFusion`; the decoder attends to H
    l   = W U_e[CLS]                                              [B, 32]
    L   = NLL + CE(l) + 1.5 L_div
"""

from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.model.context import KnowledgeEncoder, SeparateFusion
from ctsm_workbench.baselines.base import Baseline, BaselineMemory
from ctsm_workbench.beyond.extended import JointFusion


class CEM(Baseline):
    """Commonsense-aware EMpathetic chatting machine. Only `cem_fusion` chooses its fusion."""

    diverse = True
    uses = frozenset({"knowledge"})

    def make_parts(self, dim: int) -> None:
        self.knowledge = KnowledgeEncoder(dim, self.small_encoder)
        joint = self.config.cem_fusion == "joint"
        self.fusion = (JointFusion if joint else SeparateFusion)(dim, self.small_encoder)
        self.classify = nn.Linear(dim, len(EMOTIONS), bias=False)

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> BaselineMemory:
        context, mask = self.encode_context(batch, words)
        knowledge = self.knowledge(batch.knowledge, self.embed(words["knowledge"]))  # B 5 D
        if isinstance(self.fusion, JointFusion):  # one result, for emotion and answer alike
            states = emotional = self.fusion(context, knowledge, mask)
        else:
            states, emotional = self.fusion.fuse(context, knowledge, mask)
        logits = self.classify(emotional[:, 0]).float()
        return BaselineMemory(states, mask, batch.context, emotion_logits=logits)
