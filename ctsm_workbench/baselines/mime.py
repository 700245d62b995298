"""MIME: an answer mimics the speaker's emotion; positive and negative emotions are kept apart, and both are heard.

Source: Majumder, Hong, Peng, Lu, Ghosal, Gelbukh, Mihalcea and Poria (2020).

    q = H[CLS],  l = (W q + b) M^T      M: a vector for each emotion                            [B, 32]
    for each group, positive (13) and negative (19):
        z ~ N(mu(q), sigma(q)^2),  p = softmax(W_z z) over the group,  e = p M                   [B, D]
    m = e of the group that the emotion is of, n = e of the other
    A = Enc_1([H ; m]),  B = Enc_2([H ; n]),  v = W_2 (sigmoid(W_1 [A ; B]) * [A ; B])          [B, L, D]
    L = NLL + CE(l) + KL(N(mu'([q ; mean A]), sigma'^2) || N(mu, sigma^2)), and the same with mean B
The decoder attends to v. The emotion that chooses m is the gold one in training, the predicted one otherwise, and z is
drawn in training only; else it is the mean. mu' of the positive group reads A where the emotion is positive, else B.

Departure: KL is a mean over the latent's dimensions, as all other losses here are means.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.interface import Tables
from ctsm_lib.kernels import masked_mean
from ctsm_workbench.baselines.base import Baseline, BaselineMemory, initialise

# The paper's two groups: "surprised" counts as positive, "anticipating" as negative.
POSITIVE = (
    "surprised", "excited", "proud", "grateful", "impressed", "hopeful", "confident", "joyful", "content", "caring",
    "trusting", "faithful", "prepared",
)  # fmt: skip
BETA = 1.0  # weight of the divergence


class GroupLatent(nn.Module):
    """The latent emotion of one group: prior, posterior, and the mixture of the group's emotion vectors."""

    def __init__(self, dim: int, size: int):
        super().__init__()
        self.prior, self.posterior = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, 2 * dim)
        self.choose = nn.Linear(dim, size)

    def forward(self, query_BD: Tensor, emotions_GD: Tensor) -> tuple[Tensor, Tensor]:
        """e [B, D], and mean and log-variance of the prior [B, 2 D]."""
        prior = self.prior(query_BD).float()
        mean, log_variance = prior.chunk(2, dim=-1)
        drawn = mean + (log_variance / 2).exp() * torch.randn_like(mean) if self.training else mean
        shares = self.choose(drawn.to(self.choose.weight.dtype)).softmax(dim=-1)
        return shares.to(emotions_GD.dtype) @ emotions_GD, prior

    def divergence(self, query_BD: Tensor, heard_BD: Tensor, prior: Tensor) -> Tensor:
        """KL of posterior to prior, mean over the latent's dimensions, [B]."""
        posterior = self.posterior(torch.cat([query_BD, heard_BD], dim=-1)).float()
        (mean, log_variance), (prior_mean, prior_log) = (
            posterior.chunk(2, dim=-1),
            prior.chunk(2, dim=-1),
        )
        ratio = (log_variance - prior_log).exp() + (mean - prior_mean).square() / prior_log.exp()
        return (0.5 * (prior_log - log_variance + ratio - 1)).mean(dim=-1)


class MIME(Baseline):
    """MIMicking Emotions for empathetic response generation."""

    group: Tensor

    def __init__(self, config: Config, tables: Tables):
        super().__init__(config, tables)
        dim = config.dim
        # group[k]: 0 where emotion k is positive, 1 where it is negative
        self.register_buffer(
            "group", torch.tensor([emotion not in POSITIVE for emotion in EMOTIONS]).long(), False
        )
        self.query = nn.Linear(dim, dim)
        self.emotions = nn.Parameter(torch.zeros(len(EMOTIONS), dim))
        sizes = (len(POSITIVE), len(EMOTIONS) - len(POSITIVE))
        self.latents = nn.ModuleList(GroupLatent(dim, size) for size in sizes)
        self.joins = nn.ModuleList(
            nn.Linear(2 * dim, dim, bias=False) for _ in sizes
        )  # mimicking, other
        self.encoders = nn.ModuleList(self.small_encoder(dim) for _ in sizes)
        self.gate, self.fuse = nn.Linear(2 * dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.decoder = self.make_decoder()
        initialise(self)

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> BaselineMemory:
        states, mask = self.encode_context(batch, words)
        query = states[:, 0]
        logits = (self.query(query) @ self.emotions.to(query.dtype).T).float()
        gold = self.training and batch.label is not None
        emotion = cast(Tensor, batch.label) if gold else logits.argmax(dim=-1)
        negative = self.group[emotion].bool().unsqueeze(1)  # B 1
        latents = cast(list[GroupLatent], list(self.latents))
        made = [
            latent(query, self.emotions[self.group == number])
            for number, latent in enumerate(latents)
        ]
        (positive_e, _), (negative_e, _) = made
        chosen = (
            torch.where(negative, negative_e, positive_e),
            torch.where(negative, positive_e, negative_e),
        )
        heard = [  # A and B
            encoder(
                join(
                    torch.cat([states, e.to(states.dtype).unsqueeze(1).expand_as(states)], dim=-1)
                ),
                mask,
            )
            for join, encoder, e in zip(self.joins, self.encoders, chosen, strict=True)
        ]
        both = torch.cat(heard, dim=-1)
        memory = BaselineMemory(
            self.fuse(self.gate(both).sigmoid() * both), mask, batch.context, logits
        )
        if gold:
            means = [masked_mean(part, mask) for part in heard]
            # The positive latent has heard A where the emotion is positive, else B.
            of_group = (
                torch.where(negative, means[1], means[0]),
                torch.where(negative, means[0], means[1]),
            )
            apart = [
                latent.divergence(query, mean, prior)
                for latent, mean, (_, prior) in zip(latents, of_group, made, strict=True)
            ]
            memory.losses = {"latent": BETA * (apart[0] + apart[1])}
        return memory
