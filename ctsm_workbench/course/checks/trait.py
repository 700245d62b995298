"""Checks of lesson 02: intensity, IDF, trait embedding. Paper: Sec. 3.4.1."""

import math
from collections.abc import Callable

import numpy as np
import torch

from ctsm_workbench.course.checks.frame import Expect, check, dot


@check("2.1")
def intensity(mine: Callable, expect: Expect) -> None:
    """`mine(vad [n, 3], rated [n]) -> [n]`, intensity of each word; 0 if it is not rated."""
    centre = [0.5, 0.0, 0.5]
    vad = [centre, [0.9, 0.0, 0.2], [0.5, 0.8, 0.9], [0.1, 0.6, 0.3], centre]
    result = mine(np.array(vad), np.array([True, True, True, True, False]))
    expect.shape(result, (5,), "shape")
    expect(abs(float(result[4])) < 1e-12, "unrated")
    for word, hint in enumerate(("centre", "valence", "arousal", "distance")):
        raw = math.hypot(vad[word][0] - 0.5, vad[word][1] / 2)
        expect.close(result[word], (raw - 0.06467) / 0.607468, hint)


@check("2.2")
def inverse_document_frequency(mine: Callable, expect: Expect) -> None:
    """`mine(documents, size) -> [size]`, IDF of each word id, scaled to [0, 1].

    `documents` are lists of ids.
    """
    documents = [[0, 1, 1, 1], [0, 2], [0, 1, 3], [0, 2, 2]]
    result = mine(documents, 5)
    expect.shape(result, (5,), "shape")
    seen = [sum(word in document for document in documents) for word in range(5)]
    raw = [math.log((1 + len(documents)) / (1 + df)) + 1 for df in seen]
    low = raw[0]  # word 0 is in every document
    high = raw[3]  # word 3 is in one document, word 4 in none
    expected = [*((value - low) / (high - low) for value in raw[:4]), 1.0]
    expect.close(result[0], 0.0, "everywhere")
    expect.close(result[4], 1.0, "nowhere")
    expect.close(result[3], 1.0, "rarest")
    expect.close(result[1], expected[1], "once")
    expect.close(result, expected, "formula")


@check("2.3")
def trait_embedding(mine: Callable, expect: Expect) -> None:
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
    expect.shape(result, (2, 4, 14), "shape")
    expect.close(result[0, :, :3], vad[0], "vad")
    expect.close(result[0, :, 3], idf[0], "idf")
    compressed = [[dot(row, token) for row in weight.tolist()] for token in context[0].tolist()]
    expect.close(result[0, :, 4:], compressed, "compressed")
    expect(float(result[1, 2:].abs().max()) == 0, "pad")
    second = torch.cat([vad, idf.unsqueeze(-1)], dim=-1)[1, :2]
    expect.close(result[1, :2, :4], second, "second")
