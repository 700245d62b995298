"""KEMP against its equations, one pair at a time. Source: Li et al. (2022)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from baseline_cases import make_model, tiny
from helpers import (
    SIZE,
    array,
    close,
    collate,
    differ,
    random_pairs,
    slow_attention,
    slow_distribution,
    slow_embedding,
    slow_encoder,
    slow_feed_forward,
    slow_linear,
    slow_norm,
    slow_positions,
    slow_softmax,
    tiny_config,
    tiny_tables,
)
from torch import nn

from ctsm_lib.corpus import CLS, PAD, SOS
from ctsm_workbench.baselines.kemp import MOST

PAIRS = random_pairs(5)


def slow_concepts(model: nn.Module, context: list[int]) -> list[tuple[int, int]]:
    """(concept, place of its word), the strongest first, at most ten."""
    found = [
        (int(model.concepts[word]), place)
        for place, word in enumerate(context)
        if model.concepts[word] != PAD
    ]
    return sorted(found, key=lambda item: -float(model.intensity[item[0]]))[:MOST]


def slow_read(model: nn.Module, pair) -> dict:  # type: ignore[no-untyped-def]
    table = array(model.embed.words.weight)
    concepts = slow_concepts(model, pair.context)
    tokens = slow_embedding(model.embed, pair.context, pair.speaker)
    added = np.array([table[concept] * model.embed.scale for concept, _ in concepts]).reshape(
        -1, tokens.shape[1]
    )
    nodes, length = np.concatenate([tokens, added]), len(tokens)

    def linked(i: int, j: int) -> bool:
        if j < length:
            return j in (0, i - 1, i)
        return concepts[j - length][1] == i

    read, _ = slow_attention(model.graph, tokens, nodes, linked)
    states = slow_encoder(
        model.encoder, np.concatenate([slow_norm(model.graph_norm, tokens + read), added])
    )
    ids = [*pair.context, *[concept for concept, _ in concepts]]
    weights = np.array(slow_softmax([float(model.intensity[i]) for i in ids]))
    emotion = weights @ states
    return {
        "ids": ids,
        "states": states,
        "weights": weights,
        "emotion": emotion,
        "logits": slow_linear(model.classify, [emotion])[0],
    }


def slow_kemp_decoder(
    decoder: nn.Module, embedded: np.ndarray, memory: np.ndarray, emotion: np.ndarray
):  # type: ignore[no-untyped-def]
    states = embedded
    for layer in decoder.layers:
        normed = slow_norm(layer.self_norm, states)
        states = (
            states + slow_attention(layer.self_attention, normed, normed, lambda i, j: j <= i)[0]
        )
        attended, weights = slow_attention(
            layer.cross_attention, slow_norm(layer.cross_norm, states), memory
        )
        states = states + slow_linear(
            layer.join, [np.concatenate([row, emotion]) for row in attended]
        )
        normed = slow_norm(layer.ffn_norm, states)
        states = states + slow_feed_forward(layer.ffn, normed, causal=True)
    return slow_norm(decoder.norm, states), weights.mean(axis=0)


@pytest.mark.parametrize(
    "shape", [{}, {"encoder_layers": 2, "decoder_layers": 2, "tie_output": True}]
)
def test_graph_emotion_words_and_attention_loss_equal_the_equations(shape: dict) -> None:
    model = tiny("kemp", **shape).double()
    batch = collate(PAIRS, extra=2)
    torch.manual_seed(0)
    trained = model(batch).losses
    output = model.eval()(batch)
    memory, table = model.encode(batch), array(model.embed.words.weight)
    assert memory.mask.equal(memory.context != PAD)
    expected, attention, sizes = [], [], set()
    for row, pair in enumerate(PAIRS):
        slow = slow_read(model, pair)
        sizes.add(len(slow["ids"]) - len(pair.context))
        close(output.emotion_logits[row], slow["logits"])
        close(memory.states[row][memory.mask[row]], slow["states"])
        assert memory.context[row][memory.mask[row]].tolist() == slow["ids"]
        embedded = slow_embedding(model.embed, [SOS, *pair.target[:-1]])
        embedded[0] = slow_linear(model.begin, [slow["logits"]])[0] + slow_positions(1, 12)[0]
        states, copy = slow_kemp_decoder(model.decoder, embedded, slow["states"], slow["emotion"])
        attention.append(0.1 * float(np.mean((copy.mean(axis=0) - slow["weights"]) ** 2)))
        for place, word in enumerate(pair.target):
            mixture, _ = slow_distribution(
                model.decoder.pointer, states[place], copy[place], slow["ids"], table
            )
            expected.append(-np.log(mixture[word]))
    close(output.token_nll, expected)
    np.testing.assert_allclose(trained["attention"].item(), np.mean(attention), rtol=1e-5)
    assert "attention" not in output.losses and len(sizes) > 1


def test_ten_concepts_at_most_the_strongest_first() -> None:
    """Twenty words with a concept: ten are kept, by intensity, earlier ones first among equals."""
    model = tiny("kemp")
    model.concepts[:] = PAD
    words = list(range(10, 30))
    model.concepts[words] = torch.arange(30, 50)
    model.intensity[30:50] = 0.7
    model.intensity[[49, 41]] = torch.tensor([0.9, 0.8])
    concepts, place = model.context_concepts(torch.tensor([[CLS, *words], [CLS, 10, *[PAD] * 19]]))
    assert concepts[0].tolist() == [49, 41, 30, 31, 32, 33, 34, 35, 36, 37] and place[0].tolist()[
        :3
    ] == [20, 12, 1]
    assert concepts[1].tolist() == [30, *[PAD] * 9]


def test_a_token_reads_its_own_concept_and_no_others() -> None:
    """Another concept of the second word changes the graph's result at that word only."""
    model, pair = tiny("kemp").eval(), PAIRS[0]
    model.concepts[:] = PAD
    first, second = pair.context[2], pair.context[3]
    model.concepts[[first, second]] = torch.tensor([40, 41])
    results = []
    model.graph_norm.register_forward_hook(
        lambda module, inputs, output: results.append(output[0].detach())
    )
    for concept in (40, 42):
        model.concepts[first] = concept
        model.encode(collate([pair]))
    moved = (results[0] - results[1]).abs().amax(dim=1) > 1e-4
    assert moved.nonzero().flatten().tolist() == [2] + [
        i for i in range(3, len(pair.context)) if pair.context[i] == first
    ]


