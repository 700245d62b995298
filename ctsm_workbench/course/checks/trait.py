"""Checks of lesson 02: intensity, IDF, trait embedding. Paper: Sec. 3.4.1."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from ctsm_workbench.course.checks.frame import check, expect, expect_close, expect_shape


@check("2.1")
def intensity(mine: Callable) -> None:
    """`mine(vad [n, 3], rated [n]) -> [n]`, emotion intensity of each word; 0 where it is not rated."""
    vad = np.array(
        [[0.5, 0.0, 0.5], [0.9, 0.0, 0.2], [0.5, 0.8, 0.9], [0.1, 0.6, 0.3], [0.5, 0.0, 0.5]]
    )
    rated = np.array([True, True, True, True, False])
    result = mine(vad, rated)
    expect_shape(result, (5,), "One number a word.")
    expect(
        abs(float(result[4])) < 1e-12,
        "An unrated word carries exactly 0, not what the formula gives for the neutral triple.",
    )
    raw = [math.sqrt((v - 0.5) ** 2 + (a / 2) ** 2) for v, a, _ in vad.tolist()]
    expect_close(
        result[0],
        (raw[0] - 0.06467) / 0.607468,
        "A rated word at the centre: subtract 0.06467, then divide by 0.607468.",
    )
    expect_close(
        result[1],
        (raw[1] - 0.06467) / 0.607468,
        "Only valence is off the centre here: a distance, so take the root.",
    )
    expect_close(
        result[2],
        (raw[2] - 0.06467) / 0.607468,
        "Only arousal is off the centre here: it enters halved; dominance does not.",
    )
    expect_close(
        result[3],
        (raw[3] - 0.06467) / 0.607468,
        "Distances add up as in Pythagoras' theorem: squares, sum, root.",
    )


@check("2.2")
def inverse_document_frequency(mine: Callable) -> None:
    """`mine(documents, size) -> [size]`, IDF of each word id, scaled to [0, 1]; `documents` are lists of ids."""
    documents, size = [[0, 1, 1, 1], [0, 2], [0, 1, 3], [0, 2, 2]], 5
    result = mine(documents, size)
    expect_shape(result, (size,), "One number for each id, also for those that no document has.")
    seen = [sum(word in document for document in documents) for word in range(size)]
    raw = [math.log((1 + len(documents)) / (1 + df)) + 1 for df in seen]
    known = [value for value, df in zip(raw, seen, strict=True) if df]
    expected = [
        (value - min(known)) / (max(known) - min(known)) if df else 1.0
        for value, df in zip(raw, seen, strict=True)
    ]
    expect_close(result[0], 0.0, "The word that is in every document has 0 after scaling.")
    expect_close(result[4], 1.0, "A word that no document has is as rare as can be: 1.")
    expect_close(
        result[3],
        1.0,
        "The rarest word that was seen has 1: scale by the words that were seen, not by all ids.",
    )
    expect_close(result[1], expected[1], "A document counts once, however often it has the word.")
    expect_close(result, expected, "ln((1 + N) / (1 + df)) + 1, then (x - min) / (max - min).")


@check("2.3")
def trait_embedding(mine: Callable) -> None:
    """`mine(vad, idf, context, weight, mask) -> V_t`, [B, L, 14] from [B, L, 3], [B, L], [B, L, D], [10, D], [B, L]."""
    random = torch.Generator().manual_seed(0)
    vad, idf = torch.rand(2, 4, 3, generator=random), torch.rand(2, 4, generator=random)
    context, weight = torch.randn(2, 4, 6, generator=random), torch.randn(10, 6, generator=random)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = mine(vad, idf, context, weight, mask)
    expect_shape(result, (2, 4, 14), "3 of VAD, 1 of IDF, 10 of the compressed context.")
    expect_close(
        result[0, :, :3], vad[0], "The first three columns are valence, arousal, dominance."
    )
    expect_close(result[0, :, 3], idf[0], "The fourth column is the IDF.")
    compressed = [
        [sum(float(weight[k, d] * context[0, i, d]) for d in range(6)) for k in range(10)]
        for i in range(4)
    ]
    expect_close(
        result[0, :, 4:],
        compressed,
        "The last ten are W_C h of each token (Eq. 3), with the rows of W_C as outputs.",
    )
    expect(
        float(result[1, 2:].abs().max()) == 0,
        "PAD rows are zero: what stands there must not reach any sum.",
    )
    expect_close(
        result[1, :2, :4],
        torch.cat([vad, idf.unsqueeze(-1)], dim=-1)[1, :2],
        "The second dialogue's real tokens.",
    )
