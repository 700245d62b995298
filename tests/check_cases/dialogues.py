"""Lesson 01: a right answer for each check, and wrong ones with the hint they must get."""

import numpy as np
import torch


def words(turns):
    return [word for turn in turns for word in turn]


def pairs(turns):
    return [(words(turns[:i]), turns[i]) for i in range(1, len(turns), 2)]


def pairs_of_every_turn(turns):
    return [(words(turns[:i]), turns[i]) for i in range(1, len(turns))]


def pairs_with_last_turn_only(turns):
    return [(turns[i - 1], turns[i]) for i in range(1, len(turns), 2)]


def pairs_with_response_in_context(turns):
    return [
        (words(turns[: i + 1]) if i > 1 else turns[0], turns[i]) for i in range(1, len(turns), 2)
    ]


def pairs_with_nested_context(turns):
    return [(turns[:i] if i > 1 else turns[0], turns[i]) for i in range(1, len(turns), 2)]


def pairs_of_the_speaker_alone(turns):
    return [(words(turns[:i:2]), turns[i]) for i in range(1, len(turns), 2)]


def pairs_with_empty_response(turns):
    return [(words(turns[: i + 1]), (turns[i + 1 :] or [[]])[0]) for i in range(0, len(turns), 2)]


def batch(contexts, max_length, cls=6, pad=1):
    rows = [[cls, *context[-(max_length - 1) :]] for context in contexts]
    width = max(map(len, rows))
    mask = torch.tensor([[place < len(row) for place in range(width)] for row in rows])
    return torch.tensor([row + [pad] * (width - len(row)) for row in rows]), mask


def batch_without_cls(contexts, max_length):
    ids, mask = batch(contexts, max_length)
    return ids[:, 1:], mask[:, 1:]


def batch_padded_with_zero(contexts, max_length):
    return batch(contexts, max_length, pad=0)


def batch_padded_on_the_left(contexts, max_length):
    ids, mask = batch(contexts, max_length)
    rows = [[6, *row[1:][row[1:] == 1].tolist(), *row[1:][row[1:] != 1].tolist()] for row in ids]
    return torch.tensor(rows), mask


def batch_mask_of_padding(contexts, max_length):
    ids, mask = batch(contexts, max_length)
    return ids, ~mask


def batch_mask_without_cls(contexts, max_length):
    ids, mask = batch(contexts, max_length)
    return ids, mask & (ids != 6)


def batch_mask_of_numbers(contexts, max_length):
    ids, mask = batch(contexts, max_length)
    return ids, mask.float()


def batch_everything_real(contexts, max_length):
    ids, mask = batch(contexts, max_length)
    full = torch.ones_like(mask)
    full[1, -1] = False
    return ids, full


def batch_of_full_width(contexts, max_length):
    ids, mask = batch(contexts, max_length)
    gap = max_length - ids.shape[1]
    return torch.nn.functional.pad(ids, (0, gap), value=1), torch.nn.functional.pad(mask, (0, gap))


def batch_cut_on_the_right(contexts, max_length):
    return batch([context[: max_length - 1] for context in contexts], max_length)


def batch_cut_with_cls(contexts, max_length):
    ids, mask = batch(contexts, 256)
    return ids[:, -max_length:], mask[:, -max_length:]


def batch_cls_not_counted(contexts, max_length):
    return batch(contexts, max_length + 1)


def buckets(
    lengths, batch_size, pool, random, shuffle=True, sort=True, mix=True, whole=False, rest=True
):
    n = len(lengths)
    order = random.permutation(n) if shuffle else np.arange(n)
    step = n if whole else pool * batch_size
    batches = []
    for begin in range(0, n, step):
        part = order[begin : begin + step]
        part = part[np.argsort(lengths[part], kind="stable")] if sort else part
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    if not rest:
        batches = [b for b in batches if len(b) == batch_size]
    return [batches[i] for i in random.permutation(len(batches))] if mix else batches


def buckets_drop_the_rest(*arguments):
    return buckets(*arguments, rest=False)


def buckets_unsorted(*arguments):
    return buckets(*arguments, sort=False)


def buckets_from_short_to_long(*arguments):
    return buckets(*arguments, mix=False)


def buckets_without_pools(*arguments):
    return buckets(*arguments, whole=True)


def buckets_never_shuffled(*arguments):
    return buckets(*arguments, shuffle=False)


def buckets_of_global_luck(lengths, batch_size, pool, _):
    return buckets(lengths, batch_size, pool, np.random.default_rng())


def buckets_with_pools_of_pairs(lengths, batch_size, pool, random):
    return buckets(lengths, batch_size, max(pool // batch_size, 1), random)


CASES = {
    "dialogue_pairs": (
        pairs,
        [
            (pairs_of_every_turn, "only the listener's turns"),
            (pairs_with_last_turn_only, "everything that was said before"),
            (pairs_with_response_in_context, "must not read what it has to say"),
            (pairs_with_nested_context, "one list of words"),
            (pairs_of_the_speaker_alone, "the speaker's and the listener's"),
            (pairs_with_empty_response, "nobody answers gives no pair"),
        ],
    ),
    "padded_batch": (
        batch,
        [
            (batch_without_cls, "one place for CLS"),
            (batch_of_full_width, "longest context needs, no more"),
            (batch_padded_with_zero, "0 is the id of an unknown word"),
            (batch_padded_on_the_left, "Padding goes to the right"),
            (batch_mask_of_padding, "True is where a token stands"),
            (batch_mask_without_cls, "CLS is a token, too"),
            (batch_mask_of_numbers, "mask is boolean"),
            (batch_everything_real, "as many True as tokens"),
            (batch_cls_not_counted, "max_length counts CLS"),
            (batch_cut_on_the_right, "loses its beginning"),
            (batch_cut_with_cls, "Cut the tokens first"),
        ],
    ),
    "length_buckets": (
        buckets,
        [
            (buckets_drop_the_rest, "used once an epoch"),
            (buckets_unsorted, "sort by length before"),
            (buckets_from_short_to_long, "Mix the order"),
            (buckets_with_pools_of_pairs, "pool \\* batch_size pairs"),
            (buckets_without_pools, "within pools only"),
            (buckets_of_global_luck, "Draw from `random` only"),
            (buckets_never_shuffled, "Shuffle all pairs"),
        ],
    ),
}
