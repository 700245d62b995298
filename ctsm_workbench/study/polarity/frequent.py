"""The most frequent words: those whose polarities differ, each quoted, and a map of all.

Source: McInnes, Healy and Melville (2018) for UMAP.
"""

import hashlib

import numpy as np

from ctsm_lib.cache import Arrays, cached
from ctsm_lib.corpus import EMOTIONS, SPECIALS, Corpus
from ctsm_lib.errors import ConfigError
from ctsm_lib.polarity import NO_STATE, TIE, trait_polarity
from ctsm_lib.prepare import Prepared
from ctsm_lib.sources import cache_folder
from ctsm_workbench.study import sentence
from ctsm_workbench.study.polarity.standards import word_scores

FIRST = len(SPECIALS)


def discrepant_words(prepared: Prepared, words: int = 12) -> dict:
    """The most frequent words that differ, by the paper's rule and among rated words only.

    Paper: Sec. 5.4, which counts such words and shows one.
    """
    corpus = prepared.corpus
    scores, rated, has = word_scores(prepared)
    trait = trait_polarity(scores["trait"]) * rated
    order = np.argsort(-corpus.counts[FIRST:], kind="stable")
    rules = {}
    for name, score, part in (
        ("the paper's rule, all words", scores["state"], has),
        ("rated words only", scores["state, rated centroids"], has & rated),
    ):
        state = np.where(part, score > TIE, NO_STATE)
        differ = part & (state != trait)
        rows = [
            {"word": corpus.vocabulary.words[FIRST + i], "count": int(corpus.counts[FIRST + i])}
            | {"rated": bool(rated[i]), "trait": int(trait[i]), "state": int(state[i])}
            | {"quotation": quotation(corpus, FIRST + i)}
            for i in order[differ[order]][:words]
        ]
        rules[name] = {"differ": int(differ.sum()), "of": int(part.sum()), "words": rows}
    return {"description": prepared.description, "rules": rules}


def quotation(corpus: Corpus, word: int) -> list[str]:
    """The text before and after a random occurrence of a word in training, or empty texts."""
    places = np.flatnonzero(np.asarray(corpus.splits["train"].tokens) == word)
    if not len(places):
        return ["", ""]
    return list(words_around(corpus, int(np.random.default_rng([0, word]).choice(places))))


def words_around(corpus: Corpus, place: int, around: int = 4) -> tuple[str, str]:
    """Up to `around` words before and after a place in the training tokens, within its turn."""
    split = corpus.splits["train"]
    turn = int(np.searchsorted(split.turn_offsets, place, side="right")) - 1
    begin, end = split.turn_offsets[turn : turn + 2].tolist()
    left = max(begin, place - around)
    right = min(end, place + around + 1)
    parts = (split.tokens[left:place], split.tokens[place + 1 : right])
    before, after = (corpus.vocabulary.decode(np.asarray(part).tolist()) for part in parts)
    return " ".join(["..."] * (left > begin) + before), " ".join(after + ["..."] * (right < end))


def word_map(prepared: Prepared, words: int = 8000, neighbours: int = 15, seed: int = 0) -> dict:
    """Positions of the most frequent words on a map of their vectors, and both polarities.

    Emotion labels are added to the `words` most frequent words with a vector. A `trait` is None
    where the word is unrated. Too few words for the `neighbours`, or no umap-learn: `ConfigError`.
    """
    vocabulary = prepared.corpus.vocabulary
    counts = prepared.corpus.counts[FIRST:]
    scores, rated, has = word_scores(prepared)
    order = np.argsort(-counts, kind="stable")
    labels = np.array([vocabulary.index[emotion] - FIRST for emotion in EMOTIONS])
    chosen = order[has[order]][:words]
    chosen = np.concatenate([chosen, np.setdiff1d(labels[has[labels]], chosen)])
    if (n := len(chosen)) <= neighbours:
        raise ConfigError(f"{n} words are too few for a map with {neighbours} neighbours.")
    place = _coordinates(prepared.vectors.matrix[FIRST:][chosen], neighbours, seed)
    trait = trait_polarity(scores["trait"])
    x, y = place.T.round(3).tolist()
    return {
        "description": prepared.description,
        "note": sentence("map", "note"),
        "settings": {"neighbours": neighbours, "metric": "cosine", "seed": seed},
        "word": [vocabulary.words[FIRST + i] for i in chosen],
        "x": x,
        "y": y,
        "count": counts[chosen].tolist(),
        "trait": [int(trait[i]) if rated[i] else None for i in chosen],
        "state": (scores["state, rated centroids"][chosen] > 0).astype(int).tolist(),
    }


def _coordinates(vectors: np.ndarray, neighbours: int, seed: int) -> np.ndarray:
    try:
        import umap
    except ImportError:
        raise ConfigError("The map needs umap-learn: pip install 'ctsm-lab[analysis]'.") from None
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    content = hashlib.sha256(vectors.tobytes()).hexdigest()
    key = dict(neighbours=neighbours, seed=seed, umap=umap.__version__, vectors=content)

    def build() -> tuple[Arrays, dict]:
        # One thread: with more of them, the same seed gives different maps.
        how = {"min_dist": 0.1, "metric": "cosine", "random_state": seed, "n_jobs": 1}
        place = umap.UMAP(n_neighbors=neighbours, **how).fit_transform(vectors).astype(np.float32)
        return {"place": place - place.mean(axis=0)}, {}

    return cached(cache_folder(), "map", key, build)[0]["place"]
