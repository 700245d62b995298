"""EmpDG against its equations, one pair at a time. Source: Li et al. (2020)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
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


def test_emotion_and_words_equal_the_equations() -> None:
    """Emotion words encoded by themselves; l from both CLS; memory and copying over both; W_emb l in the place of SOS."""
    model = tiny("empdg").double().eval()
    output = model(collate(PAIRS, extra=2))
    table, counts = array(model.embed.words.weight), set()
    expected = []
    for row, pair in enumerate(PAIRS):
        own = [CLS, *strong_words(model, pair)]
        counts.add(len(own))
        context = slow_encoder(model.encoder, slow_embedding(model.embed, pair.context, pair.speaker))
        emotion = slow_encoder(model.emotion_encoder, slow_embedding(model.embed, own))
        logits = slow_linear(model.classify, [np.concatenate([emotion[0], context[0]])])[0]
        close(output.emotion_logits[row], logits)
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
        model.begin.bias += torch.linspace(-1, 1, len(model.begin.bias))  # a constant would vanish in the LayerNorm
    differ(model(batch).token_nll, before)
    assert "first" in model.encode(replace(batch, target=None)).extra
