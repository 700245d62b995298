"""The variation of a word between contexts, compared with chance, and its sources.

Variance here: half the expected squared distance of two occurrences of a word, summed over the
features of a space. The estimate has no bias for rare words but scatters more; the null bands show
how much. Shapes: W words, F features.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ctsm_workbench.study.contexts.reading import MIN_COUNT, SPACES, Collected, Plan
from ctsm_workbench.study.intervals import Array, means, percentiles, rounded

BANDS = 2.0  # words of one band differ in frequency by less than this factor
DRAWS = 400  # simulated words for each band
MOST = 2_000  # occurrences drawn for a simulated word


def variance(collected: Collected) -> Array:
    """[W, 2] unbiased variance in V_cos and H_s; nan for a word that occurs once or never."""
    n = collected.count[:, None]
    squares = [(collected.sums[:, part] ** 2).sum(axis=1) for part in SPACES.values()]
    with np.errstate(invalid="ignore", divide="ignore"):
        result = (collected.squares - np.stack(squares, axis=1) / n) / (n - 1)
    return np.where(n > 1, np.maximum(result, 0), np.nan)


def dependence(laid: Plan, collected: Collected) -> tuple[list[dict], dict[str, Array]]:
    """The variance of words beside that of other words of their frequency.

    Residuals (an occurrence minus its word's mean) of all words within a band of frequency are one
    pool, from which simulated words of as many occurrences are drawn. The row of a band has counts
    from `low` to below `high`, words, and for each space mean, low and high (95 %) for the band's
    median word. The second result has [W] for each space a word's variance divided by the mean of
    its band, and as `V_cos: z` and `H_s: z` its distance from that mean in half-widths of the
    interval for its own count: below -1 and above 1 is unlikely by chance. Rare words have nan.
    """
    random = np.random.default_rng(0)
    count = collected.count
    word = laid.tokens[laid.kept]
    own = count[word]
    # An occurrence is part of its word's mean, which makes residuals too short by this factor.
    weight = np.sqrt(own / np.maximum(own - 1, 1))[:, None]
    residual = (collected.kept - collected.means[word]) * weight
    measured = dict(zip(SPACES, variance(collected).T, strict=True))
    names = [name for space in SPACES for name in (space, f"{space}: z")]
    depends = {name: np.full(len(count), np.nan) for name in names}
    bands = []
    low = float(MIN_COUNT)
    while low <= own.max(initial=0):
        high = low * BANDS
        pool = np.flatnonzero((own >= low) & (own < high))
        some = (count >= low) & (count < high)
        if len(pool) > 1:
            n = int(np.median(count[some]))
            drawn = random.choice(pool, (DRAWS, min(n, MOST)))
            row: dict = {"low": low, "high": high, "words": int(some.sum()), "median": n}
            for space, part in SPACES.items():
                mean, least, most = _null(residual[:, part], drawn, n)
                row[space] = {"mean": mean, "low": least, "high": most}
                if mean > 0:
                    away = measured[space][some] - mean
                    half = np.where(away < 0, mean - least, most - mean) * np.sqrt(n / count[some])
                    depends[space][some] = measured[space][some] / mean
                    depends[f"{space}: z"][some] = away / np.maximum(half, 1e-12)
            bands.append(row)
        low = high
    return bands, depends


def _null(residual: Array, drawn: Array, n: int) -> list[float]:
    """Mean and 95 % interval of the variance of simulated words of `n` occurrences."""
    size = drawn.shape[1]
    simulated = (residual[pick].astype(np.float64) for pick in drawn)
    squares = [(some**2).sum() - (some.sum(axis=0) ** 2).sum() / size for some in simulated]
    values = np.array(squares) / (size - 1)
    mean = float(values.mean())
    scale = np.sqrt(size / n)  # more occurrences than are drawn scatter less
    return [mean, *(mean + (end - mean) * scale for end in percentiles(values))]


def explained(laid: Plan, collected: Collected, draws: int = 200) -> dict:
    """The share (%) of a word's variance that comes from speaker and place, not from other words.

    `alike` is half the squared distance of two occurrences of the same word, speaker and place,
    `variance` that of two of the same word anywhere; pairs are resampled. None without pairs. V_cos
    is a function of word, speaker and place (Eq. 6 takes the embedding): its share has to be 100.
    """
    first, twin, other = (collected.kept[rows].astype(np.float64) for rows in laid.pairs.T)
    random = np.random.default_rng(0)
    result: dict = {"pairs": len(first)} | dict.fromkeys(SPACES)
    for name, part in SPACES.items() if len(first) else ():
        halves = [((first - o)[:, part] ** 2).sum(axis=1) / 2 for o in (twin, other)]
        alike, anywhere = means(np.stack(halves, axis=1), draws, random).T
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = 100 * (1 - alike / anywhere)
        row = {"variance": anywhere[0], "alike": alike[0], "explained": shares[0]}
        row["low"], row["high"] = percentiles(shares[-draws:])
        result[name] = rounded(row, 6)
    return result


def context_variation(states_ND: Tensor, words_N: Tensor, size: int) -> Tensor:
    """Mean cosine distance between two occurrences of each word, [size]: 0 (none) to 2.

    States, e.g. `V_cos` or `H_s`, are of N occurrences of words with ids below `size`.
    """
    unit = F.normalize(states_ND.float(), dim=-1)
    sums = unit.new_zeros(size, unit.shape[1]).index_add(0, words_N, unit)
    count = torch.bincount(words_N, minlength=size)
    # The squared length of a sum of unit vectors is the sum of all their cosines. Those of an
    # occurrence with itself are 1 each, and there are `count` of them.
    between = (sums.square().sum(dim=-1) - count) / (count * (count - 1)).clamp(min=1)
    return torch.where(count > 1, 1 - between, 0.0)
