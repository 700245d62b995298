"""Checks of lessons 01 to 03: pairs, trait, context. Paper: Sec. 3.2 to 3.4.1 and 4.2."""

import math

import numpy as np
import torch

from ctsm_lib.corpus import CLS, PAD
from ctsm_workbench.course.checks.frame import Answer, Expect, array, check, normal, softmax


@check("1.1")
def dialogue_pairs(mine: Answer, expect: Expect) -> None:
    """`mine(turns) -> [(context, response), ...]`, all lists of words; a context is one list."""
    four = [["i", "lost"], ["oh", "no"], ["my", "keys"], ["again", "?"]]
    result = mine([list(turn) for turn in four])
    found = [(list(context), list(response)) for context, response in result]
    responses = [response for _, response in found]
    expect(four[2] not in responses and four[0] not in responses, "speaker")
    expect(responses == [four[1], four[3]], "order")
    expect(found[0][0] == ["i", "lost"], "first")
    context = found[1][0]
    expect(context != ["my", "keys"], "last_turn")
    expect(context[-2:] != four[3], "ends_before")
    expect(context == ["i", "lost", "oh", "no", "my", "keys"], "one_list")
    five = mine([*[list(turn) for turn in four], ["bye"]])
    expect(len(list(five)) == 2, "unanswered")
    expect(len(list(mine([["hi"]]))) == 0, "one_turn")


@check("1.2")
def padded_batch(mine: Answer, expect: Expect) -> None:
    """`mine(contexts, max_length) -> (ids, mask)`, both [B, L]; contexts are ids without CLS."""
    result = mine([[11, 12, 13], [21], [31, 32]], 256)
    expect(isinstance(result, tuple) and len(result) == 2, "two")
    ids, mask = result
    expect.shape(ids, (3, 4), "width")
    expect.shape(mask, (3, 4), "mask_shape")
    expect(ids.dtype == torch.long, "dtype")
    expect(mask.dtype == torch.bool, "boolean")
    expect(ids[:, 0].tolist() == [CLS] * 3, "cls", cls=CLS)
    expect(ids[0].tolist() == [CLS, 11, 12, 13], "longest")
    expect(int(ids[1, -1]) != 21, "right")
    expect(0 not in ids.tolist()[1], "pad", pad=PAD)
    expect(ids.tolist()[1:] == [[CLS, 21, PAD, PAD], [CLS, 31, 32, PAD]], "short")
    expect(not bool(mask[1, -1]), "padding_false")
    expect(mask[:, 0].all(), "cls_true")
    lengths = mask.sum(dim=1).tolist()
    expect(lengths == [4, 2, 3], "lengths", lengths=lengths)
    long, _ = mine([[11, 12, 13, 14, 15], [21]], 4)
    expect.shape(long, (2, 4), "max_length")
    expect(14 in long[0].tolist() and 15 in long[0].tolist(), "keeps_end")
    expect(long[0].tolist() == [CLS, 13, 14, 15], "cut_first")


