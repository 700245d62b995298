"""Checks of lessons 07, 08, 10, 11: training, scores, polarity, judging. Paper: Sec. 4 and 5.4."""

import itertools

import numpy as np
import torch

from ctsm_workbench.course.checks.frame import Answer, Expect, check, cosines


@check("7.1")
def noam(mine: Answer, expect: Expect) -> None:
    """`mine(iteration, dim, warmup, factor=1.0) -> rate`; iterations count from 1."""
    first = mine(1, 64, 100)
    expect(first > 0, "positive")
    expect.close(mine(10, 64, 100) / first, 10, "straight")
    expect.close(mine(100, 64, 100), 1 / (8 * 10), "warm")
    expect.close(mine(400, 64, 100), 1 / (8 * 20), "after")
    expect.close(mine(400, 256, 100), 1 / (16 * 20), "width")
    expect.close(mine(400, 64, 100, 3.0), 3 / (8 * 20), "factor")
    expect.close(mine(7, 300, 8_000), 7 / (300 * 8_000**3) ** 0.5, "formula")


@check("7.2")
def early_stopping(mine: Answer, expect: Expect) -> None:
    """`mine(perplexities, patience) -> (checks made, index of the best)`."""
    for perplexities, patience, expected, hint in (
        ([5, 4, 3], 2, (3, 2), "better"),
        ([5, 4, 6, 3], 1, (3, 1), "first_bad"),
        ([5, 6, 4, 5, 3, 4, 4, 1], 2, (7, 4), "back_to_0"),
        ([5, 3, 6, 5, 4, 2], 3, (5, 1), "not_best"),
        ([3, 3, 3, 1], 2, (3, 0), "equal"),
        ([1, 2, 3, 4], 0, (4, 0), "never"),
    ):
        made, best = (int(number) for number in mine(list(perplexities), patience))
        note = f"Yours for {perplexities} and patience {patience}: {made} checks, best {best};"
        note += f" expected: {expected[0]}, {expected[1]}."
        expect((made, best) == expected, hint, note=note)


@check("8.1")
def nucleus(mine: Answer, expect: Expect) -> None:
    """`mine(probabilities [V], top_p) -> [V]`: the distribution to draw from, word by word."""
    probabilities = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15])
    result = expect.shape(mine(probabilities.clone(), 0.6), (5,))
    expect(int(torch.as_tensor(result).argmax()) == 1, "place")
    expect.close(result[2], 0.0, "unlikely")
    expect(float(result[3]) > 0, "reaches")
    expect(float(result[4]) == 0, "smallest")
    expect.close(result.sum(), 1.0, "sum")
    expect.close(result, [0, 4 / 7, 0, 3 / 7, 0], "place")
    expect.close(mine(probabilities.clone(), 0.2), [0, 1, 0, 0, 0], "always")
    expect.close(mine(probabilities.clone(), 1.0), probabilities, "all")


@check("8.2")
def two_perplexities(mine: Answer, expect: Expect) -> None:
    """`mine(nll [n], tokens [n]) -> (ppl_peer, ppl_token)`; nll [n] are sums over tokens."""
    nll = np.array([2.0, 30.0, 12.0])
    tokens = np.array([2.0, 10.0, 6.0])
    result = mine(nll.copy(), tokens.copy())
    expect(len(result) == 2, "two")
    peer, token = result
    expect.close(mine(np.array([6.0]), np.array([3.0])), [np.e**2] * 2, "one_answer")
    expect.differs(peer, np.exp(nll / tokens).mean(), "exp_of_mean")
    expect.close(peer, np.exp((nll / tokens).mean()), "answers_first")
    expect.close(token, np.exp(44 / 18), "token")


@check("8.3")
def dist(mine: Answer, expect: Expect) -> None:
    """`mine(answers, n) -> per cent`; each answer is a list of words."""
    twice = [["a", "b"], ["a", "b"]]
    result = mine(twice, 1)
    expect.close(mine([["a", "b", "c"]], 1), 100.0, "different")
    expect.close(result, 50.0, "together")
    expect.close(mine(twice, 2), 50.0, "within")
    expect.close(mine([["a", "a", "a", "b"]], 2), 100 * 2 / 3, "n_grams")
    expect.close(mine([["a", "b"], ["b", "a"]], 2), 100.0, "order")
    expect.close(mine([["hi"], []], 2), 0.0, "empty")


@check("10.1")
def state_polarity(mine: Answer, expect: Expect) -> None:
    """`mine(vectors [n, d], trait [n]) -> [n]`; 1: closer to the centroid of the positive words."""
    vectors = np.array([[4, 1], [1, 0.2], [-0.4, 1], [0.3, 2], [-1, 3], [-2, -1], [8, 7]])
    trait = np.array([1, 1, 0, 0, 0, 0, 1])
    result = expect.shape(mine(vectors.copy(), trait), (7,))
    found = np.asarray(result).astype(int).tolist()
    expect(set(found) <= {0, 1}, "binary")
    expect(found[0] == 1 and found[4] == 0, "nearer")
    centroids = np.stack([vectors[trait == polarity].mean(axis=0) for polarity in (0, 1)])
    # The nearest centroid by distance, by inner product and by cosine are three different answers.
    distance = np.linalg.norm(vectors[:, None] - centroids, axis=-1)
    expect(found != distance.argmin(axis=1).tolist(), "angle")
    expect(found != (vectors @ centroids.T).argmax(axis=1).tolist(), "cosine")
    expect.close(found, cosines(vectors, centroids).argmax(axis=1), "formula")


