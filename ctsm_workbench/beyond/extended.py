"""CTSM with everything that the presets `improved` and `best` add to the paper."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.interface import Tables
from ctsm_lib.model.context import COGNITIVE
from ctsm_lib.model.ctsm import CTSM, Reading, mean_label_loss
from ctsm_lib.model.guidance import EmotionPredictor
from ctsm_lib.model.layers import Encoder
from ctsm_lib.settings import ModelSettings
from ctsm_workbench.beyond.extras import BiasedDecoder, BiasedPointer, ExpertsMemory, Extras


class JointFusion(nn.Module):
    """One refining encoder for all five relations; a gated MLP of its result joins the context.

    Departure: five refining passes become one, a third of the work, with a residual connection.
    """

    def __init__(self, dim: int, make_encoder: Callable[[int], Encoder]):
        super().__init__()
        self.context_in = nn.Linear(dim, dim, bias=False)
        self.knowledge_in = nn.Linear((COGNITIVE + 1) * dim, dim, bias=False)
        self.refine = make_encoder(dim)
        self.gate = nn.Linear(2 * dim, dim)
        self.first = nn.Linear(2 * dim, dim)
        self.second = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, context_BLD: Tensor, knowledge_BRD: Tensor, mask_BL: Tensor) -> Tensor:
        """Enriched context, [B, L, D]."""
        added = self.knowledge_in(knowledge_BRD.flatten(1)).unsqueeze(1)
        refined = self.refine(self.context_in(context_BLD) + added, mask_BL)
        both = torch.cat([context_BLD, refined], dim=-1)
        update = self.gate(both).sigmoid() * self.second(self.first(both).relu())
        return self.norm(context_BLD + update)


class ExtendedCTSM(CTSM, Extras):
    """CTSM with the options of `BeyondSettings`. With none of them it equals `CTSM` to the bit."""

    Decoder = BiasedDecoder

    def __init__(self, config: Config, tables: Tables):
        super().__init__(config, tables)
        self.add_extras(tables)

    def make_fusion(self) -> nn.Module:
        if self.config.fusion == "joint":
            return JointFusion(self.config.dim, self.small_encoder)
        return super().make_fusion()

    def make_predictor(self, width: int, intensity: bool) -> EmotionPredictor:
        """A classifier with dropout before its last layer."""
        predictor = super().make_predictor(width, intensity)
        self.drop_before(predictor.classify)
        return predictor

    def make_pointer(self) -> BiasedPointer:
        return BiasedPointer(self.config, self.log_unigram)

    def read(self, batch: Batch) -> Reading:
        """Understand contexts, in training with some words hidden. Copying and the bag see all."""
        return super().read(self.hide_words(batch))

    def remember(self, batch: Batch, reading: Reading) -> ExpertsMemory:
        """The decoder's memory. With a bag, its emotion is the mean of both experts."""
        memory = ExpertsMemory(**vars(super().remember(batch, reading)))
        self.ask_bag(memory, batch)
        return memory

    def emotion_loss(
        self, batch: Batch, reading: Reading, memory: Any, *, losses: Any, **more: Any
    ) -> Tensor:
        """The emotion loss, and that of the bag."""
        # Each expert has a loss of its own. With a loss of the mean, the expert that learns faster
        # would leave the other no gradient.
        loss = super().emotion_loss(batch, reading, memory, losses=losses, **more)
        if memory.bag_logits is not None:
            losses["bag"] = mean_label_loss(memory.bag_logits, batch)
            loss = loss + losses["bag"]
        return loss

    def loss_weights(self, batch: Batch) -> ModelSettings:
        """Weights of Eq. (25); `peer_losses` turns means over words into sums over the batch."""
        config = self.config
        if not config.peer_losses:
            return config
        words = float(batch.total_tokens)
        diversity = config.weight_diversity * words
        generation = config.weight_generation * words
        return replace(config, weight_generation=generation, weight_diversity=diversity)
