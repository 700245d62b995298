"""Lesson 11: a right answer for each check, and wrong ones with the hint they must get."""

import numpy as np


def parts(counts, shares=None):
    n = counts.sum(axis=1)[0]
    observed = ((counts * (counts - 1)).sum(axis=1) / (n * (n - 1))).mean()
    shares = counts.sum(axis=0) / counts.sum() if shares is None else shares
    return observed, (shares**2).sum()


def kappa(counts):
    observed, chance = parts(counts)
    return (observed - chance) / (1 - chance)


def kappa_without_chance(counts):
    return parts(counts)[0]


def kappa_not_scaled(counts):
    observed, chance = parts(counts)
    return observed - chance


def kappa_with_oneself(counts):
    chance, n = parts(counts)[1], counts.sum(axis=1)[0]
    return ((counts**2).sum(axis=1) / n**2 - chance).mean() / (1 - chance)


def kappa_even_chance(counts):
    observed, chance = parts(counts, np.full(counts.shape[1], 1 / counts.shape[1]))
    return (observed - chance) / (1 - chance)


def kappa_of_three_judges(counts):
    observed = (
        (counts * (counts - 1)).sum(axis=1) / (6 if counts.sum(axis=1)[0] > 2 else 2)
    ).mean()
    chance = parts(counts)[1]
    return (observed - chance) / (1 - chance)


def kappa_of_each_item(counts):
    n = counts.sum(axis=1)
    return ((counts**2).sum(axis=1) - n) / (n * (n - 1))


def verdict(codes, enough=lambda count, judges: count > judges / 2):
    found = []
    for row in codes.tolist():
        best = max(range(3), key=row.count)
        found.append(best if enough(row.count(best), len(row)) else 3)
    return np.array(found)


def verdict_of_the_most(codes):
    return verdict(codes, lambda count, judges: True)


def verdict_in_the_middle(codes):
    return np.median(codes, axis=1)


def verdict_of_half(codes):
    return verdict(codes, lambda count, judges: count >= judges / 2)


def verdict_of_two(codes):
    return verdict(codes, lambda count, judges: count > 1 and (judges != 4 or count > 2))


def verdict_of_all(codes):
    return verdict(codes, lambda count, judges: count == judges)


CASES = {
    "fleiss_kappa": (
        kappa,
        [
            (kappa_without_chance, "the observed agreement"),
            (kappa_not_scaled, "Divide by 1 - P_e"),
            (kappa_with_oneself, "no pair with himself or herself"),
            (kappa_even_chance, "not 1 / K"),
            (kappa_of_three_judges, "neither number is fixed"),
            (kappa_of_each_item, "one number for the whole table"),
        ],
    ),
    "majority": (
        verdict,
        [
            (verdict_of_the_most, "nobody has a majority"),
            (verdict_in_the_middle, "not the middle"),
            (verdict_of_half, "more than half"),
            (verdict_of_two, "three are needed"),
            (verdict_of_all, "Two of three"),
        ],
    ),
}
