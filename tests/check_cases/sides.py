"""Lesson 10: a right answer for each check, and wrong ones with the hint they must get."""

import numpy as np


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def side(vectors, trait):
    positive, negative = vectors[trait == 1].mean(axis=0), vectors[trait == 0].mean(axis=0)
    return (unit(vectors) @ unit(positive) > unit(vectors) @ unit(negative)).astype(int)


def side_by_distance(vectors, trait):
    positive, negative = vectors[trait == 1].mean(axis=0), vectors[trait == 0].mean(axis=0)
    return (
        np.linalg.norm(vectors - positive, axis=1) < np.linalg.norm(vectors - negative, axis=1)
    ).astype(int)


def side_by_dot(vectors, trait):
    return (
        vectors @ vectors[trait == 1].mean(axis=0) > vectors @ vectors[trait == 0].mean(axis=0)
    ).astype(int)


def side_reversed(vectors, trait):
    return 1 - side(vectors, trait)


def left_out(vectors, member):
    rest = vectors[member].sum(axis=0) - vectors * member[:, None]
    return (unit(vectors) * unit(rest)).sum(axis=1)


def left_in(vectors, member):
    return unit(vectors) @ unit(vectors[member].sum(axis=0))


def left_out_for_all(vectors, member):
    return (unit(vectors) * unit(vectors[member].sum(axis=0) - vectors)).sum(axis=1)


def dealt(vectors, trait, side_of, draws, seed):
    random, shares = np.random.default_rng(seed), []
    for _ in range(draws):
        labels = random.permutation(trait)
        shares.append(100 * (side_of(vectors, labels) != labels).mean())
    return np.array(shares)


def dealt_but_compared_with_the_old(vectors, trait, side_of, draws, seed):
    random = np.random.default_rng(seed)
    return np.array(
        [100 * (side_of(vectors, random.permutation(trait)) != trait).mean() for _ in range(draws)]
    )


def dealt_with_replacement(vectors, trait, side_of, draws, seed):
    random, shares = np.random.default_rng(seed), []
    for _ in range(draws):
        labels = random.choice(trait, len(trait))
        shares.append(100 * (side_of(vectors, labels) != labels).mean())
    return np.array(shares)


def dealt_once(vectors, trait, side_of, draws, seed):
    random, sides = np.random.default_rng(seed), side_of(vectors, trait)
    return np.array([100 * (sides != random.permutation(trait)).mean() for _ in range(draws)])


def dealt_alike(vectors, trait, side_of, draws, seed):
    shares = []
    for _ in range(draws):
        labels = np.random.default_rng(seed).permutation(trait)
        shares.append(100 * (side_of(vectors, labels) != labels).mean())
    return np.array(shares)


CASES = {
    "state_polarity": (
        side,
        [
            (side_by_distance, "by the angle, not by the distance"),
            (side_by_dot, "not equally long"),
            (side_reversed, "1 is positive"),
        ],
    ),
    "leave_one_out_cosine": (
        left_out,
        [(left_in, "still part of its own centroid"), (left_out_for_all, "subtract nothing")],
    ),
    "shuffled_shares": (
        dealt,
        [
            (dealt_but_compared_with_the_old, "shuffled labels of this draw"),
            (dealt_with_replacement, "number of positive words stays"),
            (dealt_once, "call side_of in each"),
            (dealt_alike, "another permutation"),
        ],
    ),
}