def test_strong_emotion_weighs_more_in_the_emotion_and_draws_attention() -> None:
    """w follows I. Attention equal to w costs nothing, other does. The loss moves the decoder."""
    model, batch = tiny("kemp"), collate(PAIRS)
    words = model.embed.look_up(model.ids(batch))
    memory = model.understand(batch, words)
    order = memory.weights.masked_fill(~memory.mask, 2.0).argsort(dim=1)
    strength = model.intensity[memory.context].masked_fill(~memory.mask, 2.0).gather(1, order)
    assert (strength.diff(dim=1) >= 0).all()
    taught = model.teach(memory, words["previous"], batch.target)
    loss = model.taught_losses(memory, taught)["attention"]
    assert loss.shape == (5,) and (loss > 0).all()
    loss.sum().backward()
    assert model.decoder.layers[0].cross_attention.query.weight.grad.abs().sum() > 0
    assert model.decoder.pointer.output.weight.grad is None
    ideal = replace(taught, copy=memory.weights[taught.row])
    close(model.taught_losses(memory, ideal)["attention"], torch.zeros(5), 1e-9)


def test_the_emotion_is_read_at_every_position() -> None:
    """Another c_e, with the same memory and first input, changes the first and later states."""
    model, batch = tiny("kemp").eval(), collate(PAIRS)
    words = model.embed.look_up(model.ids(batch))
    memory = model.understand(batch, words)

    def states() -> torch.Tensor:
        return model.teach(memory, words["previous"], batch.target).states

    before = states()
    memory.emotion = memory.emotion.flip(0)
    for place in range(2):
        differ(states()[:, place], before[:, place])


def test_without_concepts_the_context_keeps_its_own_edges() -> None:
    """A table without concepts and no table give the same numbers; the graph reads the context."""
    none = tiny_tables()
    empty = replace(none, more={"concepts": torch.full((SIZE,), PAD)})
    outputs = []
    for tables in (none, empty):
        torch.manual_seed(0)
        model = make_model(tiny_config(model="kemp"), tables).eval()
        outputs.append(model(collate(PAIRS)))
    close(outputs[0].token_nll, outputs[1].token_nll, 0)
    model.train()(collate(PAIRS)).losses["total"].backward()
    assert model.graph.key_value.weight.grad.abs().sum() > 0
