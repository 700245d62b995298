"""The bag of words against loops: a context's features, their weights, and the logits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from beyond_cases import slow_bag, tiny_bag_weights
from helpers import FIRST_WORD, close, collate, differ, random_pairs, randomise

from ctsm_lib.corpus import CLS, PAD, SYS, USR, Split
from ctsm_workbench.beyond.extras import HASHED, PAIR_WEIGHT, BagExpert, feature_weights


def bag() -> BagExpert:
    return randomise(BagExpert(tiny_bag_weights()))


def test_logits_equal_loops_whatever_the_padding() -> None:
    """`l = 5 x W + b`, `x_f` the weight of each feature that occurs, of length 1."""
    module, pairs = bag(), random_pairs(12)
    batch = collate(pairs, extra=3)
    logits = module(batch.context, batch.speaker)
    for row, pair in enumerate(pairs):
        close(logits[row], slow_bag(module, pair.context, pair.speaker))
        alone = module(torch.tensor([pair.context]), torch.tensor([pair.speaker]))
        close(alone[0], logits[row], 1e-6)
    close(module(batch.context.flip(0), batch.speaker.flip(0)).flip(0), logits, 1e-6)


def test_a_feature_counts_once_and_speaker_and_next_word_count() -> None:
    module, (a, b, c) = bag(), range(FIRST_WORD, FIRST_WORD + 3)

    def logits(words: list[int], listener: int = 0) -> torch.Tensor:
        speaker = [USR] * (len(words) - listener) + [SYS] * listener
        return module(torch.tensor([[CLS, *words]]), torch.tensor([[CLS, *speaker]]))

    close(logits([a, b, a, b, a]), logits([a, b, a]), 1e-6)  # a, b, ab, ba
    differ(logits([a, b, c]), logits([c, b, a]), 1e-3)
    differ(logits([a, b]), logits([a, b], listener=1), 1e-3)


def test_contexts_without_information_have_the_bias_only() -> None:
    """Nothing but PAD and CLS, or weights of 0 everywhere: the bias, without a division by zero."""
    empty = torch.tensor([[CLS, PAD], [PAD, PAD]])
    for module, ids in (
        (bag(), empty),
        (randomise(BagExpert(torch.zeros(40 + HASHED))), torch.tensor([[CLS, 7, 8]])),
    ):
        logits = module(ids, torch.full_like(ids, USR))
        for row in logits:
            close(row, module.bias)
        logits.sum().backward()
        assert module.votes.weight.grad is not None
        assert module.votes.weight.grad.isfinite().all()


def test_weights_are_the_idf_among_dialogues() -> None:
    """`ln((1 + n) / (1 + df)) / ln(1 + n)`.

    Pairs of one dialogue only have weight 0, and other pairs less than words.
    """
    dialogues = [[[7, 8], [8], [9, 7, 8]], [[7, 8], [7]], [[9]], [[10, 9, 9], [9, 10]]]
    turns = [turn for dialogue in dialogues for turn in dialogue]
    split = Split(
        np.array([word for turn in turns for word in turn], dtype=np.int32),
        np.cumsum([0, *map(len, turns)]),
        np.cumsum([0, *map(len, dialogues)]),
        np.zeros(len(dialogues), dtype=np.int64),
        np.zeros(0, dtype=np.uint8),
        np.zeros(len(turns) + 1, dtype=np.int64),
    )
    size, found = 12, []
    for dialogue in dialogues:
        spoken = [(word, turn % 2) for turn, words in enumerate(dialogue) for word in words]
        words = {word + size * listener for word, listener in spoken}
        after = pairwise(spoken)
        pairs = {2 * size + (a * 1_000_003 + b * 7_919) % HASHED for (a, _), (b, _) in after}
        found.append(words | pairs)
    weights = feature_weights(split, size)
    assert weights.shape == (2 * size + HASHED,)
    assert weights.dtype == np.float32
    for feature in set().union(*found) | {5, 3 * size}:
        frequency = sum(feature in one for one in found)
        expected = np.log(5 / (1 + frequency)) / np.log(5)
        if feature >= 2 * size:
            expected *= PAIR_WEIGHT if frequency > 1 else 0
        assert np.isclose(weights[feature], expected), feature
    assert weights[[7, 8]].tolist() == weights[[8, 7]].tolist()
    assert 0 < weights[2 * size + (7 * 1_000_003 + 8 * 7_919) % HASHED] < weights[7]
