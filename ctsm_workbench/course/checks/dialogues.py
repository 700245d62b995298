"""Checks of lesson 01: pairs of a dialogue, padded batches and masks, length buckets.

Paper: Sec. 3.2 and 4.2.
"""

from collections.abc import Callable

import numpy as np
import torch

from ctsm_lib.corpus import CLS, PAD
from ctsm_workbench.course.checks.frame import check, expect, expect_shape


@check("1.1")
def dialogue_pairs(mine: Callable) -> None:
    """`mine(turns) -> [(context, response), ...]`.

    Turns are lists of words. A context is one list of all earlier words.
    """
    four = [["i", "lost"], ["oh", "no"], ["my", "keys"], ["again", "?"]]
    result = mine([list(turn) for turn in four])
    found = [(list(context), list(response)) for context, response in result]
    responses = [response for _, response in found]
    hint = "Turns 1 and 3 are the speaker's: only the listener's turns (2, 4, ...) are responses."
    expect(four[2] not in responses and four[0] not in responses, hint)
    hint = "Every listener turn is a response, in the order of the dialogue."
    expect(responses == [four[1], four[3]], hint)
    hint = "Before the first response there is one turn: its words are the context."
    expect(found[0][0] == ["i", "lost"], hint)
    context = found[1][0]
    hint = "The context is everything that was said before, from turn 1 on, not only the last turn."
    expect(context != ["my", "keys"], hint)
    hint = "The context ends before the response: a model must not read what it has to say."
    expect(context[-2:] != four[3], hint)
    hint = "A context is one list of words: all earlier turns, the speaker's and the listener's."
    expect(context == ["i", "lost", "oh", "no", "my", "keys"], hint)
    five = mine([*[list(turn) for turn in four], ["bye"]])
    expect(len(list(five)) == 2, "A last speaker turn that nobody answers gives no pair.")
    expect(len(list(mine([["hi"]]))) == 0, "A dialogue of one turn has no pair.")


@check("1.2")
def padded_batch(mine: Callable) -> None:
    """`mine(contexts, max_length) -> (ids [B, L], mask [B, L])`.

    Contexts are lists of ids. CLS is put before each.
    """
    result = mine([[11, 12, 13], [21], [31, 32]], 256)
    hint = "Return two tensors: `return ids, mask`."
    expect(isinstance(result, tuple) and len(result) == 2, hint)
    ids, mask = result
    hint = "Each row has one place for CLS and as many as the longest context needs, no more."
    expect_shape(ids, (3, 4), hint)
    expect_shape(mask, (3, 4), "The mask has a place for each id.")
    hint = "Ids are whole numbers (torch.long), because they are indices of tables."
    expect(ids.dtype == torch.long, hint)
    hint = "The mask is boolean: otherwise `~mask` and `masked_fill` do something else."
    expect(mask.dtype == torch.bool, hint)
    expect(ids[:, 0].tolist() == [CLS] * 3, f"Each row begins with CLS, id {CLS}.")
    hint = "The longest row is CLS and its tokens, without padding."
    expect(ids[0].tolist() == [CLS, 11, 12, 13], hint)
    hint = "Padding goes to the right of the tokens: it must not move a word to another position."
    expect(int(ids[1, -1]) != 21, hint)
    hint = f"The empty places hold PAD, id {PAD}; 0 is the id of an unknown word."
    expect(0 not in ids.tolist()[1], hint)
    hint = "A short row is CLS, its tokens, and then PAD to the end."
    expect(ids.tolist()[1:] == [[CLS, 21, PAD, PAD], [CLS, 31, 32, PAD]], hint)
    expect(not bool(mask[1, -1]), "True is where a token stands, False at the padding.")
    hint = "CLS is a token, too: the model reads the summary of the dialogue there."
    expect(mask[:, 0].all(), hint)
    lengths = mask.sum(dim=1).tolist()
    hint = f"Each row has as many True as tokens with CLS: [4, 2, 3], not {lengths}."
    expect(lengths == [4, 2, 3], hint)
    long, _ = mine([[11, 12, 13, 14, 15], [21]], 4)
    expect_shape(long, (2, 4), "max_length counts CLS, too: it takes one of the places.")
    hint = "A context that is too long loses its beginning: the answer must fit the last words."
    expect(14 in long[0].tolist() and 15 in long[0].tolist(), hint)
    hint = "Cut the tokens first, then put CLS before the tokens that are left."
    expect(long[0].tolist() == [CLS, 13, 14, 15], hint)


@check("1.3")
def length_buckets(mine: Callable) -> None:
    """`mine(lengths [n], batch_size, pool, random) -> list of index arrays`.

    The arrays are one epoch of batches; `random` is a Generator.
    """
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
    hint = f"Each of the {n} pairs is used once an epoch, also those of a last, smaller batch."
    expect(used == list(range(n)), f"{hint} You have {len(used)}.")
    hint = f"Batches have {size} pairs. Only the last one may have fewer."
    expect(max(map(len, one)) <= size and len(one) == -(-n // size), hint)
    ordered = [int(i) for i in np.argsort(lengths)]
    least = padding([ordered[k : k + size] for k in range(0, n, size)])
    hint = "Within a pool, sort by length before you cut it into batches: neighbours are alike."
    expect(padding(one) == least, hint)
    longest = [max(lengths[i] for i in batch) for batch in one]
    hint = "Mix the order of the batches at the end."
    hint += " Otherwise the model sees short texts first and long ones last in every epoch."
    expect(longest not in (sorted(longest), sorted(longest, reverse=True)), hint)
    small = batches(4, 0)
    hint = "A pool holds `pool` batches, that is pool * batch_size pairs. Yours is smaller."
    expect(padding(small) < 40 * len(small), hint)
    hint = "Sort within pools only. If you sort all pairs, neighbours are the same in every epoch."
    expect(padding(small) > least, hint)
    hint = "Draw from `random` only. Otherwise a run cannot be repeated or resumed exactly."
    expect(batches(4, 0) == small, hint)
    others = {frozenset(batch) for batch in batches(4, 1)}
    hint = "Shuffle all pairs before you divide them into pools."
    hint += " Otherwise the same pairs meet in every epoch."
    expect({frozenset(batch) for batch in small} != others, hint)
