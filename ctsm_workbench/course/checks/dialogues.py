"""Checks of lesson 01: pairs of a dialogue, padded batches and their masks, length buckets. Paper: Sec. 3.2 and 4.2."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ctsm_lib.corpus import CLS, PAD
from ctsm_workbench.course.checks.frame import check, expect, expect_shape


@check("1.1")
def dialogue_pairs(mine: Callable) -> None:
    """`mine(turns) -> [(context, response), ...]`; turns are lists of words, a context is all earlier words in one list."""
    four = [["i", "lost"], ["oh", "no"], ["my", "keys"], ["again", "?"]]
    result = mine([list(turn) for turn in four])
    expect(result is not None, "Your function returns None: is a `return` missing?")
    found = [(list(context), list(response)) for context, response in result]
    responses = [response for _, response in found]
    expect(
        four[2] not in responses and four[0] not in responses,
        "Turn 3 is the speaker's, who feels; only the listener's turns (2, 4, ...) are responses to learn.",
    )
    expect(
        responses == [four[1], four[3]],
        "Every listener turn is a response, in the order of the dialogue.",
    )
    expect(
        found[0][0] == ["i", "lost"],
        "Before the first response there is one turn: its words are the context.",
    )
    expect(
        found[1][0] != ["my", "keys"],
        "The context is everything that was said before, not the last turn alone: turn 1 too.",
    )
    expect(
        found[1][0][-2:] != four[3],
        "The context ends before the response: a model must not read what it has to say.",
    )
    expect(
        found[1][0] == ["i", "lost", "oh", "no", "my", "keys"],
        "A context is one list of words: all earlier turns, the speaker's and the listener's, one behind the other.",
    )
    five = mine([*[list(turn) for turn in four], ["bye"]])
    expect(len(list(five)) == 2, "A last speaker turn that nobody answers gives no pair.")
    expect(len(list(mine([["hi"]]))) == 0, "A dialogue of one turn has no pair.")


@check("1.2")
def padded_batch(mine: Callable) -> None:
    """`mine(contexts, max_length) -> (ids [B, L], mask [B, L])`; contexts are lists of ids, CLS is put before each."""
    contexts = [[11, 12, 13], [21], [31, 32]]
    result = mine([list(context) for context in contexts], 256)
    expect(
        isinstance(result, tuple) and len(result) == 2, "Return two tensors: `return ids, mask`."
    )
    ids, mask = result
    width = "One place for CLS, and as many as the longest context has; no wider than that."
    expect_shape(ids, (3, 4), width)
    expect_shape(mask, (3, 4), "The mask has a place for each id.")
    expect(ids.dtype == torch.long, "Ids are whole numbers (torch.long): they index tables.")
    expect(
        mask.dtype == torch.bool,
        "The mask is boolean: then `~mask` and `masked_fill` do what they say.",
    )
    expect(ids[:, 0].tolist() == [CLS] * 3, f"Each row begins with CLS, id {CLS}.")
    expect(
        ids[0].tolist() == [CLS, 11, 12, 13],
        "The longest row is CLS and its tokens, without padding.",
    )
    expect(
        int(ids[1, -1]) != 21,
        "Padding goes to the right, behind the tokens: the position of a word must not move.",
    )
    expect(
        0 not in ids.tolist()[1],
        f"The empty places hold PAD, id {PAD}; 0 is the id of an unknown word.",
    )
    expect(
        ids.tolist()[1:] == [[CLS, 21, PAD, PAD], [CLS, 31, 32, PAD]],
        "A short row is CLS, its tokens, and PAD to the end.",
    )
    expect(not bool(mask[1, -1]), "True is where a token stands, False at the padding.")
    expect(
        bool(mask[:, 0].all()), "CLS is a token, too: the model reads a dialogue's summary there."
    )
    lengths = mask.sum(dim=1).tolist()
    expect(
        lengths == [4, 2, 3],
        f"Each row has as many True as tokens with CLS: [4, 2, 3], not {lengths}.",
    )
    long, _ = mine([[11, 12, 13, 14, 15], [21]], 4)
    expect_shape(long, (2, 4), "max_length counts CLS, too: it takes one of the places.")
    expect(
        14 in long[0].tolist() and 15 in long[0].tolist(),
        "A context that is too long loses its beginning: what was said last is what gets an answer.",
    )
    expect(
        long[0].tolist() == [CLS, 13, 14, 15],
        "Cut the tokens first, then put CLS before what is left.",
    )


@check("1.3")
def length_buckets(mine: Callable) -> None:
    """`mine(lengths [n], batch_size, pool, random) -> list of index arrays`, one epoch of batches; `random` a Generator."""
    n, size = 62, 4
    lengths = (
        np.random.default_rng(5).permutation(n) + 1
    )  # all different: who is whose neighbour is plain to see

    def batches(pool: int, seed: int) -> list[list[int]]:
        result = mine(lengths.copy(), size, pool, np.random.default_rng(seed))
        expect(result is not None, "Your function returns None: is a `return` missing?")
        return [[int(i) for i in batch] for batch in result]

    def padding(found: list[list[int]]) -> int:
        return sum(max(lengths[i] for i in batch) - lengths[j] for batch in found for j in batch)

    one = batches(100, 0)
    everyone = sorted(i for batch in one for i in batch)
    expect(
        everyone == list(range(n)),
        f"Each of the {n} pairs is used once an epoch, also those of a last, smaller batch; you have {len(everyone)}.",
    )
    expect(
        max(map(len, one)) <= size and len(one) == -(-n // size),
        f"Batches have {size} pairs, the last one the rest.",
    )
    least = padding(
        [[int(i) for i in np.argsort(lengths)[k : k + size]] for k in range(0, n, size)]
    )
    expect(
        padding(one) == least,
        "Within a pool, sort by length before you cut it into batches: neighbours are alike.",
    )
    longest = [max(lengths[i] for i in batch) for batch in one]
    expect(
        longest not in (sorted(longest), sorted(longest, reverse=True)),
        "Mix the order of the batches at the end: else each epoch goes from short to long, and the model with it.",
    )
    small = batches(4, 0)
    expect(
        padding(small) < 40 * len(small),
        "A pool holds `pool` batches, that is pool * batch_size pairs; yours is smaller.",
    )
    expect(
        padding(small) > least,
        "Sort within pools only: who sorts everything has the same neighbours in every epoch.",
    )
    expect(
        batches(4, 0) == small,
        "Draw from `random` only: then a run can be repeated and resumed exactly.",
    )
    others = {frozenset(batch) for batch in batches(4, 1)}
    expect(
        {frozenset(batch) for batch in small} != others,
        "Shuffle all pairs before you divide them into pools: else the same pairs meet in every epoch.",
    )
