"""Checks of lesson 02: intensity, IDF, trait embedding. Paper: Sec. 3.4.1."""

import math

import numpy as np
import torch

from ctsm_workbench.course.checks.frame import Answer, Expect, array, check, normal


@check("2.1")
def intensity(mine: Answer, expect: Expect) -> None:
    """`mine(vad [n, 3], rated [n]) -> [n]`, intensity of each word; 0 if it is not rated."""
    centre = [0.5, 0.0, 0.5]
    vad = [centre, [0.9, 0.0, 0.2], [0.5, 0.8, 0.9], [0.1, 0.6, 0.3], centre]
    result = expect.shape(mine(np.array(vad), np.array([True] * 4 + [False])), (5,))
    expect(abs(float(result[4])) < 1e-12, "unrated")
    for word, hint in enumerate(("centre", "valence", "arousal", "distance")):
        raw = math.hypot(vad[word][0] - 0.5, vad[word][1] / 2)
        expect.close(result[word], (raw - 0.06467) / 0.607468, hint)


@check("2.2")
def inverse_document_frequency(mine: Answer, expect: Expect) -> None:
    """`mine(documents, size) -> [size]`: IDF of each id, scaled to [0, 1]; documents are ids."""
    documents = [[0, 1, 1, 1], [0, 2], [0, 1, 3], [0, 2, 2]]
    result = expect.shape(mine(documents, 5), (5,))
    raw = [math.log(5 / (1 + df)) + 1 for df in (4, 2, 2, 1)]
    low = raw[0]  # word 0 is in every document
    high = raw[3]  # word 3 is in one document, word 4 in none
    expected = [*((value - low) / (high - low) for value in raw), 1.0]
    expect.close(result[0], 0.0, "everywhere")
    expect.close(result[4], 1.0, "nowhere")
    expect.close(result[3], 1.0, "rarest")
    expect.close(result[1], expected[1], "once")
    expect.close(result, expected, "formula")


@check("2.3")
def trait_embedding(mine: Answer, expect: Expect) -> None:
    """`mine(vad, idf, context, weight, mask) -> V_t [B, L, 14]`.

    Shapes: vad [B, L, 3], idf [B, L], context [B, L, D], weight [10, D], mask [B, L].
    """
    vad, idf, context, weight = normal((2, 4, 3), (2, 4), (2, 4, 6), (10, 6))
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = expect.shape(mine(vad, idf, context, weight, mask), (2, 4, 14))
    expect.close(result[0, :, :3], vad[0], "vad")
    expect.close(result[0, :, 3], idf[0], "idf")
    compressed = np.einsum("ld,wd->lw", array(context[0]), array(weight))
    expect.close(result[0, :, 4:], compressed, "compressed")
    expect(float(result[1, 2:].abs().max()) == 0, "pad")
    expect.close(result[1, :2, :3], vad[1, :2], "second")
    expect.close(result[1, :2, 3], idf[1, :2], "second")
