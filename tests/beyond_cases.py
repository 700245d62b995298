"""Builders and slow references for what goes beyond the paper, as `helpers` has them for CTSM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from helpers import (
    SIZE,
    array,
    randomise,
    sigmoid,
    slow_encoder,
    slow_linear,
    slow_logits,
    slow_norm,
    slow_softmax,
    tiny_config,
    tiny_tables,
)
from torch import Tensor, nn

from ctsm_lib.corpus import CLS, PAD, SYS
from ctsm_lib.interface import Tables
from ctsm_workbench.beyond.extended import ExtendedCTSM
from ctsm_workbench.beyond.extras import HASHED, BagExpert, BiasedPointer


def tiny_bag_weights(seed: int = 0) -> Tensor:
    """Random weights of the bag's features for the tiny vocabulary."""
    random = torch.Generator().manual_seed(seed + 100)
    return torch.rand(2 * SIZE + HASHED, generator=random)


def extended_tables(seed: int = 0, **sizes: int) -> Tables:
    """The tables of `tiny_tables`, with weights for the bag."""
    tables = tiny_tables(seed, **sizes)
    tables.more["bag"] = tiny_bag_weights(seed)
    return tables


def tiny_extended(seed: int = 0, **changes: Any) -> ExtendedCTSM:
    """A tiny ExtendedCTSM in training mode, all parameters random."""
    return randomise(ExtendedCTSM(tiny_config(**changes), extended_tables(seed)), seed)


def slow_joint_fusion(fusion: nn.Module, context: np.ndarray, knowledge: np.ndarray) -> np.ndarray:
    """`R = Encoder([H ; K_1 .. K_5])`, `norm(H + sigmoid(W_g [H ; R]) * W_2 relu(W_1 [H ; R]))`."""
    halves = [array(fusion.context_in.weight), array(fusion.knowledge_in.weight)]
    matrix = np.concatenate(halves, axis=1)  # D 6D
    joined = np.array([matrix @ np.concatenate([state, *knowledge]) for state in context])
    both = np.concatenate([context, slow_encoder(fusion.refine, joined)], axis=1)
    update = slow_linear(fusion.second, np.maximum(slow_linear(fusion.first, both), 0))
    return slow_norm(fusion.norm, context + sigmoid(slow_linear(fusion.gate, both)) * update)


def slow_bag(expert: BagExpert, context: Sequence[int], speaker: Sequence[int]) -> np.ndarray:
    """`5 x W + b` with `x_f` the weight of each feature that occurs, of length 1.

    PAD and CLS are no words.
    """
    size = (len(expert.weights) - HASHED) // 2
    found = set()
    for place, word in enumerate(context):
        if word in (PAD, CLS):
            continue
        found.add(word + size if speaker[place] == SYS else word)
        after = context[place + 1] if place + 1 < len(context) else PAD
        if after not in (PAD, CLS):
            found.add(2 * size + (word * 1_000_003 + after * 7_919) % HASHED)
    weight = {feature: float(expert.weights[feature]) for feature in sorted(found)}
    length = max(sum(value**2 for value in weight.values()) ** 0.5, 1e-12)
    logits = array(expert.bias).astype(np.float64).copy()
    for feature, value in weight.items():
        logits += 5 * value / length * array(expert.votes.weight[feature])
    return logits


def slow_biased_distribution(
    pointer: BiasedPointer,
    state: np.ndarray,
    copy: Sequence[float],
    context: Sequence[int],
    words: np.ndarray,
    answer: Sequence[int] = (),
    previous: int | None = None,
) -> tuple[np.ndarray, float]:
    """`P = alpha softmax(W o) + (1 - alpha) copy` with the biases of the pointer, and alpha.

    Args:
        answer: words of the answer so far. With `copy_once` they are not copied, and the missing
            probability is that of generating.
        previous: the word before, for `repeat_bias`.
    """
    bias = pointer.answer_bias
    logits = slow_logits(pointer, state, words)
    gate = slow_linear(pointer.gate, [state])[0, 0]
    if not pointer.training:
        common = array(pointer.log_unigram)
        logits = logits - bias.tilt * np.array([max(value, -10.0) for value in common])
        if previous is not None:
            logits[previous] += bias.repeat_bias
        gate = gate - bias.copy_bias
    alpha = float(sigmoid(gate))
    mixture = np.zeros(len(words))
    for place, word in enumerate(context):
        if not (pointer.copy_once and word in answer):
            mixture[word] += (1 - alpha) * copy[place]
    alpha = 1 - float(mixture.sum())
    return mixture + alpha * np.array(slow_softmax(logits)), alpha
