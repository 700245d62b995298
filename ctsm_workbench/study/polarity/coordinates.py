"""A map of the vocabulary in two dimensions. Source: McInnes, Healy and Melville (2018), UMAP."""

import hashlib

import numpy as np

from ctsm_lib.cache import Arrays, cached
from ctsm_lib.corpus import EMOTIONS, SPECIALS
from ctsm_lib.errors import ConfigError
from ctsm_lib.polarity import trait_polarity
from ctsm_lib.prepare import Prepared
from ctsm_lib.sources import cache_folder
from ctsm_workbench.study.polarity.standards import word_scores
from ctsm_workbench.study.sentences import sentence


def word_map(prepared: Prepared, words: int = 8000, neighbours: int = 15, seed: int = 0) -> dict:
    """Positions of the most frequent words on a map of their vectors, and both polarities.

    Emotion labels are added to the `words` most frequent words with a vector. UMAP keeps so many
    `neighbours` together. The columns are word, x, y, count, trait (1, 0, None where unrated) and
    state. Without umap-learn, or with too few words, a `ConfigError` is raised.
    """
    first = len(SPECIALS)
    vocabulary = prepared.corpus.vocabulary
    counts = prepared.corpus.counts[first:]
    scores, rated, has = word_scores(prepared)
    order = np.argsort(-counts, kind="stable")
    labels = np.array([vocabulary.index[emotion] - first for emotion in EMOTIONS])
    chosen = order[has[order]][:words]
    chosen = np.concatenate([chosen, np.setdiff1d(labels[has[labels]], chosen)])
    if len(chosen) <= neighbours:
        found = f"{len(chosen)} words with a vector"
        raise ConfigError(f"{found} are too few for a map with {neighbours} neighbours.")
    place = _coordinates(prepared.vectors.matrix[first:][chosen], neighbours, seed)
    trait = trait_polarity(scores["trait"])
    return {
        "description": prepared.description,
        "note": sentence("map", "note"),
        "settings": {"neighbours": neighbours, "metric": "cosine", "seed": seed},
        "word": [vocabulary.words[first + i] for i in chosen],
        "x": place[:, 0].round(3).tolist(),
        "y": place[:, 1].round(3).tolist(),
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
