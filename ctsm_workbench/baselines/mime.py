"""MIME: the answer mimics the speaker's emotion, and reads a mixture of the opposite emotions, too.

Source: Majumder, Hong, Peng, Lu, Ghosal, Gelbukh, Mihalcea and Poria (2020).

    q = H[CLS],  l = (W q + b) M^T      M: a vector for each emotion                     [B, 32]
    for each group, positive (13) and negative (19):
        z ~ N(mu(q), sigma(q)^2),  p = softmax(W_z z) over the group,  e = p M           [B, D]
    m = e of the emotion's own group, n = e of the other group
    A = Enc_1([H ; m]),  B = Enc_2([H ; n]),  v = W_2 (sigmoid(W_1 [A ; B]) * [A ; B])   [B, L, D]
    L = NLL + CE(l) + KL(N(mu'([q ; mean A]), sigma'^2) || N(mu, sigma^2)), and the same with mean B

The decoder attends to v. The emotion that chooses m is the gold one in training, and the predicted
one otherwise. z is drawn in training only; otherwise it is the mean. The posterior of a group reads
A if the emotion belongs to the group, and B if not.

Departure: each group's prior has a hidden layer of its own; the release shares it.
Departure: KL is a mean over the latent's dimensions, as all other losses here are means.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.kernels import masked_mean
from ctsm_workbench.baselines.base import Baseline, BaselineMemory, beside

# The paper's two groups: "surprised" counts as positive, "anticipating" as negative.
POSITIVE = (
    "surprised", "excited", "proud", "grateful", "impressed", "hopeful", "confident", "joyful",
    "content", "caring", "trusting", "faithful", "prepared",
)  # fmt: skip


class GroupLatent(nn.Module):
    """The latent emotion of one group: prior, posterior, and a mixture of the group's emotions."""

    def __init__(self, dim: int, size: int):
        super().__init__()
        # Mean and log-variance of the latent, with a hidden layer as in the release.
        self.prior = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 2 * dim))
        self.posterior = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Linear(dim, 2 * dim))
        self.choose = nn.Linear(dim, size)

    def forward(self, query_BD: Tensor, emotions_GD: Tensor) -> tuple[Tensor, Tensor]:
        """e [B, D], and mean and log-variance of the prior [B, 2 D]."""
        prior = self.prior(query_BD).float()
        z, log_variance = prior.chunk(2, dim=-1)
        if self.training:
            z = z + (log_variance / 2).exp() * torch.randn_like(z)
        shares = self.choose(z.to(self.choose.weight.dtype)).softmax(dim=-1)
        return shares.to(emotions_GD.dtype) @ emotions_GD, prior

    def divergence(self, query_BD: Tensor, read_BD: Tensor, prior: Tensor) -> Tensor:
        """KL of posterior to prior, mean over the latent's dimensions, [B]."""
        posterior = self.posterior(torch.cat([query_BD, read_BD], dim=-1)).float()
        mean, log_variance = posterior.chunk(2, dim=-1)
        prior_mean, prior_log = prior.chunk(2, dim=-1)
        ratio = (log_variance - prior_log).exp() + (mean - prior_mean).square() / prior_log.exp()
        return (0.5 * (prior_log - log_variance + ratio - 1)).mean(dim=-1)


class MIME(Baseline):
    """MIMicking Emotions for empathetic response generation."""

    def make_parts(self, dim: int) -> None:
        negative = torch.tensor([emotion not in POSITIVE for emotion in EMOTIONS])
        self.negative = nn.Buffer(negative, persistent=False)
        self.query = nn.Linear(dim, dim)
        self.drop_before(self.query)
        self.emotions = nn.Parameter(torch.zeros(len(EMOTIONS), dim))
        sizes = (len(POSITIVE), len(EMOTIONS) - len(POSITIVE))
        self.latents: Any = nn.ModuleList(GroupLatent(dim, size) for size in sizes)
        # Two of each: for the emotion's own group, and for the other.
        self.joins: Any = nn.ModuleList(nn.Linear(2 * dim, dim, bias=False) for _ in sizes)
        self.encoders: Any = nn.ModuleList(self.small_encoder(dim) for _ in sizes)
        self.gate = nn.Linear(2 * dim, 2 * dim)
        self.fuse = nn.Linear(2 * dim, dim)

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> BaselineMemory:
        states, mask = self.encode_context(batch, words)
        query = states[:, 0]
        logits = (self.query(query) @ self.emotions.to(query.dtype).T).float()
        gold = batch.label if self.training else None
        emotion = logits.argmax(dim=-1) if gold is None else gold
        negative = self.negative[emotion].unsqueeze(1)  # B 1
        positive_e, positive_prior = self.latents[0](query, self.emotions[~self.negative])
        negative_e, negative_prior = self.latents[1](query, self.emotions[self.negative])
        m = torch.where(negative, negative_e, positive_e)
        n = torch.where(negative, positive_e, negative_e)
        A = self.encoders[0](self.joins[0](beside(states, m)), mask)
        B = self.encoders[1](self.joins[1](beside(states, n)), mask)
        both = torch.cat([A, B], dim=-1)
        fused = self.fuse(self.gate(both).sigmoid() * both)
        memory = BaselineMemory(fused, mask, batch.context, emotion_logits=logits)
        if gold is not None:
            a = masked_mean(A, mask)
            b = masked_mean(B, mask)
            positive_read = torch.where(negative, b, a)
            negative_read = torch.where(negative, a, b)
            positive_kl = self.latents[0].divergence(query, positive_read, positive_prior)
            negative_kl = self.latents[1].divergence(query, negative_read, negative_prior)
            memory.losses["latent"] = positive_kl + negative_kl
        return memory
