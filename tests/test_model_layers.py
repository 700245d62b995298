"""The backbone against its formulas: softmax, attention, feed-forward, encoder, embedding.

Paper: Eq. (1).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import (
    close,
    differ,
    normal,
    randomise,
    real_mask,
    slow_attention,
    slow_embedding,
    slow_encoder,
    slow_feed_forward,
    slow_norm,
    slow_positions,
    slow_softmax,
    tiny_config,
    tiny_model,
    tiny_tables,
)

from ctsm_lib.corpus import PAD
from ctsm_lib.kernels import Dropout, masked_mean, masked_softmax, positions
from ctsm_lib.model.layers import Attention, Encoder, EncoderLayer, FeedForward, TokenEmbedding
from ctsm_lib.settings import LayerSizes

FFNS = ("linear", "conv")
SMALL = LayerSizes(heads=2, key_depth=4, ffn_dim=8)


# ----------------------------------------------------------------------------------- masked softmax


def test_masked_softmax_is_the_softmax_of_the_open_places() -> None:
    """`e^s_j / sum over open k of e^s_k` at open places, exactly 0 at the others."""
    scores = normal(4, 3, 6) * 3
    mask = torch.rand(4, 3, 6, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[..., 2] = True
    weights = masked_softmax(scores, mask)
    for b in range(4):
        for i in range(3):
            places = [j for j in range(6) if mask[b, i, j]]
            close(weights[b, i, places], slow_softmax([float(scores[b, i, j]) for j in places]))
            assert all(weights[b, i, j] == 0 for j in range(6) if j not in places)
    close(weights.sum(dim=-1), torch.ones(4, 3))


def test_masked_softmax_of_a_closed_row_is_zero_with_zero_gradient() -> None:
    """A fully masked row gives zeros, never NaN, and no gradient. Other rows have finite ones."""
    scores = normal(2, 5).requires_grad_()
    weights = masked_softmax(scores, torch.tensor([[False] * 5, [True, True, True, False, False]]))
    assert torch.equal(weights[0], torch.zeros(5))
    (weights * normal(2, 5, seed=1)).sum().backward()
    assert scores.grad is not None
    assert torch.equal(scores.grad[0], torch.zeros(5, dtype=torch.float64))
    assert scores.grad[1].isfinite().all()
    assert scores.grad[1, :3].abs().min() > 1e-6
    assert torch.equal(scores.grad[1, 3:], torch.zeros(2, dtype=torch.float64))


def test_masked_softmax_survives_large_scores_and_broadcasts_its_mask() -> None:
    """Scores of 1e4 do not overflow; a mask [B, 1, M] broadcasts; closed places are not read."""
    scores = torch.tensor(
        [[[1e4, 1e4, -1e4, float("nan")], [0.0, math.log(3), 1e30, float("inf")]]]
    )
    weights = masked_softmax(scores, torch.tensor([[[True, True, False, False]]]))
    close(weights, [[[0.5, 0.5, 0, 0], [0.25, 0.75, 0, 0]]])


def test_masked_mean_is_the_mean_of_the_real_tokens() -> None:
    """`sum of real h_l / n`; zeros where n = 0."""
    states, lengths = normal(3, 5, 4), [5, 2, 0]
    mean = masked_mean(states, real_mask(lengths))
    for row, length in enumerate(lengths):
        expected = sum((states[row, i] for i in range(length)), torch.zeros(4)) / max(length, 1)
        close(mean[row], expected, 1e-12)
    assert torch.equal(mean[2], torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("dim", [12, 13])
def test_positions_are_sines_and_cosines(dim: int) -> None:
    """`sin(p / 10000^(2i/D))` at even, the cosine at odd columns; `start` shifts them."""
    close(positions(9, dim, torch.device("cpu")), slow_positions(9, dim))
    close(positions(3, dim, torch.device("cpu"), start=40), slow_positions(43, dim)[40:])


# ---------------------------------------------------------------------------------------- attention


@pytest.mark.parametrize("heads", [1, 2, 5])
def test_attention_equals_loops_over_heads_queries_and_keys(heads: int) -> None:
    """`softmax(q k / sqrt(depth)) v`.

    The width of keys (10) is neither that of queries (7) nor that of the memory (9).
    """
    attention = randomise(Attention(7, 9, LayerSizes(heads, key_depth=10))).double()
    queries, memory = normal(3, 4, 7), normal(3, 6, 9, seed=1)
    allowed = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(2)) < 0.6
    result, weights = attention(queries, attention.keys_values(memory), allowed)
    assert weights.shape == (3, heads, 4, 6)
    for row in range(3):
        mask = allowed[row]
        expected = slow_attention(
            attention, queries[row].numpy(), memory[row].numpy(), lambda i, j, m=mask: bool(m[i, j])
        )
        close(result[row], expected[0])
        close(weights[row], expected[1])


def test_attention_to_nothing_is_zero() -> None:
    """A query that may see no key gets zeros, not NaN, and finite gradients."""
    attention = randomise(Attention(6, 6, SMALL))
    states = normal(2, 3, 6, dtype=torch.float32).requires_grad_()
    result, weights = attention(
        states, attention.keys_values(states), real_mask([3, 0]).unsqueeze(1)
    )
    assert torch.equal(result[1], torch.zeros(3, 6))
    assert torch.equal(weights[1], torch.zeros(2, 3, 3))
    result.sum().backward()
    assert states.grad is not None
    assert states.grad.isfinite().all()


def test_attention_ignores_masked_memory() -> None:
    """Values at masked places have no effect; values at the others have."""
    attention = randomise(Attention(6, 6, SMALL)).double()
    queries = normal(1, 2, 6)
    memory = normal(1, 5, 6, seed=1)
    mask = real_mask([3], extra=2).unsqueeze(1)
    changed = memory.clone()
    changed[:, 3:] = 1e3
    before, after = (
        attention(queries, attention.keys_values(m), mask)[0] for m in (memory, changed)
    )
    close(after, before, 1e-12)
    changed[:, 2] += 1
    differ(attention(queries, attention.keys_values(changed), mask)[0], before)


# ------------------------------------------------------------------------------------- feed-forward


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", FFNS)
def test_feed_forward_equals_loops(kind: str, causal: bool) -> None:
    """`W_2 relu(W_1 x)` at each position.

    As a convolution it is `sum over taps k of W[k] x[t + k - left]`, with zeros outside.
    """
    ffn = randomise(FeedForward(6, replace(SMALL, ffn=kind), causal)).double()
    states, lengths = normal(3, 7, 6), [7, 4, 1]
    result = ffn(states, real_mask(lengths))
    for row, length in enumerate(lengths):
        expected = slow_feed_forward(ffn, states[row, :length].numpy(), causal)
        close(result[row, :length], expected, 1e-10)


def test_convolution_never_reads_padding() -> None:
    """PAD is set to zero before each of both convolutions.

    The baselines' released code does not do that: there the last tokens change with the batch.
    """
    ffn = randomise(FeedForward(6, replace(SMALL, ffn="conv"))).double()
    states, mask = normal(1, 6, 6), real_mask([4], extra=2)
    changed = states.clone()
    changed[:, 4:] = 100.0
    close(ffn(changed, mask)[:, :4], ffn(states, mask)[:, :4], 1e-12)
    close(ffn(states, mask)[:, :4], ffn(states[:, :4], mask[:, :4])[:, :4], 1e-12)


def test_causal_convolution_reaches_four_places_back_and_none_ahead() -> None:
    """The result at t depends on t - 4 .. t only: step-by-step decoding keeps these (`reach`)."""
    wide = LayerSizes(ffn_dim=20, ffn="conv")
    ffn = randomise(FeedForward(6, wide, causal=True)).double()
    states, mask = normal(1, 12, 6), torch.ones(1, 12, dtype=torch.bool)
    before = ffn(states, mask)
    changed = states.clone()
    changed[0, 5] += 1
    moved = (ffn(changed, mask) - before)[0].abs().amax(dim=1) > 1e-9
    assert moved.nonzero().flatten().tolist() == [5, 6, 7, 8, 9]
    assert ffn.reach == 4
    assert FeedForward(6, LayerSizes(ffn_dim=20, ffn="linear"), causal=True).reach == 0


# ------------------------------------------------------------------------------------------ encoder


def test_encoder_layer_is_pre_norm() -> None:
    """`y = x + Attention(norm x)`, then `y + FFN(norm y)`; no norm behind."""
    layer = randomise(EncoderLayer(6, SMALL)).double()
    states = normal(1, 5, 6)
    x = states[0].numpy()
    normed = slow_norm(layer.attention_norm, x)
    y = x + slow_attention(layer.attention, normed, normed)[0]
    expected = y + slow_feed_forward(layer.ffn, slow_norm(layer.ffn_norm, y))
    close(layer(states, torch.ones(1, 5, dtype=torch.bool))[0], expected)


@pytest.mark.parametrize("width", [6, 14, 43])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("ffn", FFNS)
def test_eq_1_encoder_equals_loops_on_each_row_alone(ffn: str, layers: int, width: int) -> None:
    """Eq. (1), (4), (9): `H = Encoder(E)`; a row of a padded batch equals the row without padding.

    Widths 14 and 43: heads divide the depth of the keys, not the width.
    """
    sizes = LayerSizes(heads=2, key_depth=10, ffn_dim=8, ffn=ffn)
    encoder = randomise(Encoder(width, layers, sizes)).double()
    states, lengths = normal(3, 6, width), [6, 3, 1]
    encoded = encoder(states, real_mask(lengths))
    for row, length in enumerate(lengths):
        close(encoded[row, :length], slow_encoder(encoder, states[row, :length].numpy()))


@pytest.mark.parametrize("ffn", FFNS)
def test_encoder_gives_finite_values_and_gradients_for_an_empty_row(ffn: str) -> None:
    """A row of PAD only: no NaN in it, and none in the gradients of the others."""
    encoder = randomise(Encoder(6, 2, replace(SMALL, ffn=ffn)))
    states = normal(2, 4, 6, dtype=torch.float32)
    states[0] = 0
    states.requires_grad_()
    encoded = encoder(states, real_mask([0, 4]))
    assert encoded.isfinite().all()
    encoded.sum(dim=(0, 1))[:3].sum().backward()
    gradients = [states.grad, *(parameter.grad for parameter in encoder.parameters())]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_dropout_acts_in_training_only() -> None:
    """With dropout two training passes differ. Evaluation equals that without dropout."""
    with_dropout, without = (
        randomise(Encoder(6, 1, replace(SMALL, dropout=rate))).double() for rate in (0.5, 0.0)
    )
    states, mask = normal(1, 5, 6), torch.ones(1, 5, dtype=torch.bool)
    torch.manual_seed(0)
    differ(with_dropout(states, mask), with_dropout(states, mask))
    assert torch.equal(with_dropout.eval()(states, mask), without(states, mask))


@pytest.mark.parametrize("rate", [0.15, 0.2, 0.5, 0.001, 0.999])
def test_dropout_drops_the_nearest_256th_and_keeps_the_mean(rate: float) -> None:
    """k/256 of the values are dropped, each independently, and the others grow by 256/(256 - k).

    The shares hold for every byte of a drawn number.
    """
    torch.manual_seed(1)
    module, values = Dropout(rate).train(), torch.ones(800_000, requires_grad=True)
    dropped = min(max(round(rate * 256), 1), 255)
    found = module(values)
    assert set(found.unique().tolist()) == {0.0, torch.tensor(256 / (256 - dropped)).item()}
    share, error = dropped / 256, (dropped / 256 * (1 - dropped / 256)) ** 0.5
    kept = (found.detach() == 0).double()
    assert abs(kept.mean().item() - share) < 5 * error / 800_000**0.5
    for byte in range(8):
        assert abs(kept[byte::8].mean().item() - share) < 5 * error / 100_000**0.5
    for apart in (1, 2, 4, 7, 8, 300):  # values are independent of each other
        both = ((kept[apart:] - share) * (kept[:-apart] - share)).mean().item()
        assert abs(both) < 5 * error**2 / 800_000**0.5
    found.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, found.detach())


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5, 7), (2, 0, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_dropout_takes_any_shape_and_dtype_and_repeats_with_the_seed(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Also views in another order of memory; the same seed drops the same values."""
    module, values = Dropout(0.5).train(), torch.ones(shape, dtype=dtype).transpose(0, -1)
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(module(values))
    assert torch.equal(*results)
    assert (results[0].shape, results[0].dtype) == (values.shape, dtype)
    assert module.eval()(values) is values
    assert Dropout(0.0).train()(values) is values


