"""Checks of lesson 10: state polarity, leave-one-out, chance. Paper: Sec. 5.4."""

import numpy as np

from ctsm_workbench.course.checks.frame import Answer, Expect, check, cosines


@check("10.1")
def state_polarity(mine: Answer, expect: Expect) -> None:
    """`mine(vectors [n, d], trait [n]) -> [n]`.

    1 where a word is closer (by cosine) to the centroid of the positive words.
    """
    rows = [[4, 1], [1, 0.2], [-0.4, 1], [0.3, 2], [-1, 3], [-2, -1], [8, 7]]
    vectors = np.array(rows, dtype=float)
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
    """`mine(vectors [n, d], member [n] bool) -> [n]`.

    Cosine with the group's centroid, from which a member's own vector is left out.
    """
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
    """`mine(vectors, trait, side_of, draws, seed) -> [draws]`.

    Per cent of words whose polarity differs from their label, when the labels are shuffled.
    """
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
