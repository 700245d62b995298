"""A bag of words and of neighbouring words that has a say in the emotion. Beyond the paper.

Shapes: B batch, L context length, V vocabulary, F features: V words of the speaker, V words of the listener, and `HASHED`
places for two neighbouring words, which a hash chooses.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.corpus import CLS, EMOTIONS, PAD, SYS, Split

HASHED = 2**17
PAIR_WEIGHT = 0.7  # of two words beside that of one
STEEP = 5.0  # of the logits: optimisers move every weight alike, and a bag has unit length


def features(ids: Tensor, speaker: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The features of words in a row, whatever comes before the last axis.

    Args:
        ids: [..., L] words.
        speaker: [..., L] USR or SYS.
        size: V.

    Returns:
        words [..., L], and pairs of a word and the next [..., L - 1].
    """
    hashed = (ids[..., :-1] * 1_000_003 + ids[..., 1:] * 7_919) % HASHED
    return ids + size * (speaker == SYS), 2 * size + hashed


def feature_weights(split: Split, size: int) -> np.ndarray:
    """IDF of every feature among the dialogues of a split, [F] float32, 1 at most; pairs count less, or 0 if in one only."""
    ids, speaker = (
        torch.from_numpy(np.asarray(array).astype(np.int64))
        for array in (split.tokens, split.speaker)
    )
    turns = np.diff(split.dialogue_offsets)
    dialogue = torch.from_numpy(
        np.repeat(np.repeat(np.arange(len(turns)), turns), np.diff(split.turn_offsets))
    )
    words, pairs = features(ids, speaker, size)
    count, within = 2 * size + HASHED, dialogue[:-1] == dialogue[1:]
    found = torch.cat([dialogue * count + words, (dialogue[:-1] * count + pairs)[within]])
    frequency = np.bincount(found.unique().numpy() % count, minlength=count)
    weights = np.log((1 + len(turns)) / (1 + frequency)) / np.log(1 + len(turns))
    weights[2 * size :] *= PAIR_WEIGHT * (frequency[2 * size :] > 1)
    return weights.astype(np.float32)


class BagExpert(nn.Module):
    """Emotion logits of who said which words, and of words beside each other: no vectors, no further order.

    `l = 5 x W + b` with `x_f` the weight of each feature that occurs, scaled to length 1. It alone is right about as often
    as the student, and partly in other cases.

    Args:
        weights: [F], of `feature_weights`.
    """

    weights: Tensor

    def __init__(self, weights: Tensor):
        super().__init__()
        self.register_buffer("weights", weights.clone())
        self.votes = nn.Embedding(len(weights), len(EMOTIONS))
        self.bias = nn.Parameter(torch.zeros(len(EMOTIONS)))
        nn.init.zeros_(self.votes.weight)

    def forward(self, context_BL: Tensor, speaker_BL: Tensor) -> Tensor:
        """[B, 32], float32."""
        words, pairs = features(context_BL, speaker_BL, (len(self.weights) - HASHED) // 2)
        real = (context_BL != PAD) & (context_BL != CLS)
        ids = torch.cat([words, pairs], dim=1).masked_fill(
            ~torch.cat([real, real[:, 1:] & real[:, :-1]], dim=1), -1
        )
        # Sorted, so that a feature stands beside itself and counts once.
        ids = ids.sort(dim=1).values
        counts = (ids >= 0) & (ids != ids.roll(1, dims=1))
        counts[:, 0] = ids[:, 0] >= 0
        ids = ids.clamp(min=0)
        scaled = F.normalize(self.weights[ids] * counts, dim=1)
        with torch.autocast(context_BL.device.type, enabled=False):
            return STEEP * (scaled.unsqueeze(1) @ self.votes(ids)).squeeze(1) + self.bias