# ---------------------------------------------------------------------------------------- embedding


def test_embedding_is_word_plus_speaker_state_times_scale_plus_position() -> None:
    """`(word + speaker state) * scale + position`: the position is not scaled."""
    embed = TokenEmbedding(tiny_tables().vectors.double(), tiny_config(embedding_scale=3.0))
    ids = torch.tensor([[6, 9, 9, 20], [6, 30, 1, 1]])
    speaker = torch.tensor([[6, 4, 5, 4], [6, 4, 1, 1]])
    words = embed.look_up({"context": ids, "speaker": speaker})
    states = embed(words["context"], words["speaker"])
    plain = embed(words["context"], start=5)
    for row in range(2):
        close(states[row], slow_embedding(embed, ids[row].tolist(), speaker[row].tolist()))
        close(plain[row], slow_embedding(embed, ids[row].tolist(), start=5))


def test_look_up_gives_every_name_its_own_words() -> None:
    """One look-up for tensors of different shapes equals a look-up each."""
    embed = TokenEmbedding(tiny_tables().vectors, tiny_config(embedding_scale=3.0))
    ids = {
        "a": torch.tensor([[7, 8, 9]]),
        "b": torch.tensor([[[10], [11]]]),
        "c": torch.tensor([12]),
    }
    found = embed.look_up(ids)
    assert list(found) == ["a", "b", "c"]
    for name, value in ids.items():
        assert torch.equal(found[name], embed.words.weight[value] * 3.0)


