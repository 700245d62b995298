"""Extras for every system: a bag of words, hidden words, dropout before the classifier."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from baseline_cases import SYSTEMS, tiny
from helpers import close, collate, differ, random_pairs

from ctsm_lib.corpus import CLS, UNK
from ctsm_workbench.beyond.extras import mean_of_experts

PREDICTING = [name for name in SYSTEMS if name != "transformer"]
every = pytest.mark.parametrize("name", SYSTEMS)
predicting = pytest.mark.parametrize("name", PREDICTING)


@predicting
def test_the_bag_contributes_to_the_emotion_of_every_system(name: str) -> None:
    """The emotion is the mean of the system's own and the bag's, which sees the words alone."""
    batch = collate(random_pairs(5))
    with torch.no_grad():
        memory = tiny(name, bag_expert=True).eval().encode(batch)
        alone = tiny(name).eval().encode(batch)
        bag = tiny(name, bag_expert=True).bag(batch.context, batch.speaker)
    close(memory.experts.bag, bag, 1e-6)
    assert torch.equal(
        memory.emotion_logits, mean_of_experts(memory.experts.own, memory.experts.bag)
    )
    assert getattr(alone, "experts", None) is None
    assert memory.experts.own.shape == alone.emotion_logits.shape


@predicting
def test_the_bag_learns_from_a_loss_of_its_own(name: str) -> None:
    """Its loss trains the bag alone, no other loss trains it, and the total has it."""
    model = tiny(name, bag_expert=True, seed=2).train()
    parameters = dict(model.named_parameters())
    losses = model(collate(random_pairs(6))).losses
    for loss, value in losses.items():
        found = torch.autograd.grad(
            value, list(parameters.values()), allow_unused=True, retain_graph=True
        )
        pairs = zip(parameters, found, strict=True)
        trained = {key for key, gradient in pairs if gradient is not None and gradient.any()}
        own = {"bag.votes.weight", "bag.bias"}
        assert trained & own == (own if loss in ("bag", "total") else set()), loss
        assert loss != "bag" or trained == own


def test_a_system_that_predicts_no_emotion_has_no_bag_s_emotion() -> None:
    memory = tiny("transformer", bag_expert=True).eval().encode(collate(random_pairs(3)))
    assert memory.experts is None
    assert not memory.emotion_logits.any()


@every
def test_hidden_words_are_unknown_to_the_encoder_and_known_to_copying(name: str) -> None:
    """With nearly all words hidden, a system reads UNK in training and copies the real words."""
    pairs = random_pairs(5)
    batch = collate(pairs)
    unknown = [replace(pair, context=[CLS, *[UNK] * (len(pair.context) - 1)]) for pair in pairs]
    model = tiny(name, word_dropout=0.999999)
    width = batch.context.shape[1]
    with torch.no_grad():
        seen = model.train().hide_words(batch)
        assert torch.equal(seen.context, collate(unknown).context)
        if name != "ctsm":
            memory, _ = model._read(batch)
            assert torch.equal(memory.context[:, :width], batch.context)
        if name not in ("mime", "moel", "ctsm"):  # MIME and MoEL draw random numbers in training
            close(memory.states, model._read(collate(unknown))[0].states, 1e-6)
        model.eval()
        assert model.hide_words(batch) is batch


@predicting
def test_dropout_before_the_classifier_acts_in_training_only(name: str) -> None:
    model = tiny(name, head_dropout=0.9)
    plain = tiny(name)
    batch = collate(random_pairs(5))
    with torch.no_grad():
        expected = plain.eval().encode(batch).emotion_logits
        close(model.eval().encode(batch).emotion_logits, expected, 0)
        torch.manual_seed(1)
        first = model.train()(batch).emotion_logits
        second = model(batch).emotion_logits
    differ(first, second, 1e-3)
