"""Lesson 08: a right answer for each check, and wrong ones with the hint they must get."""

import numpy as np
import torch


def nucleus(probabilities, top_p):
    kept, total = torch.zeros_like(probabilities), 0.0
    for word in sorted(range(len(probabilities)), key=lambda i: -float(probabilities[i])):
        kept[word] = probabilities[word]
        total += float(probabilities[word])
        if total >= top_p - 1e-6:
            break
    return kept / kept.sum()


def nucleus_without_the_crossing_word(probabilities, top_p):
    ordered, order = probabilities.sort(descending=True)
    kept = torch.zeros_like(probabilities)
    kept[order] = torch.where(ordered.cumsum(0) <= top_p, ordered, 0.0)
    return kept / kept.sum()


def nucleus_without_sum(probabilities, top_p):
    return nucleus(probabilities, top_p) * 0.7


def nucleus_in_sorted_order(probabilities, top_p):
    return nucleus(probabilities.sort(descending=True).values, top_p)


def nucleus_by_threshold(probabilities, top_p):
    kept = torch.where(probabilities > 0.1, probabilities, 0.0)
    return kept / kept.sum()


def nucleus_not_filtered(probabilities, top_p):
    return probabilities


def perplexities(nll, tokens):
    return np.exp(np.mean(nll / tokens)), np.exp(np.sum(nll) / np.sum(tokens))


def perplexities_swapped(nll, tokens):
    return perplexities(nll, tokens)[::-1]


def perplexities_mean_of_exp(nll, tokens):
    return np.mean(np.exp(nll / tokens)), perplexities(nll, tokens)[1]


def perplexities_not_divided(nll, tokens):
    return np.exp(nll.mean()), np.exp(nll.sum() / tokens.sum())


def perplexities_both_peer(nll, tokens):
    return (perplexities(nll, tokens)[0],) * 2


def dist(answers, n):
    seen, total = set(), 0
    for words in answers:
        for start in range(len(words) - n + 1):
            seen.add(tuple(words[start : start + n]))
            total += 1
    return 100 * len(seen) / total if total else 0


def dist_mean_of_answers(answers, n):
    return np.mean([dist([words], n) for words in answers])


def dist_across(answers, n):
    return dist([[word for words in answers for word in words]], n)


def dist_by_words(answers, n):
    ngrams = {tuple(words[i : i + n]) for words in answers for i in range(len(words) - n + 1)}
    return 100 * len(ngrams) / max(sum(map(len, answers)), 1)


def dist_without_order(answers, n):
    return dist(
        [[tuple(sorted(words[i : i + n])) for i in range(len(words) - n + 1)] for words in answers],
        1,
    )


def dist_share(answers, n):
    return dist(answers, n) / 100


CASES = {
    "nucleus": (
        nucleus,
        [
            (nucleus_without_the_crossing_word, "reaches p belongs"),
            (nucleus_without_sum, "Divide the kept"),
            (nucleus_in_sorted_order, "own word's place"),
            (nucleus_by_threshold, "smallest set"),
            (nucleus_not_filtered, "outside of the nucleus"),
        ],
    ),
    "two_perplexities": (
        perplexities,
        [
            (perplexities_swapped, "each answer's mean loss first"),
            (perplexities_mean_of_exp, "mean of exp"),
            (perplexities_not_divided, "summed loss of 6"),
            (perplexities_both_peer, "number of all tokens"),
        ],
    ),
    "dist": (
        dist,
        [
            (dist_mean_of_answers, "all answers together"),
            (dist_across, "none reaches across"),
            (dist_by_words, "two bigrams|two different bigrams"),
            (dist_without_order, "ab is not ba"),
            (dist_share, "100 per cent"),
        ],
    ),
}
