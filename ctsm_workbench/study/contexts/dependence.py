"""How much a word varies between its contexts, what of that is more than chance, and what it comes from.

Variance here: half the expected squared distance of two occurrences of a word, summed over the features of a space. The
estimate has no bias for rare words, but scatters more; the null says how much.
Legend of shapes: W words, K kept occurrences, P pairs, F features.
"""

from __future__ import annotations

import numpy as np

from ctsm_workbench.study.contexts.reading import MIN_COUNT, SPACES, Gathered, Plan

BANDS, DRAWS = 2.0, 400  # words of one band differ in frequency by less than this factor


def variance(gathered: Gathered) -> np.ndarray:
    """[W, 2] unbiased variance of every word in V_cos and H_s; nan for a word that occurs once or never."""
    n = gathered.count[:, None]
    inside = np.stack(
        [(gathered.sums[:, part] ** 2).sum(axis=1) for part in SPACES.values()], axis=1
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        result = (gathered.squares - inside / n) / (n - 1)
    return np.where(n > 1, np.maximum(result, 0), np.nan)


def null_bands(laid: Plan, gathered: Gathered, seed: int = 0) -> list[dict]:
    """What a word's variance would be if it varied like the other words of its frequency: by chance only.

    Residuals (an occurrence minus its word's mean) of all words within a band of frequency are one pool; made-up words of
    as many occurrences are drawn from it, `DRAWS` for each band and space.

    Returns:
        A row for each band: counts from `low` to below `high`, words, and for each space mean, low and high (95 %).
        The draws have the frequency of the band's median word; `dependence` scales them to a word's own.
    """
    random = np.random.default_rng(seed)
    word = laid.tokens[laid.kept]
    count = gathered.count
    frequent = word[count[word] >= MIN_COUNT]
    if not len(frequent):
        return []
    weight = np.sqrt(count[word] / np.maximum(count[word] - 1, 1))[
        :, None
    ]  # an occurrence is part of its word's mean
    residual = (gathered.kept - gathered.means[word]) * weight
    rows, low = [], float(MIN_COUNT)
    while low <= count.max():
        high = low * BANDS
        pool = np.flatnonzero((count[word] >= low) & (count[word] < high))
        words = np.flatnonzero((count >= low) & (count < high))
        if len(pool) > 1:
            n = int(np.median(count[words]))
            drawn = random.choice(pool, (DRAWS, min(n, 2_000)))
            row: dict = {"low": low, "high": high, "words": len(words), "median": n}
            for name, part in SPACES.items():
                row[name] = _interval(residual[:, part], drawn, n)
            rows.append(row)
        low = high
    return rows


def _interval(residual: np.ndarray, drawn: np.ndarray, n: int) -> dict:
    """Mean and 95 % interval of the variance of made-up words; more than are drawn scatter less, as 1 / sqrt(n)."""
    size, values = drawn.shape[1], np.empty(len(drawn))
    for i, pick in enumerate(drawn):
        some = residual[pick].astype(np.float64)
        values[i] = ((some**2).sum() - (some.sum(axis=0) ** 2).sum() / size) / (size - 1)
    scale = np.sqrt(size / n)
    low, high = np.quantile(values, (0.025, 0.975))
    mean = float(values.mean())
    return {"mean": mean, "low": mean + (low - mean) * scale, "high": mean + (high - mean) * scale}


def dependence(laid: Plan, gathered: Gathered, bands: list[dict]) -> dict[str, np.ndarray]:
    """Each word's variance over that of its band, [W] by name of the space; nan where it is too rare to say.

    Also `V_cos: z` and `H_s: z`: how many half-widths of the null interval a word lies from the null's mean; beyond -1
    and 1 it varies less or more than words of its frequency do by chance.
    """
    own, count = variance(gathered), gathered.count
    result: dict[str, np.ndarray] = {}
    for column, name in enumerate(SPACES):
        ratio, z = np.full(len(count), np.nan), np.full(len(count), np.nan)
        for row in bands:
            some = (count >= row["low"]) & (count < row["high"])
            null = row[name]
            if null["mean"] > 0:
                ratio[some] = own[some, column] / null["mean"]
                wide = np.sqrt(row["median"] / count[some])
                away = own[some, column] - null["mean"]
                half = (
                    np.where(away < 0, null["mean"] - null["low"], null["high"] - null["mean"])
                    * wide
                )
                z[some] = away / np.maximum(half, 1e-12)
        result |= {name: ratio, f"{name}: z": z}
    return result


def explained(laid: Plan, gathered: Gathered, draws: int = 200, seed: int = 0) -> dict:
    """Share of a word's variance that who speaks and the place in the dialogue make, without any other word.

    Half the squared distance of two occurrences of the same word, speaker and place, against that of two of the same word
    anywhere. V_cos is a function of word, speaker and place (Eq. 6 takes the embedding), so its share has to be 1.

    Returns:
        For each space the variance, what is left between occurrences alike in speaker and place, and the share
        explained (%), with an interval from resampled pairs.
    """
    first, twin, other = (gathered.kept[laid.pairs[:, i]].astype(np.float64) for i in range(3))
    random, pairs = np.random.default_rng(seed), len(laid.pairs)
    result: dict = {"pairs": pairs}
    for name, part in SPACES.items():
        if not pairs:
            result[name] = None
            continue
        alike = ((first - twin)[:, part] ** 2).sum(axis=1) / 2
        anywhere = ((first - other)[:, part] ** 2).sum(axis=1) / 2
        picks = [np.arange(pairs), *(random.integers(pairs, size=pairs) for _ in range(draws))]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.array(
                [100 * (1 - alike[pick].sum() / anywhere[pick].sum()) for pick in picks]
            )
        low, high = np.nanquantile(share[1:], (0.025, 0.975)) if draws else (share[0], share[0])
        values = {
            "variance": anywhere.mean(),
            "alike": alike.mean(),
            "explained": share[0],
            "low": low,
            "high": high,
        }
        result[name] = {key: round(float(value), 6) for key, value in values.items()}
    return result
