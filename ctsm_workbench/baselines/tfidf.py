"""TF-IDF and logistic regression: the emotion from a bag of the context's words, and nothing else.

No paper prints this baseline. It uses neither word order nor vectors nor speakers, and gives no
answers. `x_v = (1 + ln tf_v) idf_v`, scaled to length 1; `l = W x + b`. scikit-learn fits it; the
weights are kept as tensors.
Source: Salton and Buckley (1988) for the weights of words.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.batches import Batch, Pairs
from ctsm_lib.config import Config
from ctsm_lib.corpus import EMOTIONS, PAD, SPECIALS
from ctsm_lib.interface import Memory, Output, Tables
from ctsm_lib.model.ctsm import mean_label_loss

NEVER = -30.0  # logit of an emotion without examples


class TfIdf(nn.Module):
    """A linear classifier over the vocabulary."""

    predicts_emotion = True
    predicts_words = False
    is_fitted = True  # trained by one call of `fit(pairs)`
    uses: frozenset[str] = frozenset()
    idf: Tensor
    log_unigram: Tensor

    def __init__(self, config: Config, tables: Tables):
        super().__init__()
        self.config = config
        self.register_buffer("idf", torch.zeros(len(tables.vectors)))
        self.register_buffer("log_unigram", tables.log_unigram.clone())
        self.classify = nn.Linear(len(tables.vectors), len(EMOTIONS))
        nn.init.zeros_(self.classify.weight)

    def features(self, context_BL: Tensor) -> Tensor:
        """[B, V], rows of length 1 (zeros where no word is known)."""
        counts = self.idf.new_zeros(len(context_BL), len(self.idf))
        counts.scatter_add_(1, context_BL, (context_BL != PAD).to(counts.dtype))
        weights = torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0.0) * self.idf
        return F.normalize(weights, dim=1)

    @torch.no_grad()
    def fit(self, pairs: Pairs) -> None:
        """Fit on all pairs. The result does not depend on the seed.

        Words of fewer than two contexts and special tokens are left out (weight 0).
        """
        from scipy.sparse import csr_array
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.linear_model import LogisticRegression

        spans = zip(pairs.context_begin, pairs.context_length, strict=True)
        tokens = np.concatenate([pairs.split.tokens[begin : begin + n] for begin, n in spans])
        bounds = np.concatenate([[0], np.cumsum(pairs.context_length)])
        shape = (len(pairs), len(self.idf))
        counts = csr_array((np.ones(len(tokens)), tokens, bounds), shape)
        counts.sum_duplicates()
        left_out = np.bincount(counts.indices, minlength=len(self.idf)) < 2
        left_out[: len(SPECIALS)] = True
        counts.data[left_out[counts.indices]] = 0
        counts.eliminate_zeros()
        transformer = TfidfTransformer(sublinear_tf=True)
        model = LogisticRegression(C=self.config.bag_strength, max_iter=200)
        model.fit(transformer.fit_transform(counts), pairs.label)

        rows = np.column_stack([model.coef_, model.intercept_])
        if len(rows) == 1:  # scikit-learn keeps one row for two classes
            rows = np.concatenate([-rows, rows]) / 2
        seen = torch.from_numpy(model.classes_)
        self.idf.copy_(torch.from_numpy(np.where(left_out, 0, transformer.idf_)))
        self.classify.weight.zero_()[seen] = torch.from_numpy(rows[:, :-1]).float()
        self.classify.bias.fill_(NEVER)[seen] = torch.from_numpy(rows[:, -1]).float()

    def encode(self, batch: Batch) -> Memory:
        """Emotion logits. There are no states for a decoder."""
        logits = self.classify(self.features(batch.context))
        states = logits.new_zeros(*batch.context.shape, 1)
        return Memory(states, batch.context != PAD, batch.context, emotion_logits=logits)

    def forward(self, batch: Batch) -> Output:
        """Emotion loss and logits. No word has a probability."""
        logits = self.encode(batch).emotion_logits
        loss = mean_label_loss(logits, batch)
        nothing = batch.context.new_zeros(0)
        return Output(
            losses={"emotion": loss, "total": loss}, emotion_logits=logits, teacher_logits=None,
            token_nll=logits.new_zeros(0), token_row=nothing, token_prediction=nothing,
        )  # fmt: skip
