"""TF-IDF and logistic regression: the emotion from a bag of the context's words, and nothing else.

No paper prints this baseline. It uses neither word order nor vectors nor speakers, and gives no
answers. `x_v = (1 + ln tf_v) idf_v`, scaled to length 1; `l = W x + b`, fitted by scikit-learn.
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

    def __init__(self, config: Config, tables: Tables):
        super().__init__()
        self.config = config
        self.idf = nn.Buffer(torch.zeros(len(tables.vectors)))
        self.log_unigram = nn.Buffer(tables.log_unigram.clone())
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
        """Fit on all pairs, without chance. Special tokens and words of one context weigh 0."""
        from scipy.sparse import csr_array
        from sklearn.linear_model import LogisticRegression

        spans = zip(pairs.context_begin, pairs.context_length, strict=True)
        tokens = np.concatenate([pairs.split.tokens[begin : begin + n] for begin, n in spans])
        bounds = np.concatenate([[0], np.cumsum(pairs.context_length)])
        rows = csr_array((np.ones(len(tokens)), tokens, bounds), (len(pairs), len(self.idf)))
        rows.sum_duplicates()
        contexts = np.bincount(rows.indices, minlength=len(self.idf))
        idf = np.log((1 + len(pairs)) / (1 + contexts)) + 1
        idf[contexts < 2] = 0
        idf[: len(SPECIALS)] = 0
        rows.data = (1 + np.log(rows.data)) * idf[rows.indices]
        lengths = np.sqrt(rows.multiply(rows).sum(axis=1)).clip(1e-12)
        # (scikit-learn's TfidfTransformer rounds otherwise, which moves the published numbers.)
        model = LogisticRegression(C=self.config.bag_strength, max_iter=200)
        model.fit(csr_array(rows / lengths.reshape(-1, 1)), pairs.label)
        weights = np.column_stack([model.coef_, model.intercept_])
        if len(weights) == 1:  # scikit-learn keeps one row for two classes
            weights = np.concatenate([-weights, weights]) / 2
        self.idf.copy_(torch.from_numpy(idf))
        self.classify.weight.zero_()[model.classes_] = torch.from_numpy(weights[:, :-1]).float()
        self.classify.bias.fill_(NEVER)[model.classes_] = torch.from_numpy(weights[:, -1]).float()

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