@check("10.2")
def leave_one_out_cosine(mine: Answer, expect: Expect) -> None:
    """`mine(vectors [n, d], member [n] bool) -> [n]`, cosine with the centroid of the others."""
    vectors = np.random.default_rng(3).normal(size=(6, 4))
    member = np.array([True, True, True, False, False, True])
    result = np.asarray(expect.shape(mine(vectors, member), (6,)))
    others = member & ~np.eye(6, dtype=bool)  # the group of each word, in rows
    centroids = [vectors[group].mean(axis=0) for group in others]
    expected = cosines(vectors, centroids).diagonal()
    with_itself = cosines(vectors, [vectors[member].mean(axis=0)])[:, 0]
    expect.close(result[3:5], expected[3:5], "outside")
    expect.differs(result[member], with_itself[member], "themselves")
    expect.close(result, expected, "formula")


@check("10.3")
def shuffled_shares(mine: Answer, expect: Expect) -> None:
    """`mine(vectors, trait, side_of, draws, seed) -> [draws]`, per cent that differ by chance."""
    vectors = np.random.default_rng(0).normal(size=(40, 3))
    trait = np.array([1] * 10 + [0] * 30)
    sides = np.arange(40) % 4 == 0
    seen: list[np.ndarray] = []

    def side_of(vectors: np.ndarray, trait: np.ndarray) -> np.ndarray:
        seen.append(np.array(trait))
        return sides.astype(int)

    result = expect.shape(mine(vectors, trait, side_of, 20, 1), (20,))
    expect(len(seen) == 20, "each_draw", calls=len(seen))
    expect(all(int(labels.sum()) == 10 for labels in seen), "shuffle")
    expect(len({tuple(labels.tolist()) for labels in seen}) > 10, "once")
    shares = [100 * float(np.mean(labels.astype(bool) != sides)) for labels in seen]
    expect.close(result, shares, "compare")
    expect.close(mine(vectors, trait, side_of, 20, 1), result, "seed")


def _agreement(counts: np.ndarray) -> tuple[float, float]:
    """Share of pairs of judgements that agree: within items, and among all (with replacement)."""
    rows = [np.repeat(np.arange(counts.shape[1]), row) for row in counts]
    within = [one == other for row in rows for one, other in itertools.combinations(row, 2)]
    everything = np.concatenate(rows)
    return float(np.mean(within)), float(np.mean(everything[:, None] == everything))


@check("11.1")
def fleiss_kappa(mine: Answer, expect: Expect) -> None:
    """`mine(counts [N, K]) -> kappa`; a row has the number of judges for each category."""
    agreed = np.array([[3, 0, 0], [0, 3, 0], [3, 0, 0], [0, 0, 3]])
    result = expect.shape(mine(agreed), (), "scalar")
    expect.close(result, 1.0, "perfect")
    uneven = np.array([[3, 0, 0], [0, 3, 0], [2, 1, 0], [1, 1, 1]])
    observed, chance = _agreement(uneven)
    result = mine(uneven)
    expect.differs(result, observed, "chance_part")
    expect.close(mine(np.array([[1, 1], [1, 1], [1, 1]])), -1.0, "pairs")
    expect.close(result, (observed - chance) / (1 - chance), "shares")
    counts = np.random.default_rng(4).multinomial(5, [0.5, 0.3, 0.15, 0.05], size=12)
    observed, chance = _agreement(counts)
    expect.close(mine(counts), (observed - chance) / (1 - chance), "read")


@check("11.2")
def majority(mine: Answer, expect: Expect) -> None:
    """`mine(codes [N, J]) -> verdicts [N]`, 0 win, 1 tie, 2 lose, 3 none."""
    result = expect.shape(mine(np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 0, 0]])), (4,))
    expect.close(result, [0, 1, 2, 0], "unanimous")
    codes = np.array([[0, 2, 0], [2, 0, 2], [1, 2, 1], [0, 1, 1]])
    expect.close(mine(codes), [0, 2, 1, 1], "two_of_three")
    expect.close(mine(np.array([[0, 1, 2], [2, 0, 1]])), [3, 3], "none")
    codes = np.array([[0, 0, 2, 2], [1, 1, 0, 2], [2, 2, 2, 0]])
    expect.close(mine(codes), [3, 3, 2], "half")
    expect.close(mine(np.array([[0, 0, 1, 1, 2], [2, 2, 2, 0, 1]])), [3, 2], "two_of_five")
