"""Lesson 03: a right answer for each check, and wrong ones with the hint they must get."""

import torch


def signal(length, dim, exponent=lambda column: column - column % 2):
    columns = torch.arange(dim)
    angle = torch.arange(length).unsqueeze(1) * 10_000.0 ** (-exponent(columns) / dim)
    return torch.where(columns % 2 == 0, angle.sin(), angle.cos())


def signal_in_halves(length, dim):
    angle = torch.arange(length).unsqueeze(1) * 10_000.0 ** (-torch.arange(0, dim, 2) / dim)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def signal_with_a_rate_for_each_column(length, dim):
    return signal(length, dim, lambda column: column)


def signal_with_half_the_exponent(length, dim):
    return signal(length, dim, lambda column: column // 2)


def signal_from_one(length, dim):
    return signal(length + 1, dim)[1:]


def softmax(scores, mask):
    empty = ~mask.any(dim=-1, keepdim=True)
    weights = scores.masked_fill(~(mask | empty), float("-inf")).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0)


def softmax_without_mask(scores, mask):
    return scores.softmax(dim=-1)


def softmax_over_the_wrong_axis(scores, mask):
    return scores.masked_fill(~mask, float("-inf")).softmax(dim=0)


def softmax_masked_afterwards(scores, mask):
    return scores.softmax(dim=-1) * mask


def softmax_with_nan(scores, mask):
    return scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)


def softmax_with_large_number(scores, mask):
    return scores.masked_fill(~mask, -1e9).softmax(dim=-1)


def softmax_wiped(scores, mask):
    added = torch.zeros_like(scores).masked_fill(~mask, float("-inf"))
    return (scores + added).softmax(dim=-1).nan_to_num()


def softmax_by_hand(scores, mask):
    powers = scores.exp() * mask
    return powers / powers.sum(dim=-1, keepdim=True).clamp(min=1e-30)


def fusion(
    context,
    knowledge,
    join,
    first,
    second,
    gate=lambda z: z.sigmoid() * z,
    act=torch.relu,
    swap=False,
):
    parts = []
    for r in range(5):
        pair = [context, knowledge[:, r : r + 1].expand_as(context)]
        parts.append(torch.cat(pair[::-1] if swap else pair, dim=-1) @ join.T)
    return act(gate(torch.cat(parts, dim=-1)) @ first.T) @ second.T


def fusion_with_knowledge_first(*arguments):
    return fusion(*arguments, swap=True)


def fusion_without_gate(*arguments):
    return fusion(*arguments, gate=lambda z: z)


def fusion_of_gates_only(*arguments):
    return fusion(*arguments, gate=torch.sigmoid)


def fusion_without_relu(*arguments):
    return fusion(*arguments, act=lambda x: x)


def fusion_of_reversed_relations(context, knowledge, join, first, second):
    return fusion(context, knowledge.flip(1), join, first, second)


def fusion_with_the_first_dialogues_knowledge(context, knowledge, join, first, second):
    return fusion(context, knowledge[:1].expand_as(knowledge), join, first, second)


CASES = {
    "position_signal": (
        signal,
        [
            (signal_in_halves, "in turn"),
            (signal_with_a_rate_for_each_column, "share one angle"),
            (signal_with_half_the_exponent, "turn more slowly"),
            (signal_from_one, "Place 0 comes first"),
        ],
    ),
    "masked_softmax": (
        softmax,
        [
            (softmax_without_mask, "exactly 0"),
            (softmax_over_the_wrong_axis, "over the last axis"),
            (softmax_masked_afterwards, "before the softmax"),
            (softmax_with_nan, "all scores in the row are -inf"),
            (softmax_with_large_number, "spreads weight over PAD"),
            (softmax_wiped, "gradient is NaN"),
            (softmax_by_hand, "overflow"),
        ],
    ),
    "gated_fusion": (
        fusion,
        [
            (fusion_with_knowledge_first, "the context comes first"),
            (fusion_without_gate, "There is no gate"),
            (fusion_of_gates_only, r"\*times\* Z"),
            (fusion_without_relu, "relu stands between"),
            (fusion_of_reversed_relations, "belongs to relation"),
            (fusion_with_the_first_dialogues_knowledge, "a K of its own"),
        ],
    ),
}
