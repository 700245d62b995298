"""Answers biased to specific words (preset `best`). The paper's pointer generator has none of this.

`copy_bias`, `tilt` and `repeat_bias` act in evaluation only. A model learns to copy, and to use
common words, as often as people do on average. A greedy answer then hardly ever copies, and uses
the words that are in every answer.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.config import Config
from ctsm_lib.model.generation import DecoderCache, ResponseDecoder
from ctsm_lib.model.pointer import Mixture, PointerGenerator

RAREST = -10.0  # the tilt treats all rarer words like a word of this log frequency, 1 in 22,000


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
    """A cache that also marks the words of the context that the answer has already."""

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
