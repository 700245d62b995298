"""Extras that any system can have: a bag of words, and words that are hidden in training.

The third extra, answers biased to specific words, is in `biased`. CTSM and the compared systems
inherit them from one class, so that a comparison can give all of them the same extras.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import SPECIALS, UNK, Corpus
from ctsm_lib.interface import Memory, Tables
from ctsm_lib.kernels import Dropout
from ctsm_workbench.beyond.bag import HASHED, BagExpert, feature_weights


@dataclass
class Experts:
    """The two predictions of emotion whose mean a memory has."""

    own: Tensor  # B 32, of the system itself
    bag: Tensor  # B 32, of the bag of words


@dataclass(kw_only=True)
class ExpertsMemory(Memory):
    """An encoded context, whose emotion is the mean of two experts where there is a bag."""

    experts: Experts | None = None


class Extras(nn.Module):
    """Base class of a system that can have extras. Without any, it changes nothing."""

    config: Config
    bag: BagExpert | None

    def add_extras(self, tables: Tables) -> None:
        """Make the bag. It is the last part to be made and to draw random numbers."""
        self.bag = None
        if self.config.bag_expert:
            # A model whose weights come from a checkpoint gets these weights from there, too.
            unknown = torch.zeros(2 * len(tables.vectors) + HASHED)
            self.bag = BagExpert(tables.more.get("bag", unknown))

    def drop_before(self, last: Any) -> None:
        """Add dropout (`head_dropout`) to the input of a classifier's last layer."""
        last.dropout = Dropout(self.config.head_dropout)
        last.register_forward_pre_hook(lambda layer, inputs: layer.dropout(inputs[0]))

    @classmethod
    def more_tables(cls, config: Config, corpus: Corpus, **_: Any) -> dict[str, Tensor]:
        """The weights of the bag's features, from the training dialogues."""
        if not config.bag_expert:
            return {}
        weights = feature_weights(corpus.splits["train"], len(corpus.vocabulary))
        return {"bag": torch.from_numpy(weights)}

    def hide_words(self, batch: Batch) -> Batch:
        """The batch with some words of the context hidden, in training (`word_dropout`)."""
        share = self.config.word_dropout
        if not (self.training and share):
            return batch
        hidden = torch.rand(batch.context.shape, device=batch.context.device) < share
        hidden &= batch.context >= len(SPECIALS)
        return replace(batch, context=batch.context.masked_fill(hidden, UNK))

    def ask_bag(self, memory: ExpertsMemory, batch: Batch) -> None:
        """Let the bag, if there is one, contribute to a memory's emotion."""
        if self.bag is not None:
            memory.experts = Experts(memory.emotion_logits, self.bag(batch.context, batch.speaker))
            memory.emotion_logits = mean_of_experts(memory.experts.own, memory.experts.bag)


def mean_of_experts(first_BK: Tensor, second_BK: Tensor) -> Tensor:
    """Logits of the geometric mean of two distributions, [B, K]."""
    return (first_BK.float().log_softmax(dim=-1) + second_BK.float().log_softmax(dim=-1)) / 2
