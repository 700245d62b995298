"""TF-IDF and logistic regression: the emotion from a bag of the context's words, and nothing else.

No paper prints this yardstick. It knows neither order nor vectors nor who speaks, and gives no answers.
`x_v = (1 + ln tf_v) idf_v`, scaled to length 1; `l = W x + b`; fitted by scikit-learn, kept as tensors.
Source: Salton and Buckley (1988) for the weights.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.batches import Batch, Pairs
from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD, SPECIALS
from ctsm_lib.interface import Memory, Output, Tables
from ctsm_lib.model.guidance import label_loss
from ctsm_workbench.baselines.base import LABELS


class TfIdf(nn.Module):
    """A linear classifier over the vocabulary; `fit` takes the place of training."""

    predicts_emotion = True
    predicts_words = False
    uses: frozenset[str] = frozenset()
    idf: Tensor
    log_unigram: Tensor

    def __init__(self, config: Config, tables: Tables):
        super().__init__()
        self.config = config
        self.register_buffer("idf", torch.zeros(len(tables.vectors)))
        self.register_buffer("log_unigram", tables.log_unigram.clone())
        self.classify = nn.Linear(len(tables.vectors), LABELS)
        nn.init.zeros_(self.classify.weight)

    def features(self, context_BL: Tensor) -> Tensor:
        """[B, V], rows of length 1 (zeros where no word is known)."""
        counts = self.idf.new_zeros(len(context_BL), len(self.idf))
        counts.scatter_add_(1, context_BL, (context_BL != PAD).to(counts.dtype))
        weights = torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0.0) * self.idf
        return F.normalize(weights, dim=1)

    def fit(self, pairs: Pairs) -> None:
        """Count, weigh and fit on all pairs; the same result whatever the seed.

        Words of fewer than two contexts are left out (weight 0), and so are special tokens.
        """
        from scipy.sparse import csr_array
        from sklearn.linear_model import LogisticRegression

        size = len(self.idf)
        bounds = np.concatenate([[0], np.cumsum(pairs.context_length)])
        within = np.arange(bounds[-1]) - np.repeat(bounds[:-1], pairs.context_length)
        tokens = pairs.split.tokens[np.repeat(pairs.context_begin, pairs.context_length) + within]
        counts = csr_array((np.ones(len(tokens)), tokens, bounds), shape=(len(pairs), size))
        counts.sum_duplicates()
        documents = np.bincount(counts.indices, minlength=size)
        idf = np.log((1 + len(pairs)) / (1 + documents)) + 1
        idf[documents < 2] = 0
        idf[: len(SPECIALS)] = 0
        values = counts.copy()
        values.data = (1 + np.log(values.data)) * idf[values.indices]
        values = values / np.sqrt(values.multiply(values).sum(axis=1)).clip(1e-12).reshape(-1, 1)
        model = LogisticRegression(C=self.config.bag_strength, max_iter=200).fit(
            csr_array(values), pairs.label
        )
        weight, bias = (
            torch.full((LABELS, size), 0.0),
            torch.full((LABELS,), -30.0),
        )  # an emotion without examples
        seen = torch.from_numpy(model.classes_)
        if len(seen) == 2:  # scikit-learn keeps one row for two classes
            coefficients = np.concatenate([-model.coef_, model.coef_]) / 2
            intercept = np.concatenate([-model.intercept_, model.intercept_]) / 2
        else:
            coefficients, intercept = model.coef_, model.intercept_
        weight[seen], bias[seen] = (
            torch.from_numpy(coefficients).float(),
            torch.from_numpy(intercept).float(),
        )
        with torch.no_grad():
            self.idf.copy_(torch.from_numpy(idf))
            self.classify.weight.copy_(weight)
            self.classify.bias.copy_(bias)

    def encode(self, batch: Batch) -> Memory:
        """Emotion logits; there is nothing for a decoder."""
        logits = self.classify(self.features(batch.context))
        return Memory(
            logits.new_zeros(*batch.context.shape, 1), batch.context != PAD, batch.context, logits
        )

    def forward(self, batch: Batch) -> Output:
        """Emotion loss and logits; no word has a probability."""
        assert batch.label is not None
        logits = self.encode(batch).emotion_logits
        loss = label_loss(logits, batch.label).sum() / max(batch.total_pairs, 1)
        nothing = batch.context.new_zeros(0)
        return Output(
            {"emotion": loss, "total": loss}, logits, None, logits.new_zeros(0), nothing, nothing
        )
