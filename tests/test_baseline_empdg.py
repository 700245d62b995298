"""EmpDG against its equations, one pair at a time. Source: Li et al. (2020)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from baseline_cases import tiny
from helpers import (
    array,
    close,
    collate,
    differ,
    random_pairs,
    slow_decoder,
    slow_distribution,
    slow_embedding,
    slow_encoder,
    slow_linear,
    slow_positions,
)

from ctsm_lib.corpus import CLS, PAD, SOS

PAIRS = random_pairs(5)


def strong_words(model, pair) -> list[int]:  # type: ignore[no-untyped-def]
    return [word for word in pair.context if float(model.intensity[word]) >= 0.6]


@pytest.mark.parametrize("shape", [{}, {"decoder_layers": 2, "ffn": "conv", "tie_output": True}])
def test_emotion_and_words_equal_the_equations(shape: dict) -> None:
    """Emotion words have an encoder; l reads both CLS; memory and copies of both; W_emb l first."""
    model, batch = tiny("empdg", **shape).double().eval(), collate(PAIRS, extra=2)
    output, memory = model(batch), model.encode(batch)
    assert memory.mask.equal(memory.context != PAD)
    table, counts = array(model.embed.words.weight), set()
    expected = []
    for row, pair in enumerate(PAIRS):
        own = [CLS, *strong_words(model, pair)]
        counts.add(len(own))
        context = slow_encoder(
            model.encoder, slow_embedding(model.embed, pair.context, pair.speaker)
        )
        emotion = slow_encoder(model.emotion_encoder, slow_embedding(model.embed, own))
        logits = slow_linear(model.classify, [np.concatenate([emotion[0], context[0]])])[0]
        close(output.emotion_logits[row], logits)
        assert memory.context[row][memory.mask[row]].tolist() == [*pair.context, *own]
        close(memory.states[row][memory.mask[row]], np.concatenate([context, emotion]))
        embedded = slow_embedding(model.embed, [SOS, *pair.target[:-1]])
        embedded[0] = slow_linear(model.begin, [logits])[0] + slow_positions(1, 12)[0]
        states, copy = slow_decoder(model.decoder, embedded, np.concatenate([context, emotion]))
        for place, word in enumerate(pair.target):
            mixture, _ = slow_distribution(
                model.decoder.pointer, states[place], copy[place], [*pair.context, *own], table
            )
            expected.append(-np.log(mixture[word]))
    close(output.token_nll, expected)
    assert len(counts) > 1  # contexts with more and with fewer emotion words


def test_words_of_weak_emotion_are_not_encoded_twice() -> None:
    """The intensity table decides, at 0.6; a context without strong words is CLS alone there."""
    model = tiny("empdg")
    model.intensity[:] = 0.59
    assert model.emotion_words(collate(PAIRS).context).tolist() == [[CLS]] * 5
    word = PAIRS[0].context[1]
    model.intensity[word] = 0.6
    found = model.emotion_words(collate(PAIRS[:1]).context)[0].tolist()
    assert found == [CLS, *[word] * PAIRS[0].context.count(word)]
    assert PAD not in found


def test_the_emotion_begins_the_answer() -> None:
    """Another emotion head changes the first word's probability; SOS itself is never read."""
    model, batch = tiny("empdg").eval(), collate(PAIRS)
    before = model(batch).token_nll
    with torch.no_grad():
        model.embed.words.weight[SOS] += 1.0
    close(model(batch).token_nll, before, 1e-5)  # untied: SOS is an input only
    with torch.no_grad():
        model.begin.bias += torch.linspace(
            -1, 1, len(model.begin.bias)
        )  # a constant would vanish in the LayerNorm
    differ(model(batch).token_nll, before)
    assert model.encode(replace(batch, target=None)).first is not None


def test_an_emotion_word_that_the_context_says_twice_can_be_copied_from_four_places() -> None:
    """Copy weights of a word's places add up, those among the emotion words too."""
    model = tiny("empdg").eval()
    word = PAIRS[0].context[1]  # the first word stands twice
    model.intensity[:] = 0.0
    model.intensity[word] = 1.0
    memory = model.encode(collate(PAIRS[:1]))
    places = memory.context[0] == word
    assert places.sum() == 2 * PAIRS[0].context.count(word) == 4
    with torch.no_grad():
        model.decoder.pointer.gate.bias.fill_(-20.0)  # only copying is left
        log_prob, _, copy = model.step(model.start(memory), torch.tensor([SOS]))
    close(log_prob[0, word].exp(), copy[0][places].sum(), 1e-4)
    assert copy[0][places].gt(0).all()
    close(copy.sum(), 1.0)


def test_the_loss_of_the_words_reaches_the_emotion_encoder_and_head() -> None:
    """Through the memory, and through the first input: neither is detached."""
    model = tiny("empdg")
    model(collate(PAIRS)).losses["generation"].backward()
    for part in (model.emotion_encoder, model.classify, model.begin):
        assert all(parameter.grad.abs().sum() > 0 for parameter in part.parameters())