@check("1.3")
def length_buckets(mine: Answer, expect: Expect) -> None:
    """`mine(lengths [n], batch_size, pool, random) -> [indices, ...]`, the batches of an epoch."""
    n = 62
    size = 4
    # All lengths differ, so that it is plain which pairs are neighbours.
    lengths = np.random.default_rng(5).permutation(n) + 1

    def batches(pool: int, seed: int) -> list[list[int]]:
        result = mine(lengths.copy(), size, pool, np.random.default_rng(seed))
        return [[int(i) for i in batch] for batch in result]

    def padding(found: list[list[int]]) -> int:
        return sum(max(lengths[i] for i in batch) - lengths[j] for batch in found for j in batch)

    one = batches(100, 0)
    used = sorted(i for batch in one for i in batch)
    expect(used == list(range(n)), "all_used", n=n, used=len(used))
    expect(max(map(len, one)) <= size and len(one) == -(-n // size), "size", size=size)
    ordered = [int(i) for i in np.argsort(lengths)]
    least = padding([ordered[k : k + size] for k in range(0, n, size)])
    expect(padding(one) == least, "sort")
    longest = [max(lengths[i] for i in batch) for batch in one]
    expect(longest not in (sorted(longest), sorted(longest, reverse=True)), "mix")
    small = batches(4, 0)
    expect(padding(small) < 40 * len(small), "pool")
    expect(padding(small) > least, "within_pools")
    expect(batches(4, 0) == small, "random")
    others = {frozenset(batch) for batch in batches(4, 1)}
    expect({frozenset(batch) for batch in small} != others, "shuffle")


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


@check("3.1")
def position_signal(mine: Answer, expect: Expect) -> None:
    """`mine(length, dim) -> [length, dim]`, the sinusoidal signal of the places 0 to length - 1."""
    places = np.arange(7.0)
    columns = np.arange(6)
    result = expect.shape(mine(7, 6), (7, 6))
    expect.close(result[0, 0], 0.0, "zero")
    expect.close(result[0], [0.0, 1.0] * 3, "turns")
    expect.close(result[:, 0], np.sin(places), "angle")
    for column in (1, 3, 5):
        squares = result[:, column - 1] ** 2 + result[:, column] ** 2
        expect.close(squares, np.ones(7), "shared")
    angles = np.outer(places, 10_000.0 ** (-2 * (columns // 2) / 6))
    expect.close(result, np.where(columns % 2, np.cos(angles), np.sin(angles)), "rate")


@check("3.2")
@torch.enable_grad()  # lessons may have switched it off
def masked_softmax(mine: Answer, expect: Expect) -> None:
    """`mine(scores [..., M], mask [..., M]) -> [..., M]`; a row without a True gives zeros."""
    scores = torch.tensor([[1.0, 2.0, -1.0, 0.5], [0.3, 0.3, 9.0, 0.1], [2.0, 1.0, 0.0, 5.0]])
    mask = torch.ones(3, 4, dtype=torch.bool)
    result = expect.shape(mine(scores, mask), (3, 4))
    expect.close(result.sum(dim=-1), [1.0] * 3, "last_axis")
    expect.close(result, softmax(scores), "unmasked")
    mask[0, 3] = mask[1, 2] = False
    mask[2, 1:] = False
    result = mine(scores, mask)
    expect(float(result[~mask].abs().max()) == 0, "masked")
    expect.close(result.sum(dim=-1), [1.0] * 3, "renormalise")
    expect.close(result, softmax(scores, mask), "formula")
    mask[1] = False
    expected = softmax(scores, mask)
    result = mine(scores, mask)
    expect(torch.isfinite(result).all(), "empty_nan")
    expect(float(result[1].abs().max()) == 0, "empty_zero")
    expect.close(result[0], expected[0], "empty_alone")
    twice = mine(scores.expand(2, 3, 4), mask.expand(2, 3, 4))
    expect.close(twice[1], expected, "axes")
    leaf = scores.clone().requires_grad_()
    result = mine(leaf, mask)
    expect(result.requires_grad, "gradient")
    (result * torch.tensor([1.0, -2.0, 3.0, 0.5])).sum().backward()
    expect(leaf.grad is not None and torch.isfinite(leaf.grad).all(), "gradient_nan")
    huge = mine(torch.tensor([[1000.0, 999.0]]), torch.tensor([[True, True]]))
    expect.close(huge, softmax([[1.0, 0.0]]), "large")


@check("3.3")
def gated_fusion(mine: Answer, expect: Expect) -> None:
    """`mine(context, knowledge, join, first, second) -> [B, L, D]`.

    Shapes: context [B, L, D], knowledge [B, 5, D], join [D, 2D], first [3D, 5D], second [D, 3D].
    """
    D = 2
    shapes = ((2, 3, D), (2, 5, D), (D, 2 * D), (3 * D, 5 * D), (D, 3 * D))
    context, knowledge, *weights = normal(*shapes)
    context = context.abs() + 0.5
    of_context = torch.eye(D, 2 * D)
    of_knowledge = of_context.roll(D, dims=1)
    # The first block of Z, and nothing else, goes straight to the result.
    first = torch.zeros(3 * D, 5 * D)
    first[:D, :D] = torch.eye(D)
    second = torch.eye(D, 3 * D)
    result = expect.shape(mine(context, knowledge, of_context, first, second), (2, 3, D))
    changed = mine(context, knowledge + 1, of_context, first, second)
    expect.close(changed, result, "join_order")
    gate = context.sigmoid()
    expect.differs(result, context, "no_gate", tolerance=1e-4)
    expect.differs(result, gate, "only_gate", tolerance=1e-4)
    expect.close(result, gate * context, "formula")
    for r in range(5):
        block = first.roll(r * D, dims=1)
        result = mine(context, knowledge.abs(), of_knowledge, block, second)
        known = knowledge[:, r].abs()
        expect.close(result[:, 0], result[:, 2], "each_token")
        expect.close(result[:, 1], known * known.sigmoid(), "block", r=r)
    result = mine(context, knowledge, of_context, -first, second)
    expect.close(result, torch.zeros(2, 3, D), "relu")
    # Each half of W_join meets its own input, and the products are added.
    join, inner, outer = weights
    joined = (context @ join[:, :D].T)[:, :, None] + (knowledge @ join[:, D:].T)[:, None]
    z = joined.flatten(start_dim=2)
    fused = (z * z.sigmoid() @ inner.T).relu() @ outer.T
    expect.close(mine(context, knowledge, *weights), fused, "random")
