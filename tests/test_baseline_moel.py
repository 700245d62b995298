"""MoEL against its equations, one pair at a time. Source: Lin et al. (2019)."""

from __future__ import annotations

import math

import numpy as np
import torch
from baseline_cases import tiny
from helpers import (
    array,
    close,
    collate,
    random_pairs,
    slow_attention,
    slow_decoder,
    slow_embedding,
    slow_encoder,
    slow_feed_forward,
    slow_linear,
    slow_norm,
    slow_softmax,
)
from torch import nn

from ctsm_lib.baselines.moel import HEARD
from ctsm_lib.corpus import SOS

PAIRS = random_pairs(5)


def normed(rows: np.ndarray) -> np.ndarray:
    """A LayerNorm without weights."""
    return np.array([(row - row.mean()) / math.sqrt(row.var() + 1e-5) for row in rows])


class OneListener(nn.Module):
    """Listener i's attention in the form that `slow_attention` reads."""

    def __init__(self, heads: int, query: np.ndarray, key: np.ndarray, value: np.ndarray, result: np.ndarray):
        super().__init__()
        self.heads, self.depth = heads, len(query) // heads
        for name, matrix in (("query", query), ("key_value", np.concatenate([key, value])), ("result", result)):
            layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
            layer.weight.data = torch.from_numpy(matrix)
            setattr(self, name, layer)


def slow_listener(listeners: nn.Module, i: int, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """D_i: `s = x + SelfAttention(norm x)`, `s += Attention(norm s, H)`, `s += FFN(norm s)`."""
    depth = listeners.heads * listeners.depth
    own = array(listeners.own.weight).reshape(3, 32, depth, -1)
    keys = array(listeners.memory.weight).reshape(2, 32, depth, -1)
    matrices = {name: array(value)[i] for name, value in listeners.matrices.items()}
    attention = OneListener(listeners.heads, own[0, i], own[1, i], own[2, i], matrices["own_result"])
    states = x + slow_attention(attention, normed(x), normed(x), lambda query, key: key <= query)[0]
    cross = OneListener(listeners.heads, matrices["cross_query"], keys[0, i], keys[1, i], matrices["cross_result"])
    states = states + slow_attention(cross, normed(states), memory)[0]
    hidden = np.maximum(normed(states) @ matrices["first"].T + array(listeners.first_bias)[i], 0)
    return states + hidden @ matrices["second"].T + array(listeners.second_bias)[i]


def slow_shared(layer: nn.Module, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
    own = slow_norm(layer.self_norm, x)
    states = x + slow_attention(layer.self_attention, own, own, lambda query, key: key <= query)[0]
    states = states + slow_attention(layer.cross_attention, slow_norm(layer.cross_norm, states), memory)[0]
    return states + slow_feed_forward(layer.ffn, slow_norm(layer.ffn_norm, states))


def slow_weights(logits: np.ndarray) -> np.ndarray:
    """Softmax of the five largest, else 0."""
    best = sorted(range(32), key=lambda k: -logits[k])[:HEARD]
    weights = np.zeros(32)
    weights[best] = slow_softmax([float(logits[k]) for k in best])
    return weights


def test_emotion_listeners_and_meta_decoder_equal_the_equations() -> None:
    """`l = W h_CLS + b`, `z = D_0 + sum_i a_i D_i`, `o = norm(D_meta(z, H))`."""
    model = tiny("moel").double().eval()
    batch = collate(PAIRS, extra=2)
    memory = model.encode(batch)
    words = model.embed.look_up(model.ids(batch))
    taught = model.decoder.teach(model.embed, words["previous"], model.start(memory), batch.target)
    for row, pair in enumerate(PAIRS):
        context = slow_encoder(model.encoder, slow_embedding(model.embed, pair.context, pair.speaker))
        logits = slow_linear(model.classify, context[:1])[0]
        close(memory.emotion_logits[row], logits)
        weights = slow_weights(logits)
        close(memory.extra["heard"][row], weights)
        x = slow_embedding(model.embed, [SOS, *pair.target[:-1]])
        z = slow_shared(model.decoder.shared, x, context)
        for i in range(32):
            z = z + weights[i] * slow_listener(model.decoder.listeners, i, x, context)
        states, copy = slow_decoder(model.decoder, z, context)
        length = len(pair.target)
        close(taught.states[row, :length], states)
        close(taught.copy[taught.row == row][:, : len(pair.context)], copy)


def test_the_oracle_names_the_gold_listener_at_first_and_hardly_ever_late() -> None:
    """At step 0 always; at step 100,000 with probability 1e-4 + exp(-10); in evaluation never, and steps stand still."""
    model, batch = tiny("moel"), collate(PAIRS)
    words = model.embed.look_up(model.ids(batch))
    gold = torch.nn.functional.one_hot(batch.label, 32).float()
    torch.manual_seed(0)
    assert torch.equal(model.read(batch, words).extra["heard"], gold) and model.steps == 1
    model.steps.fill_(100_000)
    model.read(batch, words)
    late = [torch.equal(model.read(batch, words).extra["heard"], gold) for _ in range(200)]
    assert not any(late) and model.steps == 100_201
    model.eval()
    assert not torch.equal(model.read(batch, words).extra["heard"], gold) and model.steps == 100_201


def test_the_oracles_probability_falls_as_printed() -> None:
    """`1e-4 + (1 - 1e-4) exp(-t / 10000)`: at t = 10,000 about 37 of 100 batches are told."""
    model, batch = tiny("moel"), collate(PAIRS)
    words = model.embed.look_up(model.ids(batch))
    gold = torch.nn.functional.one_hot(batch.label, 32).float()
    torch.manual_seed(0)
    told = 0
    for _ in range(600):
        model.steps.fill_(10_000)
        told += torch.equal(model.read(batch, words).extra["heard"], gold)
    share = 1e-4 + (1 - 1e-4) * math.exp(-1)
    assert abs(told / 600 - share) < 4 * math.sqrt(share * (1 - share) / 600)


def test_gold_reaches_the_words_only_through_the_oracle() -> None:
    """With the oracle's word the answer depends on the label; the classifier's gradient then is the emotion loss's alone."""
    model, batch = tiny("moel"), collate(PAIRS)
    torch.manual_seed(0)
    output = model(batch)
    output.losses["generation"].backward()
    assert not model.classify.weight.grad.any()  # told: how l is computed does not matter to the words
    model.zero_grad()
    model.steps.fill_(1_000_000)
    model(batch).losses["generation"].backward()
    assert model.classify.weight.grad.abs().sum() > 0


def test_each_listener_is_initialised_as_a_matrix_of_its_own() -> None:
    """Xavier's bound `sqrt(6 / (in + out))` of one listener, not of 32 at once."""
    from helpers import tiny_config, tiny_tables

    from ctsm_lib.baselines import make_model

    listeners = make_model(tiny_config(model="moel"), tiny_tables()).decoder.listeners
    depth, dim = listeners.heads * listeners.depth, 12
    bound = math.sqrt(6 / (depth + dim))
    for weights in (listeners.own.weight, listeners.memory.weight, listeners.matrices["cross_query"]):
        assert 0.8 * bound < weights.abs().max() <= bound
