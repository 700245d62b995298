"""Lesson 02: a right answer for each check, and wrong ones with the hint they must get."""

import numpy as np
import torch


def intensity(vad, rated):
    distance = np.sqrt((vad[:, 0] - 0.5) ** 2 + (vad[:, 1] / 2) ** 2)
    return np.where(rated, (distance - 0.06467) / 0.607468, 0.0)


def intensity_of_unrated(vad, rated):
    return intensity(vad, np.ones_like(rated))


def intensity_full_arousal(vad, rated):
    distance = np.sqrt((vad[:, 0] - 0.5) ** 2 + vad[:, 1] ** 2)
    return np.where(rated, (distance - 0.06467) / 0.607468, 0.0)


def intensity_without_root(vad, rated):
    distance = (vad[:, 0] - 0.5) ** 2 + (vad[:, 1] / 2) ** 2
    return np.where(rated, (distance - 0.06467) / 0.607468, 0.0)


def idf(
    documents, size, count=lambda documents, word: sum(word in document for document in documents)
):
    df = np.array([count(documents, word) for word in range(size)])
    raw = np.log((1 + len(documents)) / (1 + df)) + 1
    low, high = raw[df > 0].min(), raw[df > 0].max()
    return np.where(df > 0, (raw - low) / (high - low), 1.0)


def idf_of_occurrences(documents, size):
    return idf(
        documents, size, lambda documents, word: sum(document.count(word) for document in documents)
    )


def idf_scaled_by_all(documents, size):
    df = np.array([sum(word in document for document in documents) for word in range(size)])
    raw = np.log((1 + len(documents)) / (1 + df)) + 1
    return (raw - raw.min()) / (raw.max() - raw.min())


def idf_unseen_zero(documents, size):
    result = idf(documents, size)
    result[4] = 0.0
    return result


def embedding(vad, idf, context, weight, mask):
    joined = torch.cat([vad, idf.unsqueeze(-1), context @ weight.T], dim=-1)
    return joined * mask.unsqueeze(-1)


def embedding_without_mask(vad, idf, context, weight, mask):
    return embedding(vad, idf, context, weight, torch.ones_like(mask))


def embedding_idf_first(vad, idf, context, weight, mask):
    return torch.cat([idf.unsqueeze(-1), vad, context @ weight.T], dim=-1) * mask.unsqueeze(-1)


def embedding_of_reversed_map(vad, idf, context, weight, mask):
    return embedding(vad, idf, context, weight.flip(0), mask)


CASES = {
    "intensity": (
        intensity,
        [
            (intensity_of_unrated, "unrated word has exactly 0"),
            (intensity_full_arousal, "uses half of it"),
            (intensity_without_root, "take the root"),
        ],
    ),
    "inverse_document_frequency": (
        idf,
        [
            (idf_of_occurrences, "counts once"),
            (idf_scaled_by_all, "by the words that were seen"),
            (idf_unseen_zero, "as rare as can be"),
        ],
    ),
    "trait_embedding": (
        embedding,
        [
            (embedding_without_mask, "PAD rows are zero"),
            (embedding_idf_first, "first three columns"),
            (embedding_of_reversed_map, "rows of W_C"),
        ],
    ),
}
