"""Checks of lesson 02: intensity, IDF, trait embedding. Paper: Sec. 3.4.1."""

import math
from collections.abc import Callable

import numpy as np
import torch

from ctsm_workbench.course.checks.frame import check, dot, expect, expect_close, expect_shape


@check("2.1")
def intensity(mine: Callable) -> None:
    """`mine(vad [n, 3], rated [n]) -> [n]`, intensity of each word; 0 if it is not rated."""
    centre = [0.5, 0.0, 0.5]
    vad = [centre, [0.9, 0.0, 0.2], [0.5, 0.8, 0.9], [0.1, 0.6, 0.3], centre]
    result = mine(np.array(vad), np.array([True, True, True, True, False]))
    expect_shape(result, (5,), "Return one number per word.")
    hint = "An unrated word has exactly 0, not the value of the formula at the neutral triple."
    expect(abs(float(result[4])) < 1e-12, hint)
    for word, hint in enumerate(
        (
            "A rated word at the centre: subtract 0.06467, then divide by 0.607468.",
            "Only valence is off the centre here: intensity is a distance, so take the root.",
            "Only arousal is off the centre here: it enters halved, and dominance does not enter.",
            "Distances add up as in Pythagoras' theorem: squares, sum, root.",
        )
    ):
        raw = math.hypot(vad[word][0] - 0.5, vad[word][1] / 2)
        expect_close(result[word], (raw - 0.06467) / 0.607468, hint)


@check("2.2")
def inverse_document_frequency(mine: Callable) -> None:
    """`mine(documents, size) -> [size]`, IDF of each word id, scaled to [0, 1].

    `documents` are lists of ids.
    """
    documents = [[0, 1, 1, 1], [0, 2], [0, 1, 3], [0, 2, 2]]
    result = mine(documents, 5)
    expect_shape(result, (5,), "Return one number for each id, also for ids without a document.")
    seen = [sum(word in document for document in documents) for word in range(5)]
    raw = [math.log((1 + len(documents)) / (1 + df)) + 1 for df in seen]
    low = raw[0]  # word 0 is in every document
    high = raw[3]  # word 3 is in one document, word 4 in none
    expected = [*((value - low) / (high - low) for value in raw[:4]), 1.0]
    expect_close(result[0], 0.0, "The word that is in every document has 0 after scaling.")
    expect_close(result[4], 1.0, "A word that is in no document is as rare as can be: 1.")
    hint = "The rarest word that was seen has 1: scale by the words that were seen, not by all ids."
    expect_close(result[3], 1.0, hint)
    hint = "A document counts once for a word, no matter how often it has the word."
    expect_close(result[1], expected[1], hint)
    hint = "Compute ln((1 + N) / (1 + df)) + 1, then (x - min) / (max - min)."
    expect_close(result, expected, hint)


@check("2.3")
def trait_embedding(mine: Callable) -> None:
    """`mine(vad, idf, context, weight, mask) -> V_t [B, L, 14]`.

    Shapes: vad [B, L, 3], idf [B, L], context [B, L, D], weight [10, D], mask [B, L].
    """
    random = torch.Generator().manual_seed(0)
    vad = torch.rand(2, 4, 3, generator=random)
    idf = torch.rand(2, 4, generator=random)
    context = torch.randn(2, 4, 6, generator=random)
    weight = torch.randn(10, 6, generator=random)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = mine(vad, idf, context, weight, mask)
    expect_shape(result, (2, 4, 14), "3 of VAD, 1 of IDF, 10 of the compressed context.")
    hint = "The first three columns are valence, arousal and dominance."
    expect_close(result[0, :, :3], vad[0], hint)
    expect_close(result[0, :, 3], idf[0], "The fourth column is the IDF.")
    compressed = [[dot(row, token) for row in weight.tolist()] for token in context[0].tolist()]
    hint = "The last ten columns are W_C h of each token (Eq. 3): the rows of W_C are the outputs."
    expect_close(result[0, :, 4:], compressed, hint)
    hint = "PAD rows are zero: padding must not reach any sum."
    expect(float(result[1, 2:].abs().max()) == 0, hint)
    second = torch.cat([vad, idf.unsqueeze(-1)], dim=-1)[1, :2]
    expect_close(result[1, :2, :4], second, "Also fill the real tokens of the second dialogue.")
