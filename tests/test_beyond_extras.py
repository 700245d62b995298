"""Extras for every system: a bag of words, hidden words, dropout before the classifier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from baseline_cases import SYSTEMS, tiny
from helpers import close, collate, differ, random_pairs, randomise

from ctsm_lib.config import preset
from ctsm_lib.corpus import CLS, UNK
from ctsm_lib.prepare import prepare
from ctsm_lib.runs import Run
from ctsm_lib.sources import SAMPLE, find_sources
from ctsm_lib.training import build_model
from ctsm_workbench.beyond.extras import mean_of_experts
from ctsm_workbench.study.evaluation import evaluate

TINY = ["dim=8", "heads=2", "key_depth=4", "ffn_dim=4", "knowledge=none", "max_response=3"]

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
    close(memory.bag_logits, bag, 1e-6)
    assert torch.equal(memory.emotion_logits, mean_of_experts(memory.own_logits, memory.bag_logits))
    assert getattr(alone, "own_logits", None) is None
    assert memory.own_logits.shape == alone.emotion_logits.shape


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
    assert memory.own_logits is None
    assert not memory.emotion_logits.any()


def test_a_system_without_an_emotion_is_scored_with_the_extras(tmp_path) -> None:
    """Preset `best` has a bag; the Transformer gets none, and can be scored."""
    config = preset("sample", ["model=transformer", *TINY, "bag_expert=true"])
    prepared = prepare(config, find_sources(SAMPLE), progress=False)
    model = build_model(config, prepared)
    assert model.bag is None
    run = Run(tmp_path, config, prepared.corpus.vocabulary, model, {}, prepared.description)
    scores, _ = evaluate(run, prepared, progress=False)
    assert scores["acc"] is scores["acc_own"] is scores["acc_bag"] is None
    assert scores["ppl_peer"] > 1


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


def test_results_have_the_accuracy_of_the_system_and_of_its_bag(tmp_path) -> None:
    """`acc_own` and `acc_bag` are those of the two experts, against the experts of `encode`."""
    config = preset("sample", ["model=multi-transformer", *TINY, "bag_expert=true"])
    prepared = prepare(config, find_sources(SAMPLE), progress=False)
    model = randomise(build_model(config, prepared), 3)
    run = Run(tmp_path, config, prepared.corpus.vocabulary, model.eval(), {}, prepared.description)
    scores, _ = evaluate(run, prepared, progress=False)
    pairs = prepared.pairs["test"]
    batch = pairs.collate(np.arange(len(pairs)))
    with torch.no_grad():
        memory = model.encode(batch)
    for name, logits in (("acc_own", memory.own_logits), ("acc_bag", memory.bag_logits)):
        expected = 100 * float((logits.argmax(dim=1).numpy() == pairs.label).mean())
        assert scores[name] == pytest.approx(expected), name
    assert scores["acc_own"] != scores["acc_bag"]


def test_without_a_bag_the_system_s_accuracy_is_the_accuracy(tmp_path) -> None:
    config = preset("sample", ["model=multi-transformer", *TINY, "bag_expert=false"])
    prepared = prepare(config, find_sources(SAMPLE), progress=False)
    model = build_model(config, prepared)
    run = Run(tmp_path, config, prepared.corpus.vocabulary, model, {}, prepared.description)
    scores, _ = evaluate(run, prepared, progress=False)
    assert scores["acc_own"] == scores["acc"]
    assert scores["acc_bag"] is None
