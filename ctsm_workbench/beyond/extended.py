"""CTSM with everything that the presets `improved` and `best` add to the paper."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import SPECIALS, UNK, Corpus
from ctsm_lib.interface import Memory, Tables
from ctsm_lib.kernels import Dropout
from ctsm_lib.model.ctsm import CTSM, Reading, mean_label_loss
from ctsm_lib.model.guidance import EmotionPredictor
from ctsm_lib.settings import ModelSettings
from ctsm_workbench.beyond.bag import HASHED, BagExpert, feature_weights
from ctsm_workbench.beyond.biased import BiasedDecoder, BiasedPointer
from ctsm_workbench.beyond.fusion import JointFusion


@dataclass(kw_only=True)
class ExpertsMemory(Memory):
    """A memory whose emotion is the mean of the student's and the bag's."""

    bag_logits: Tensor  # B 32


class ExtendedCTSM(CTSM):
    """CTSM with the options of `BeyondSettings`. With none of them it equals `CTSM` to the bit."""

    Decoder = BiasedDecoder

    def __init__(self, config: Config, tables: Tables):
        super().__init__(config, tables)
        self.bag = None
        if config.bag_expert:
            # A model whose weights come from a checkpoint gets these weights from there, too.
            unknown = torch.zeros(2 * len(tables.vectors) + HASHED)
            self.bag = BagExpert(tables.more.get("bag", unknown))

    @classmethod
    def more_tables(cls, config: Config, corpus: Corpus, **_: Any) -> dict[str, Tensor]:
        """The weights of the bag's features, from the training dialogues."""
        if not config.bag_expert:
            return {}
        weights = feature_weights(corpus.splits["train"], len(corpus.vocabulary))
        return {"bag": torch.from_numpy(weights)}

    def make_fusion(self) -> nn.Module:
        """The joint fusion, where it is set."""
        if self.config.fusion == "joint":
            return JointFusion(self.config.dim, self.small_encoder)
        return super().make_fusion()

    def make_predictor(self, width: int, intensity: bool) -> EmotionPredictor:
        """A classifier with dropout before its last layer."""
        predictor = super().make_predictor(width, intensity)
        predictor.classify.dropout = Dropout(self.config.head_dropout)
        predictor.classify.register_forward_pre_hook(lambda last, inputs: last.dropout(inputs[0]))
        return predictor

    def make_pointer(self) -> BiasedPointer:
        """A pointer generator with biases."""
        return BiasedPointer(self.config, self.log_unigram)

    def read(self, batch: Batch) -> Reading:
        """Understand contexts, in training with some words hidden. Copying and the bag see all."""
        share = self.config.word_dropout
        if self.training and share:
            hidden = torch.rand(batch.context.shape, device=batch.context.device) < share
            hidden &= batch.context >= len(SPECIALS)
            batch = replace(batch, context=batch.context.masked_fill(hidden, UNK))
        return super().read(batch)

    def remember(self, batch: Batch, reading: Reading) -> Memory:
        """The decoder's memory. With a bag, its emotion is the mean of both experts."""
        memory = super().remember(batch, reading)
        if self.bag is None:
            return memory
        bag = self.bag(batch.context, batch.speaker)
        memory.emotion_logits = mean_of_experts(reading.student_logits, bag)
        return ExpertsMemory(**vars(memory), bag_logits=bag)

    def emotion_loss(
        self, batch: Batch, reading: Reading, memory: Memory, *, losses: Any, **more: Any
    ) -> Tensor:
        """The emotion loss, and that of the bag."""
        # Each expert has a loss of its own. With a loss of the mean, the expert that learns faster
        # would leave the other no gradient.
        loss = super().emotion_loss(batch, reading, memory, losses=losses, **more)
        if not isinstance(memory, ExpertsMemory):
            return loss
        losses["bag"] = mean_label_loss(memory.bag_logits, batch)
        return loss + losses["bag"]

    def loss_weights(self, batch: Batch) -> ModelSettings:
        """Weights of Eq. (25); `peer_losses` turns means over words into sums over the batch."""
        config = self.config
        if not config.peer_losses:
            return config
        names = ("weight_generation", "weight_diversity")
        words = float(batch.total_tokens)
        return replace(config, **{name: getattr(config, name) * words for name in names})


def mean_of_experts(first_BK: Tensor, second_BK: Tensor) -> Tensor:
    """Logits of the geometric mean of two distributions, [B, K]."""
    return (first_BK.float().log_softmax(dim=-1) + second_BK.float().log_softmax(dim=-1)) / 2
