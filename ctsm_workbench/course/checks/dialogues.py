"""Checks of lesson 01: dialogue pairs, padded batches, length buckets. Paper: Sec. 3.2 and 4.2."""

import numpy as np
import torch

from ctsm_lib.corpus import CLS, PAD
from ctsm_workbench.course.checks.frame import Answer, Expect, check


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
