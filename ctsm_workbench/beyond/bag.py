"""A bag of words and of word pairs that contributes to the predicted emotion (preset `best`).

Shapes: B batch, L context length, V vocabulary, F features: V words of the speaker, V words of the
listener, and `HASHED` places for pairs of neighbouring words. A hash chooses the place of a pair.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.corpus import CLS, EMOTIONS, PAD, SYS, Split

HASHED = 2**17
PAIR_WEIGHT = 0.7  # of a pair, relative to a word
STEEP = 5.0  # of the logits: optimisers move every weight alike, and a bag has unit length


def features(ids: Any, speaker: Any, size: int) -> tuple[Any, Any]:
    """Features of words [..., L], and of pairs of a word and the next one [..., L - 1].

    `ids` and `speaker` (USR or SYS) are tensors or arrays of int64, [..., L]; `size` is V.
    """
    hashed = (ids[..., :-1] * 1_000_003 + ids[..., 1:] * 7_919) % HASHED
    return ids + size * (speaker == SYS), 2 * size + hashed


def feature_weights(split: Split, size: int) -> np.ndarray:
    """IDF of every feature among the dialogues of a split, [F] float32, scaled to at most 1.

    Pairs weigh less. A pair that only one dialogue has weighs 0.
    """
    tokens = split.tokens.astype(np.int64)
    speaker = split.speaker.astype(np.int64)
    words, pairs = features(tokens, speaker, size)
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

    weights: Tensor

    def __init__(self, weights: Tensor):
        super().__init__()
        self.register_buffer("weights", weights.clone())
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
