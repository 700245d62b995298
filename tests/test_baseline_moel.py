"""MoEL against its equations, one pair at a time. Source: Lin et al. (2019)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from baseline_cases import make_model, tiny
from helpers import (
    array,
    close,
    collate,
    differ,
    random_pairs,
    slow_attention,
    slow_decoder,
    slow_embedding,
    slow_encoder,
    slow_feed_forward,
    slow_linear,
    slow_norm,
    slow_softmax,
    tiny_config,
    tiny_tables,
)
from torch import nn

from ctsm_lib.batches import Batch
from ctsm_lib.corpus import SOS
from ctsm_lib.model.generation import Taught
from ctsm_workbench.baselines.moel import Listeners

PAIRS = random_pairs(5)


def taught(model: nn.Module, batch: Batch) -> Taught:
    """Teacher forcing after `encode`."""
    words = model.embed.look_up(model.ids(batch))
    return model.teach(model.understand(batch, words), words["previous"], batch.target)


class OneListener(nn.Module):
    """Listener i's attention in the form that `slow_attention` reads."""

    def __init__(
        self, heads: int, query: np.ndarray, key: np.ndarray, value: np.ndarray, result: np.ndarray
    ):
        super().__init__()
        self.heads, self.depth = heads, len(query) // heads
        for name, matrix in (
            ("query", query),
            ("key_value", np.concatenate([key, value])),
            ("result", result),
        ):
            layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
            layer.weight.data = torch.from_numpy(matrix)
            setattr(self, name, layer)


