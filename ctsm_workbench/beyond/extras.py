"""Extras that any system can have: a bag of words, and words that are hidden in training.

The third extra, answers biased to specific words, is in `biased`. CTSM and the compared systems
inherit them from one class, so that a comparison can give all of them the same extras.

Shapes: B batch, L context length, V vocabulary, F features of the bag: V words of the speaker, V
words of the listener, and `HASHED` places for pairs of neighbouring words, chosen by a hash.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import CLS, EMOTIONS, PAD, SPECIALS, SYS, UNK, Corpus, Split
from ctsm_lib.interface import Memory, Tables
from ctsm_lib.kernels import Dropout

HASHED = 2**17
PAIR_WEIGHT = 0.7  # of a pair, relative to a word
STEEP = 5.0  # of the logits: optimisers move every weight alike, and a bag has unit length


def features(ids: Any, speaker: Any, size: int) -> tuple[Any, Any]:
    """Features of words [..., L], and of pairs of a word and the next one [..., L - 1].

    `ids` (int64) and `speaker` (USR or SYS) are tensors or arrays [..., L]; `size` is V.
    """
    hashed = (ids[..., :-1] * 1_000_003 + ids[..., 1:] * 7_919) % HASHED
    return ids + size * (speaker == SYS), 2 * size + hashed


def feature_weights(split: Split, size: int) -> np.ndarray:
    """IDF of every feature among the dialogues of a split, [F] float32, scaled to at most 1.

    Pairs weigh less. A pair that only one dialogue has weighs 0.
    """
    words, pairs = features(split.tokens.astype(np.int64), split.speaker, size)
    turns = np.diff(split.dialogue_offsets)
    dialogue = np.repeat(np.repeat(np.arange(len(turns)), turns), np.diff(split.turn_offsets))
    within = dialogue[:-1] == dialogue[1:]  # a pair does not cross from one dialogue to the next
    count = 2 * size + HASHED
    found = np.concatenate([dialogue * count + words, (dialogue[:-1] * count + pairs)[within]])
    frequency = np.bincount(np.unique(found) % count, minlength=count)
    weights = np.log((1 + len(turns)) / (1 + frequency)) / np.log(1 + len(turns))
    weights[2 * size :] *= PAIR_WEIGHT * (frequency[2 * size :] > 1)
    return weights.astype(np.float32)


class BagExpert(nn.Module):
    """Emotion logits from the words of speaker and listener, without word vectors.

    `l = 5 x W + b`, with `x_f` the weight of each feature that occurs, scaled to length 1. Alone it
    is right about as often as the student, and partly in other cases. `weights` [F] are those of
    `feature_weights`.
    """

    def __init__(self, weights: Tensor):
        super().__init__()
        self.weights = nn.Buffer(weights.clone())
        self.votes = nn.Embedding(len(weights), len(EMOTIONS))
        self.bias = nn.Parameter(torch.zeros(len(EMOTIONS)))
        nn.init.zeros_(self.votes.weight)

    def forward(self, context_BL: Tensor, speaker_BL: Tensor) -> Tensor:
        """Emotion logits [B, 32], float32."""
        words, pairs = features(context_BL, speaker_BL, (len(self.weights) - HASHED) // 2)
        real = (context_BL != PAD) & (context_BL != CLS)
        real = torch.cat([real, real[:, 1:] & real[:, :-1]], dim=1)
        ids = torch.cat([words, pairs], dim=1).masked_fill(~real, -1)
        # Sorted, equal features stand together, and each counts once.
        ids = ids.sort(dim=1).values
        counts = ids != F.pad(ids[:, :-1], (1, 0), value=-1)
        ids = ids.clamp(min=0)
        scaled = F.normalize(self.weights[ids] * counts, dim=1)
        with torch.autocast(context_BL.device.type, enabled=False):
            return STEEP * (scaled.unsqueeze(1) @ self.votes(ids)).squeeze(1) + self.bias


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
