"""MIME against its equations, one pair at a time. Source: Majumder et al. (2020)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from baseline_cases import tiny
from helpers import (
    array,
    close,
    collate,
    differ,
    random_pairs,
    sigmoid,
    slow_embedding,
    slow_encoder,
    slow_linear,
    slow_softmax,
)
from torch import nn

from ctsm_lib.corpus import EMOTIONS
from ctsm_workbench.baselines.mime import POSITIVE

PAIRS = random_pairs(5)
GROUPS = (
    [k for k in range(32) if EMOTIONS[k] in POSITIVE],
    [k for k in range(32) if EMOTIONS[k] not in POSITIVE],
)


def without_chance(model: nn.Module) -> nn.Module:
    """z is its mean in training, too: the prior's variance is nearly 0."""
    for latent in model.latents:
        last = latent.prior[2]
        last.weight.data[len(last.weight) // 2 :] = 0
        last.bias.data[len(last.bias) // 2 :] = -80.0
    return model


def slow_two_layers(layers: nn.Module, rows: Any) -> np.ndarray:
    """A linear map of the ReLU of a linear map, for each row."""
    return slow_linear(layers[2], np.maximum(slow_linear(layers[0], rows), 0))


def slow_group(
    latent: nn.Module, query: np.ndarray, emotions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """e = softmax(W z) M with z the mean, and the prior's mean and log-variance."""
    prior = slow_two_layers(latent.prior, [query])[0]
    shares = np.array(slow_softmax(slow_linear(latent.choose, [prior[: len(query)]])[0].tolist()))
    return shares @ emotions, prior


def slow_read(model: nn.Module, pair, gold: int | None) -> dict:  # type: ignore[no-untyped-def]
    context = slow_encoder(model.encoder, slow_embedding(model.embed, pair.context, pair.speaker))
    query, table = context[0], array(model.emotions)
    logits = np.array([slow_linear(model.query, [query])[0] @ row for row in table])
    emotion = int(logits.argmax()) if gold is None else gold
    groups = [
        slow_group(latent, query, table[group])
        for latent, group in zip(model.latents, GROUPS, strict=True)
    ]
    own = 0 if emotion in GROUPS[0] else 1
    views = []
    for join, encoder, e in zip(
        model.joins, model.encoders, (groups[own][0], groups[1 - own][0]), strict=True
    ):
        views.append(
            slow_encoder(
                encoder, np.array([array(join.weight) @ np.concatenate([h, e]) for h in context])
            )
        )
    both = np.concatenate(views, axis=1)
    states = slow_linear(model.fuse, sigmoid(slow_linear(model.gate, both)) * both)
    divergence = 0.0
    for group in (0, 1):
        read = views[0] if group == own else views[1]
        posterior = slow_two_layers(
            model.latents[group].posterior, [np.concatenate([query, read.mean(axis=0)])]
        )[0]
        size = len(query)
        parts = []
        for i in range(size):
            m, v = posterior[i], np.exp(posterior[size + i])
            pm, pv = groups[group][1][i], np.exp(groups[group][1][size + i])
            parts.append(0.5 * (np.log(pv / v) + (v + (m - pm) ** 2) / pv - 1))
        divergence += float(np.mean(parts))
    return {"logits": logits, "states": states, "divergence": divergence}


def test_groups_are_thirteen_and_nineteen() -> None:
    assert (len(GROUPS[0]), len(GROUPS[1])) == (13, 19) and set(POSITIVE) <= set(EMOTIONS)
    assert EMOTIONS.index("anticipating") in GROUPS[1] and EMOTIONS.index("surprised") in GROUPS[0]
    negative = tiny("mime").negative.tolist()
    assert [k for k in range(32) if not negative[k]] == GROUPS[0]


def test_evaluation_equals_the_equations_with_the_predicted_emotion_and_the_mean() -> None:
    model, pairs = tiny("mime", seed=1).double().eval(), random_pairs(12, seed=1)
    memory = model.encode(collate(pairs, extra=2))
    sides = set()
    for row, pair in enumerate(pairs):
        slow = slow_read(model, pair, None)
        sides.add(int(slow["logits"].argmax()) in GROUPS[0])
        close(memory.emotion_logits[row], slow["logits"])
        close(memory.states[row, : len(pair.context)], slow["states"])
    assert sides == {True, False}  # both groups were mimicked


def test_training_mimics_the_gold_emotion_and_is_taught_the_posterior() -> None:
    model = without_chance(tiny("mime").double())
    batch = collate(PAIRS, extra=2)
    memory = model.understand(batch, model.embed.look_up(model.ids(batch)))
    for row, pair in enumerate(PAIRS):
        slow = slow_read(model, pair, pair.label)
        close(memory.states[row, : len(pair.context)], slow["states"])
        np.testing.assert_allclose(
            memory.losses["latent"][row].item(), slow["divergence"], rtol=1e-6
        )
    total = model(batch).losses
    close(
        total["total"],
        0.9 * total["generation"]
        + 0.1 * self_spread(model, batch)
        + total["emotion"]
        + total["latent"],
    )


def self_spread(model: nn.Module, batch) -> float:  # type: ignore[no-untyped-def]
    words = model.embed.look_up(model.ids(batch))
    taught = model.teach(model.understand(batch, words), words["previous"], batch.target)
    return -taught.scores.spread.mean().item()


def test_labels_of_the_same_group_are_the_same_to_the_reader() -> None:
    """Only the group of the gold emotion matters, and it matters."""
    model, batch = without_chance(tiny("mime")), collate(PAIRS)
    words = model.embed.look_up(model.ids(batch))

    def states(label: int) -> torch.Tensor:
        return model.understand(
            replace(batch, label=torch.full_like(batch.label, label)), words
        ).states

    close(states(GROUPS[0][0]), states(GROUPS[0][5]), 1e-6)
    differ(states(GROUPS[0][0]), states(GROUPS[1][0]))


def test_z_is_drawn_in_training_only() -> None:
    """z is drawn anew in training. In evaluation, or with hardly any variance, it is the mean."""
    model, batch = tiny("mime"), collate(PAIRS)
    words = model.embed.look_up(model.ids(batch))
    differ(model.understand(batch, words).states, model.understand(batch, words).states, 1e-4)
    model.eval()
    close(model.understand(batch, words).states, model.understand(batch, words).states, 0)
    still = without_chance(tiny("mime"))
    words = still.embed.look_up(still.ids(batch))
    close(still.understand(batch, words).states, still.understand(batch, words).states, 1e-6)


def test_z_is_drawn_with_the_priors_standard_deviation() -> None:
    """`z = mu + exp(log sigma^2 / 2) e` with e standard normal in training, and 0 in evaluation."""
    latent, table, query = tiny("mime").latents[1], torch.randn(19, 12), torch.randn(4, 12)
    for training in (True, False):
        torch.manual_seed(3)
        e, _ = latent.train(training)(query, table)
        torch.manual_seed(3)
        noise = array(torch.randn(4, 12)) * training
        for row in range(4):
            prior = slow_two_layers(latent.prior, array(query[row : row + 1]))[0]
            z = prior[:12] + np.sqrt(np.exp(prior[12:])) * noise[row]
            close(
                e[row],
                np.array(slow_softmax(slow_linear(latent.choose, [z])[0].tolist())) @ array(table),
            )


def test_divergence_moves_prior_and_posterior_alike_and_what_they_read() -> None:
    """Nothing is detached: prior, posterior, and the encoders whose means the posterior reads."""
    model = tiny("mime")
    model(collate(PAIRS)).losses["latent"].backward()
    parts = [part for latent in model.latents for part in (latent.prior, latent.posterior)]
    for part in (*parts, *model.joins, *model.encoders, model.encoder):
        assert all(parameter.grad is not None for parameter in part.parameters())
        assert sum(float(parameter.grad.abs().sum()) for parameter in part.parameters()) > 0
    assert (
        model.fuse.weight.grad is None and model.query.weight.grad is None
    )  # neither v nor l is in it


def test_equal_distributions_have_no_divergence() -> None:
    latent = tiny("mime").latents[0]
    query, read = torch.randn(3, 12), torch.randn(3, 12)
    latent.posterior[2].weight.data.zero_()
    prior = latent.posterior[2].bias.detach().expand(3, -1)
    close(latent.divergence(query, read, prior), torch.zeros(3))
    assert (latent.divergence(query, read, prior + 1) > 0).all()