def slow_listener(listeners: Listeners, i: int, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """D_i: `s = x + SelfAttention(norm s)`, `s += Attention(norm s, H)`, `s += FFN(norm s)`."""
    matrices, biases, scales, shifts = (
        {name: array(value)[i] for name, value in kind.items()}
        for kind in (listeners.matrices, listeners.biases, listeners.scales, listeners.shifts)
    )

    def norm(name: str, rows: np.ndarray) -> np.ndarray:
        unit = [(row - row.mean()) / math.sqrt(row.var() + 1e-5) for row in rows]
        return np.array([row * scales[name][0] + shifts[name][0] for row in unit])

    own = norm("own", x)
    attention = OneListener(listeners.heads, *matrices["own"], matrices["own_result"])
    states = x + slow_attention(attention, own, own, lambda query, key: key <= query)[0]
    cross = OneListener(listeners.heads, matrices["query"], *matrices["memory"], matrices["result"])
    states = states + slow_attention(cross, norm("query", states), memory)[0]
    hidden = np.maximum(norm("first", states) @ matrices["first"].T + biases["first"], 0)
    return states + hidden @ matrices["second"].T + biases["second"]


def slow_shared(layer: nn.Module, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
    own = slow_norm(layer.self_norm, x)
    states = x + slow_attention(layer.self_attention, own, own, lambda query, key: key <= query)[0]
    states = (
        states
        + slow_attention(layer.cross_attention, slow_norm(layer.cross_norm, states), memory)[0]
    )
    return states + slow_feed_forward(layer.ffn, slow_norm(layer.ffn_norm, states), causal=True)


def slow_weights(logits: np.ndarray) -> np.ndarray:
    """Softmax of the five largest, else 0."""
    best = sorted(range(32), key=lambda k: -logits[k])[:5]
    weights = np.zeros(32)
    weights[best] = slow_softmax([float(logits[k]) for k in best])
    return weights


def test_emotion_listeners_and_meta_decoder_equal_the_equations() -> None:
    """`l = W h_CLS + b`, `z = D_0 + sum_i a_i D_i`, `o = norm(D_meta(z, H))`."""
    model = tiny("moel").double().eval()
    batch = collate(PAIRS, extra=2)
    memory, forced = model.encode(batch), taught(model, batch)
    for row, pair in enumerate(PAIRS):
        context = slow_encoder(
            model.encoder, slow_embedding(model.embed, pair.context, pair.speaker)
        )
        logits = slow_linear(model.classify, context[:1])[0]
        close(memory.emotion_logits[row], logits)
        weights = slow_weights(logits)
        close(memory.shares[row], weights)
        x = slow_embedding(model.embed, [SOS, *pair.target[:-1]])
        z = slow_shared(model.decoder.shared, x, context)
        for i in range(32):
            z = z + weights[i] * slow_listener(model.decoder.listeners, i, x, context)
        states, copy = slow_decoder(model.decoder, z, context)
        length = len(pair.target)
        close(forced.states[row, :length], states)
        close(forced.copy[forced.row == row][:, : len(pair.context)], copy)


def test_the_oracle_names_the_gold_listener_at_first_and_hardly_ever_late() -> None:
    """At step 0 always, at step 100,000 with probability 1e-4 + exp(-10), in evaluation never."""
    model, batch = tiny("moel", max_iterations=17_250), collate(PAIRS)
    words = model.embed.look_up(model.ids(batch))
    gold = torch.nn.functional.one_hot(batch.label, 32).float()
    torch.manual_seed(0)
    assert torch.equal(model.understand(batch, words).shares, gold) and model.steps == 1
    model.steps.fill_(100_000)
    model.understand(batch, words)
    late = [torch.equal(model.understand(batch, words).shares, gold) for _ in range(200)]
    assert not any(late) and model.steps == 100_201
    model.eval()
    assert not torch.equal(model.understand(batch, words).shares, gold) and model.steps == 100_201


@pytest.mark.parametrize(("budget", "step"), [(17_250, 10_000), (1_725, 1_000)])
def test_the_oracles_probability_falls_with_the_budget(budget: int, step: int) -> None:
    """As printed, exp(-t / 10000), in a training of 17,250 steps: at t = 10,000 it is 37 %.

    A training of a tenth of the steps is a tenth as long under the oracle.
    """
    model, batch = tiny("moel", max_iterations=budget), collate(PAIRS)
    words = model.embed.look_up(model.ids(batch))
    gold = torch.nn.functional.one_hot(batch.label, 32).float()
    torch.manual_seed(0)
    chosen = 0
    for _ in range(600):
        model.steps.fill_(step)
        chosen += torch.equal(model.understand(batch, words).shares, gold)
    share = 1e-4 + (1 - 1e-4) * math.exp(-1)
    assert abs(chosen / 600 - share) < 4 * math.sqrt(share * (1 - share) / 600)


def test_the_oracle_keeps_the_classifier_from_the_words() -> None:
    """With the oracle words do not train the classifier. Without it they do, through the shares."""
    model, batch = tiny("moel"), collate(PAIRS)
    model(batch).losses["generation"].backward()
    assert not model.classify.weight.grad.any()
    model.zero_grad()
    model.steps.fill_(1_000_000)
    torch.manual_seed(0)
    model(batch).losses["generation"].backward()
    assert model.classify.weight.grad.abs().sum() > 0


def test_with_the_oracle_only_the_gold_listener_learns() -> None:
    """At step 0 only listeners whose emotion is a gold label have a gradient."""
    model = tiny("moel")
    pairs = [
        replace(pair, label=label) for pair, label in zip(PAIRS, (3, 3, 31, 0, 17), strict=True)
    ]
    model(collate(pairs)).losses["generation"].backward()
    for rows in model.decoder.listeners.parameters():
        learns = rows.grad.flatten(1).abs().sum(dim=1) > 0
        assert set(learns.nonzero().flatten().tolist()) == {0, 3, 17, 31}


def test_only_the_five_listeners_of_a_context_change_its_states() -> None:
    """Other weights of the listeners outside the five change nothing; of one inside, the states."""
    model, batch = tiny("moel").eval(), collate(PAIRS[:1])
    before = taught(model, batch).states
    used = model.encode(batch).shares[0] > 0
    assert used.sum() == 5
    for whom, moves in ((~used, False), (used.nonzero()[-1], True)):
        with torch.no_grad():
            for rows in model.decoder.listeners.parameters():
                rows[whom] += 0.5
        if moves:
            differ(taught(model, batch).states, before)
        else:
            close(taught(model, batch).states, before, 0)


@pytest.mark.parametrize("ffn", ["linear", "conv"])
def test_steps_of_deeper_decoders_agree_with_teacher_forcing(ffn: str) -> None:
    """Caches of listeners and of three meta layers are apart; selected rows keep their own."""
    model, batch = tiny("moel", decoder_layers=3, ffn=ffn).double().eval(), collate(PAIRS)
    forced = taught(model, batch)
    rows = torch.tensor([3, 0, 4, 3])
    cache = model.start(model.encode(batch)).select(rows)
    length = min(len(PAIRS[row].target) for row in rows.tolist())
    token = torch.full_like(rows, SOS)
    for place in range(length):
        log_prob, _, copy = model.step(cache, token)
        token = batch.target[rows, place]
        for i, row in enumerate(rows.tolist()):
            own = forced.row == row
            close(log_prob[i, token[i]], forced.scores.log_prob[own][place])
            close(copy[i], forced.copy[own][place])
        if place == 0:  # answers end at different times
            rows, token, cache = (
                rows[[2, 1, 0]],
                token[[2, 1, 0]],
                cache.select(torch.tensor([2, 1, 0])),
            )
    assert length > 1


def test_each_listener_is_initialised_as_a_matrix_of_its_own() -> None:
    """Xavier's bound `sqrt(6 / (in + out))` is that of one matrix; norms are 1, biases are 0."""
    listeners = make_model(tiny_config(model="moel"), tiny_tables()).decoder.listeners
    depth, dim = listeners.heads * listeners.depth, 12
    assert listeners.matrices["own"].shape == (32, 3, depth, dim)
    for name, weights in listeners.matrices.items():
        bound = math.sqrt(6 / sum(weights.shape[-2:]))
        largest = weights.abs().flatten(1).amax(dim=1)
        assert (largest <= bound).all() and (largest > 0.5 * bound).all(), name
    assert all((scale == 1).all() for scale in listeners.scales.values())
    assert not any(
        value.any() for kind in (listeners.shifts, listeners.biases) for value in kind.values()
    )
