"""Extras that any system can have (preset `best`), so that a comparison can give all the same ones.

A bag of words and word pairs contributes to the predicted emotion; words are hidden in training; in
evaluation, answers are biased to specific words. (A model copies and uses common words as often as
people do on average, so a greedy answer hardly ever copies and has the words of every answer.)

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
from ctsm_lib.model.generation import DecoderCache, ResponseDecoder
from ctsm_lib.model.pointer import Mixture, PointerGenerator

HASHED = 2**17
PAIR_WEIGHT = 0.7  # of a pair, relative to a word
STEEP = 5.0  # of the logits: optimisers move every weight alike, and a bag has unit length
RAREST = -10.0  # the tilt treats all rarer words like a word of this log frequency, 1 in 22,000


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

    `l = 5 x W + b`, with `x_f` the `feature_weights` of what occurs, scaled to length 1. Alone it
    is right about as often as the student, and partly in other cases.
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


@dataclass(kw_only=True)
class ExpertsMemory(Memory):
    """An encoded context, whose emotion is the mean of two experts where there is a bag."""

    own_logits: Tensor | None = None  # B 32, of the system itself, where there is a bag
    bag_logits: Tensor | None = None  # B 32


class Extras(nn.Module):
    """Base class of a system that can have extras. Without any, it changes nothing."""

    config: Config
    predicts_emotion: bool
    bag: BagExpert | None

    def add_extras(self, tables: Tables) -> None:
        """Make the bag, if an emotion is predicted: the last part to draw random numbers."""
        self.bag = None
        if self.config.bag_expert and self.predicts_emotion:
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
            memory.own_logits = memory.emotion_logits
            memory.bag_logits = self.bag(batch.context, batch.speaker)
            memory.emotion_logits = mean_of_experts(memory.own_logits, memory.bag_logits)


def mean_of_experts(first_BK: Tensor, second_BK: Tensor) -> Tensor:
    """Logits of the geometric mean of two distributions, [B, K]."""
    return (first_BK.float().log_softmax(dim=-1) + second_BK.float().log_softmax(dim=-1)) / 2


class BiasedPointer(PointerGenerator):
    """A pointer generator with the biases of `AnswerBias` and with `copy_once`.

    With `copy_once` the copy weights do not sum to 1. The missing probability goes to generating.
    `log_unigram` [V] is the log frequency of words in training answers.
    """

    def __init__(self, config: Config, log_unigram: Tensor):
        bias = log_unigram if config.output_bias == "unigram" else None
        super().__init__(config.dim, len(log_unigram), tied=config.tie_output, bias=bias)
        self.answer_bias = config.answer_bias()
        self.copy_once = config.copy_once
        self.log_unigram = nn.Buffer(log_unigram, persistent=False)

    def forward(
        self, states: Tensor, words_VD: Tensor, *, previous: Tensor, **given: Tensor
    ) -> Mixture:
        """The parts of the mixture, with biases."""
        parts = super().forward(states, words_VD, previous=previous, **given)
        bias = self.answer_bias
        if not self.training:
            parts.gate = parts.gate - bias.copy_bias
            if bias.tilt:
                rarity = self.log_unigram.float().clamp(min=RAREST)
                parts.logits = parts.logits - bias.tilt * rarity
            if bias.repeat_bias:
                added = parts.logits.new_full((len(previous), 1), bias.repeat_bias)
                parts.logits = parts.logits.scatter_add(1, previous.unsqueeze(1), added)
        if self.copy_once:
            copy = parts.copy.float()
            kept = copy.sum(dim=1, keepdim=True).clamp(min=1e-9)
            lost = (1 - kept).clamp(min=1e-9).log()
            log_copy = F.logsigmoid(-parts.gate)
            log_either = torch.logaddexp(F.logsigmoid(parts.gate), log_copy + lost)
            parts.gate = log_either - log_copy - kept.log()
            parts.copy = copy / kept
        return parts


@dataclass
class BiasedCache(DecoderCache):
    """A cache that marks context words that the answer has, and may replace the input SOS."""

    used: Tensor | None = None  # B L
    first: Tensor | None = None  # B D, read in place of SOS (EmpDG, KEMP)


class BiasedDecoder(ResponseDecoder):
    """A decoder that copies no word twice into one answer, where `copy_once` is set."""

    def start(self, memory_BLD: Tensor, mask_BL: Tensor, context_BL: Tensor) -> BiasedCache:
        return BiasedCache(**vars(super().start(memory_BLD, mask_BL, context_BL)))

    def copy_weights(self, attention: Tensor, words_BT: Tensor, cache: Any) -> Tensor:
        """Copy weights [B, T, L], 0 for words that the answer has already."""
        copy = super().copy_weights(attention, words_BT, cache)
        if not self.pointer.copy_once:
            return copy
        used = (words_BT.unsqueeze(2) == cache.context.unsqueeze(1)).cumsum(dim=1) > 0
        if cache.used is not None:
            used = used | cache.used.unsqueeze(1)
        cache.used = used[:, -1]
        return copy.masked_fill(used, 0.0)
