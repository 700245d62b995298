"""Lesson 04: a right answer for each check, and wrong ones with the hint they must get."""

import torch
import torch.nn.functional as F


def inclination(tokens, emotions, mask):
    return F.normalize(tokens, dim=-1) @ F.normalize(emotions, dim=-1).T * mask.unsqueeze(-1)


def inclination_as_product(tokens, emotions, mask):
    return tokens @ emotions.T * mask.unsqueeze(-1)


def inclination_of_long_emotions(tokens, emotions, mask):
    return F.normalize(tokens, dim=-1) @ emotions.T * mask.unsqueeze(-1)


def inclination_over_the_wrong_axis(tokens, emotions, mask):
    return F.normalize(tokens, dim=1) @ F.normalize(emotions, dim=-1).T * mask.unsqueeze(-1)


def inclination_at_pad(tokens, emotions, mask):
    return inclination(tokens, emotions, torch.ones_like(mask))


def inclination_with_nan(tokens, emotions, mask):
    lengths = tokens.norm(dim=-1, keepdim=True) * emotions.norm(dim=-1)
    return tokens @ emotions.T / lengths * mask.unsqueeze(-1)


def embedding(embedded, labels, w1, b1, w2, b2, idf, meaning, mask):
    cosine = inclination(embedded @ w2.T + b2, labels @ w1.T + b1, mask)
    return torch.cat([cosine, idf.unsqueeze(-1), meaning], dim=-1) * mask.unsqueeze(-1)


def embedding_with_swapped_maps(embedded, labels, w1, b1, w2, b2, idf, meaning, mask):
    return embedding(embedded, labels, w2, b2, w1, b1, idf, meaning, mask)


def embedding_with_transposed_maps(embedded, labels, w1, b1, w2, b2, idf, meaning, mask):
    return embedding(embedded, labels, w1.T, b1, w2.T, b2, idf, meaning, mask)


def embedding_without_token_bias(embedded, labels, w1, b1, w2, b2, idf, meaning, mask):
    return embedding(embedded, labels, w1, b1, w2, torch.zeros_like(b2), idf, meaning, mask)


def embedding_without_label_bias(embedded, labels, w1, b1, w2, b2, idf, meaning, mask):
    return embedding(embedded, labels, w1, torch.zeros_like(b1), w2, b2, idf, meaning, mask)


def embedding_with_idf_first(embedded, labels, w1, b1, w2, b2, idf, meaning, mask):
    right = embedding(embedded, labels, w1, b1, w2, b2, idf, meaning, mask)
    return torch.cat([right[..., 32:33], right[..., :32], right[..., 33:]], dim=-1)


def embedding_at_pad(embedded, labels, w1, b1, w2, b2, idf, meaning, mask):
    cosine = inclination(embedded @ w2.T + b2, labels @ w1.T + b1, mask)
    return torch.cat([cosine, idf.unsqueeze(-1), meaning], dim=-1)


def variation(states, words, size, normalise=True, itself=False):
    unit = F.normalize(states, dim=-1) if normalise else states
    sums = torch.zeros(size, states.shape[1]).index_add(0, words, unit)
    count = torch.bincount(words, minlength=size)
    if itself:
        return (1 - sums.square().sum(dim=-1) / count.clamp(min=1).square()) * (count > 1)
    pairs = count * (count - 1)
    return (1 - (sums.square().sum(dim=-1) - count) / pairs.clamp(min=1)) * (count > 1)


def variation_with_itself(states, words, size):
    return variation(states, words, size, itself=True)


def variation_of_long_states(states, words, size):
    return variation(states, words, size, normalise=False)


def variation_with_nan(states, words, size):
    sums = torch.zeros(size, states.shape[1]).index_add(0, words, F.normalize(states, dim=-1))
    count = torch.bincount(words, minlength=size)
    return 1 - (sums.square().sum(dim=-1) - count) / (count * (count - 1))


def variation_one_for_rare_words(states, words, size):
    count = torch.bincount(words, minlength=size)
    return torch.where(count > 1, variation(states, words, size), 1.0)


def variation_between_neighbours(states, words, size):
    result = torch.zeros(size)
    for word in range(size):
        unit = F.normalize(states[words == word], dim=-1)
        if len(unit) > 1:
            result[word] = (1 - (unit[1:] * unit[:-1]).sum(dim=-1)).mean()
    return result


CASES = {
    "state_inclination": (
        inclination,
        [
            (inclination_as_product, "length of the token"),
            (inclination_of_long_emotions, "divide by their length, too"),
            (inclination_over_the_wrong_axis, "over the last axis"),
            (inclination_at_pad, "PAD rows are zero"),
            (inclination_with_nan, "no direction"),
        ],
    ),
    "state_embedding": (
        embedding,
        [
            (embedding_with_swapped_maps, "W_1 maps the labels"),
            (embedding_with_transposed_maps, "W_1 maps the labels"),
            (embedding_without_token_bias, "b_2 is added to the tokens"),
            (embedding_without_label_bias, "b_1 is added to the labels"),
            (embedding_with_idf_first, "Column 32 is the IDF"),
            (embedding_at_pad, "in all 43 columns"),
        ],
    ),
    "variation": (
        variation,
        [
            (variation_with_itself, "with itself counted"),
            (variation_of_long_states, "length 1 first"),
            (variation_with_nan, "not NaN"),
            (variation_one_for_rare_words, "does not occur has 0"),
            (variation_between_neighbours, "their three pairs"),
        ],
    ),
}
