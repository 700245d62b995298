"""CEM against its equations, one pair at a time. Source: Sabour et al. (2022)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from baseline_cases import tiny
from beyond_cases import slow_joint_fusion
from helpers import (
    Pair,
    array,
    close,
    collate,
    differ,
    random_pairs,
    slow_decoder,
    slow_distribution,
    slow_embedding,
    slow_encoder,
    slow_knowledge,
    slow_linear,
    slow_separate_fusion,
)
from torch import nn

from ctsm_lib.corpus import CLS, SOS
from ctsm_workbench.beyond.extended import JointFusion

PAIRS = random_pairs(5)


def model(**changes: object) -> nn.Module:
    return tiny("cem", **changes).double().eval()


def slow_read(cem: nn.Module, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """H [L, D] and the emotion logits."""
    context = slow_encoder(cem.encoder, slow_embedding(cem.embed, pair.context, pair.speaker))
    knowledge = slow_knowledge(
        cem.knowledge, [slow_embedding(cem.embed, [CLS, *ids]) for ids in pair.knowledge]
    )
    fusion = cem.fusion
    matrix = np.concatenate(
        [array(fusion.emotion_context_in.weight), array(fusion.emotion_knowledge_in.weight)], axis=1
    )
    reaction = slow_encoder(
        fusion.emotional, np.array([matrix @ np.concatenate([s, knowledge[4]]) for s in context])
    )
    return slow_separate_fusion(fusion, context, knowledge), slow_linear(
        cem.classify, reaction[:1]
    )[0]


def test_context_and_emotion_equal_the_equations() -> None:
    """`H = W_2 relu(W_1 (sigmoid(Z) * Z))` is the memory, `l = W U_e[CLS]` the emotion."""
    cem = model()
    memory = cem.encode(collate(PAIRS, extra=2))
    for row, pair in enumerate(PAIRS):
        states, logits = slow_read(cem, pair)
        close(memory.states[row, : len(pair.context)], states)
        close(memory.emotion_logits[row], logits)
    assert not memory.losses and memory.first is None


def test_words_equal_the_equations() -> None:
    """`-log P(y_t)` of the decoder that attends to H; plain, without label smoothing."""
    cem, expected = model(), []
    for pair in PAIRS:
        memory, _ = slow_read(cem, pair)
        previous = slow_embedding(cem.embed, [SOS, *pair.target[:-1]])
        states, copy = slow_decoder(cem.decoder, previous, memory)
        words = array(cem.embed.words.weight)
        for place, word in enumerate(pair.target):
            mixture, _ = slow_distribution(
                cem.decoder.pointer, states[place], copy[place], pair.context, words
            )
            expected.append(-np.log(mixture[word]))
    output = cem(collate(PAIRS))
    close(output.token_nll, expected)
    close(output.losses["generation"], np.mean(expected))


def test_loss_is_words_emotion_and_diversity() -> None:
    """`L = NLL + CE + 1.5 L_div`, nothing else, and smoothing changes nothing."""
    for smoothing in (0.0, 0.3):
        cem = tiny("cem", label_smoothing=smoothing)
        losses = cem(collate(PAIRS)).losses
        assert set(losses) == {"generation", "diversity", "emotion", "total"}
        close(losses["total"], losses["generation"] + losses["emotion"] + 1.5 * losses["diversity"])


def test_of_the_phrases_only_the_reaction_moves_the_emotion() -> None:
    """Other cognitive phrases change the memory only; another reaction also the emotion."""
    cem, batch = model(), collate(PAIRS)
    before = cem.encode(batch)
    for relations, moves in ((slice(0, 4), False), (slice(4, 5), True)):
        knowledge = batch.knowledge.clone()
        part = knowledge[:, relations, 1:]
        part[part > 6] = (part[part > 6] + 11) % 40 + 7
        after = cem.encode(replace(batch, knowledge=knowledge))
        differ(after.states, before.states)
        if moves:
            differ(after.emotion_logits, before.emotion_logits)
        else:
            close(after.emotion_logits, before.emotion_logits)


def test_fusion_is_the_separate_one_whatever_the_setting_for_ctsm() -> None:
    cem = tiny("cem", fusion="joint")
    assert not any(isinstance(part, JointFusion) for part in cem.modules())


def test_with_joint_fusion_one_result_is_read_by_emotion_and_answer() -> None:
    """`H` is the joint fusion's result, and `l = W H[CLS]`."""
    cem = model(cem_fusion="joint")
    memory = cem.encode(collate(PAIRS, extra=2))
    for row, pair in enumerate(PAIRS):
        embedded = slow_embedding(cem.embed, pair.context, pair.speaker)
        inferences = [slow_embedding(cem.embed, [CLS, *ids]) for ids in pair.knowledge]
        knowledge = slow_knowledge(cem.knowledge, inferences)
        states = slow_joint_fusion(cem.fusion, slow_encoder(cem.encoder, embedded), knowledge)
        close(memory.states[row, : len(states)], states)
        close(memory.emotion_logits[row], slow_linear(cem.classify, states[:1])[0])


def test_without_any_phrase_the_learned_vectors_are_read_and_learned() -> None:
    pairs = [replace(pair, knowledge=[[]] * 5) for pair in PAIRS]
    cem = tiny("cem")
    cem(collate(pairs)).losses["total"].backward()
    gradient = cem.knowledge.absent.grad
    assert (
        gradient is not None
        and torch.isfinite(gradient).all()
        and (gradient.abs().sum(dim=1) > 0).all()
    )
    cem.double().eval()
    for row, pair in enumerate(pairs):
        close(cem.encode(collate(pairs)).emotion_logits[row], slow_read(cem, pair)[1])