def test_word_vectors_train_unless_frozen_and_pad_never_does() -> None:
    """The row of PAD gets no gradient from a look-up; `train_vectors=False` freezes the table."""
    embed = TokenEmbedding(tiny_tables().vectors, tiny_config(embedding_scale=3.0))
    embed.look_up({"x": torch.tensor([PAD, 7, 7])})["x"].sum().backward()
    gradient = embed.words.weight.grad
    assert gradient is not None
    assert torch.equal(gradient[PAD], torch.zeros(12))
    assert torch.equal(gradient[7], torch.full((12,), 6.0))
    assert not tiny_model(train_vectors=False).embed.words.weight.requires_grad


def test_slow_references_are_right_on_a_case_done_by_hand() -> None:
    """The references themselves: one head of depth 1 with unit matrices, and keys of two values."""
    attention = Attention(1, 1, LayerSizes(heads=1, key_depth=1))
    with torch.no_grad():
        for layer in (attention.query, attention.key_value, attention.result):
            layer.weight.fill_(1.0)
    result, weights = slow_attention(
        attention, np.array([[0.0], [math.log(3)]]), np.array([[0.0], [1.0]])
    )
    close(weights, [[[0.5, 0.5], [0.25, 0.75]]])
    close(result, [[0.5], [0.75]])
