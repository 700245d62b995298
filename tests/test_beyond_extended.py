"""CTSM with the options beyond the paper: every loss against the equations, and invariances."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import model_cases as cases
import pytest
import torch
from beyond_cases import extended_tables, tiny_extended
from helpers import (
    FIRST_WORD,
    SIZE,
    close,
    collate,
    differ,
    normal,
    random_pairs,
    tiny_config,
    tiny_model,
    tiny_tables,
)
from model_cases import evaluate
from torch import nn

from ctsm_lib.config import ABLATIONS, PRESETS
from ctsm_lib.corpus import CLS, SOS, UNK
from ctsm_lib.interface import Tables
from ctsm_lib.model import CTSM
from ctsm_lib.registry import model_class
from ctsm_lib.settings import AnswerBias
from ctsm_workbench.beyond.extended import ExpertsMemory, ExtendedCTSM
from ctsm_workbench.beyond.extras import mean_of_experts

OPTIONS: dict[str, dict[str, Any]] = {
    "joint": {"fusion": "joint"},
    "joint conv": {"fusion": "joint", "ffn": "conv"},
    "bag expert": {"bag_expert": True, "student_label_weight": 0.5},
    "bag expert w/o EGM": {"bag_expert": True, "guidance": False},
    "copies more": {"copy_bias": 1.5},
    "copies once": {"copy_once": True},
    "biased": {
        "copy_once": True, "copy_bias": 0.7, "tilt": 0.4, "repeat_bias": -1.5, "bag_expert": True,
    },
    "improved": {
        "encoder_layers": 1, "decoder_layers": 2, "fusion": "joint", "tie_output": True,
        "output_bias": "unigram", "contrast_negatives": "cross", "student_label_weight": 1.0,
        "embedding_scale": 3.0,
    },
}  # fmt: skip
options = pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS.keys())
# Those that change how a context is read or an answer written.
READING = ["joint", "joint conv", "bag expert", "copies more", "biased"]
reading = pytest.mark.parametrize("changes", [OPTIONS[name] for name in READING], ids=READING)


def maker(changes: dict[str, Any], **more: Any) -> cases.Make:
    return partial(tiny_extended, **(changes | more))


# -------------------------------------------------------------------------- the paper's model in it

PAPER = ["paper", *(f"paper-{part}" for part in ABLATIONS)]


def both_models(**changes: Any) -> list[CTSM]:
    """CTSM and ExtendedCTSM as they are constructed from one seed."""
    config = tiny_config(**changes)
    assert model_class(config) is CTSM
    models = []
    after = []
    for kind in (CTSM, ExtendedCTSM):
        torch.manual_seed(5)
        models.append(kind(config, tiny_tables()))
        after.append(torch.rand(1).item())
    assert after[0] == after[1]  # they draw equally many random numbers
    return models


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("name", PAPER)
def test_without_options_it_equals_ctsm_to_the_bit(name: str, dropout: float) -> None:
    """Keys, weights, losses, gradients, evaluation and steps are those of the paper's model."""
    models = both_models(preset=name, dropout=dropout, **PRESETS[name])
    first, second = (model.state_dict() for model in models)
    assert list(first) == list(second)
    assert all(torch.equal(values, second[key]) for key, values in first.items())

    batch = collate(random_pairs(5))
    trained = []
    for model in models:
        torch.manual_seed(7)
        trained.append(model.train()(batch))
        trained[-1].losses["total"].backward()
    assert list(trained[0].losses) == list(trained[1].losses)
    for loss, value in trained[0].losses.items():
        assert torch.equal(value, trained[1].losses[loss]), loss
    parameters = [dict(model.named_parameters()) for model in models]
    assert list(parameters[0]) == list(parameters[1])
    for key, parameter in parameters[0].items():
        other = parameters[1][key].grad
        assert (parameter.grad is None) == (other is None), key
        assert parameter.grad is None or torch.equal(parameter.grad, other), key
    counts = [model.diversity.counts for model in models]
    assert counts[0].any() and torch.equal(*counts)

    evaluated = [evaluate(model, batch) for model in models]
    for field in ("emotion_logits", "token_nll", "token_row", "token_prediction"):
        assert torch.equal(*(getattr(output, field) for output in evaluated)), field
    question = replace(batch, target=None, label=None)
    with torch.no_grad():
        memories = [model.encode(question) for model in models]
        for field in ("states", "mask", "context", "emotion_logits", "pooling"):
            assert torch.equal(*(getattr(memory, field) for memory in memories)), field
        caches = [model.start(memory) for model, memory in zip(models, memories, strict=True)]
        token = torch.full((5,), SOS)
        for _ in range(4):
            steps = [model.step(cache, token) for model, cache in zip(models, caches, strict=True)]
            for ours, theirs in zip(*steps, strict=True):
                assert torch.equal(ours, theirs)
            token = steps[0][0].argmax(dim=1)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_registry_finds_the_extended_model_for_every_option(name: str) -> None:
    config = tiny_config(**OPTIONS[name])
    assert model_class(config) is ExtendedCTSM


# -------------------------------------------------------------- the equations, and every invariance


@options
def test_every_loss_equals_the_equations_pair_by_pair(changes: dict[str, Any]) -> None:
    """Losses, NLL and arg-max of each token, emotions and counts equal the equations."""
    cases.check_losses(maker(changes, seed=3))


@options
def test_training_is_finite_and_reaches_every_parameter(changes: dict[str, Any]) -> None:
    """Losses are finite, and every parameter has a finite gradient that is not zero."""
    cases.check_gradients_reach_every_parameter(maker(changes))


def test_dropout_acts_in_training_only() -> None:
    """Two training passes differ and are finite; evaluation is that of the model without."""
    improved = OPTIONS["improved"]
    cases.check_dropout(maker(improved, dropout=0.3), maker(improved))


def test_gradients_equal_finite_differences() -> None:
    """`(L(p + h d) - L(p - h d)) / 2h = gradient . d` in several directions, without a teacher."""
    changes = {"memory": "emotion", "fusion": "joint", "ffn": "conv", "tie_output": True}
    cases.check_gradients_by_differences(maker(changes, seed=3, temperature=0.5, guidance=False))


@reading
def test_a_pair_alone_is_the_pair_in_a_batch(changes: dict[str, Any]) -> None:
    """Padding of contexts, targets and knowledge changes no state, emotion or token's NLL."""
    cases.check_a_pair_alone(maker(changes))


@options
def test_more_padding_changes_no_training_loss(changes: dict[str, Any]) -> None:
    """PAD changes no training loss: teacher, Encoder_Y, views and L_div do not read it."""
    cases.check_more_padding(maker(changes))


@options
def test_order_of_the_batch_does_not_matter(changes: dict[str, Any]) -> None:
    """Pairs in another order have the same losses, and rows in that order."""
    cases.check_order(maker(changes))


@options
def test_gold_labels_change_no_prediction_and_no_perplexity(changes: dict[str, Any]) -> None:
    """In evaluation other labels change the label loss only, bit for bit."""
    cases.check_labels_do_not_leak(maker(changes))


@reading
def test_later_target_words_change_no_earlier_one(changes: dict[str, Any]) -> None:
    """Another word at t leaves NLL before t and predictions up to t, and changes NLL after t."""
    cases.check_later_words(maker(changes))


@pytest.mark.parametrize("tied", [False, True])
@reading
def test_answering_step_by_step_equals_teacher_forcing(changes: dict[str, Any], tied: bool) -> None:
    """`encode`, `start` and `step`, without target and label, give the NLL of scoring."""
    cases.check_answering_equals_scoring(maker(changes, tie_output=tied))


@reading
def test_knowledge_and_speaker_states_matter(changes: dict[str, Any]) -> None:
    """Each of the five relations and the speaker states change the answer's NLL."""
    cases.check_knowledge_and_speaker(maker(changes))


def test_the_model_learns_sixteen_pairs_by_heart() -> None:
    """Adam on all losses: NLL near 0, all emotions right, and greedy answers equal the targets."""
    torch.manual_seed(0)
    wide = {"dim": 20, "key_depth": 20, "ffn_dim": 32, "small_ffn_dim": 16}
    config = tiny_config(**(wide | OPTIONS["improved"]))
    cases.check_learns_by_heart(ExtendedCTSM(config, extended_tables(dim=20)))


def test_bf16_agrees_with_float32() -> None:
    """Losses are within 2 % (contrast: 5 %), and gradients have nearly the same direction."""
    torch.manual_seed(1)
    cases.check_bf16(ExtendedCTSM(tiny_config(**OPTIONS["improved"]), extended_tables()))


# ----------------------------------------------------------------------------------- biased answers

BIASES = {"copy_bias": 1.5, "tilt": 0.4, "repeat_bias": -1.5}


@pytest.mark.parametrize("name", BIASES)
def test_answer_biases_act_in_evaluation_only(name: str) -> None:
    """Losses and gradients of training are those without a bias, bit for bit; answers differ."""
    plain, biased = tiny_extended(), tiny_extended(**{name: BIASES[name]})
    assert biased.decoder.pointer.answer_bias == biased.config.answer_bias()
    assert biased.config.answer_bias() == AnswerBias(**{name: BIASES[name]})
    batch = collate(random_pairs(5))
    losses = []
    for model in (plain, biased):
        losses.append(model.train()(batch).losses)
        losses[-1]["total"].backward()
    for loss, value in losses[0].items():
        assert torch.equal(value, losses[1][loss]), loss
    for ours, theirs in zip(plain.parameters(), biased.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)

    before, after = evaluate(plain, batch), evaluate(biased, batch)
    assert torch.equal(before.emotion_logits, after.emotion_logits)
    differ(before.token_nll, after.token_nll)
    steps = []
    words = torch.arange(FIRST_WORD, SIZE).tolist()
    # One word for each row that cannot be copied there.
    absent = [next(word for word in words if word not in row) for row in batch.context.tolist()]
    token = torch.tensor(absent)
    with torch.no_grad():
        for model in (plain, biased):
            steps.append(model.step(model.start(model.encode(batch)), token))
    (log_prob, alpha, copy), (biased_log_prob, biased_alpha, biased_copy) = steps
    assert torch.equal(copy, biased_copy)
    differ(log_prob.exp(), biased_log_prob.exp())
    if name == "copy_bias":
        close((1 - biased_alpha) / biased_alpha, (1 - alpha) / alpha * torch.tensor(1.5).exp())
    else:
        assert torch.equal(alpha, biased_alpha)
    if name == "repeat_bias":
        rows = torch.arange(5)
        share = log_prob[rows, token].exp() / alpha
        less = share * torch.tensor(-1.5).exp()
        close(biased_log_prob[rows, token].exp() / alpha, less / (1 - share + less))


def test_the_tilt_uses_the_frequencies_of_a_loaded_checkpoint() -> None:
    """A model that is made with empty tables and then loaded answers as the one that was saved."""
    saved = tiny_extended(tilt=0.4)
    loaded = ExtendedCTSM(saved.config, Tables.empty(*saved.embed.words.weight.shape))
    loaded.load_state_dict(saved.state_dict())
    batch = collate(random_pairs(3))
    assert torch.equal(evaluate(saved, batch).token_nll, evaluate(loaded, batch).token_nll)


# ----------------------------------------------------------------------- bag, hidden words, dropout


def test_mean_of_experts_is_the_geometric_mean() -> None:
    """`softmax` of the result is `sqrt(p q)`, rescaled; the mean of two equal experts is theirs."""
    first, second = normal(4, 32) * 3, normal(4, 32, seed=1) * 3
    product = (first.softmax(dim=1) * second.softmax(dim=1)).sqrt()
    mean = mean_of_experts(first, second)
    close(mean.softmax(dim=1), product / product.sum(dim=1, keepdim=True))
    close(mean_of_experts(first, first).softmax(dim=1), first.softmax(dim=1))


def test_a_bag_of_words_learns_on_its_own() -> None:
    """The bag's loss trains the bag alone, and no other loss trains it.

    It depends on the words of the context and on nothing else.
    """
    model = tiny_extended(bag_expert=True)
    named = dict(model.named_parameters())
    losses = model.train()(collate(random_pairs(6))).losses
    for loss, value in losses.items():
        found = torch.autograd.grad(
            value, list(named.values()), allow_unused=True, retain_graph=True
        )
        gradients = zip(named, found, strict=True)
        trained = {name for name, gradient in gradients if gradient is not None and gradient.any()}
        bag = {name for name in trained if name.startswith("bag.")}
        expected = {"bag.votes.weight", "bag.bias"} if loss in ("bag", "total") else set()
        assert bag == expected, loss
        assert loss != "bag" or trained == bag
    pair = random_pairs(1)[0]
    other = replace(pair, knowledge=[[] for _ in pair.knowledge], target=pair.target[::-1], label=0)
    bags, students = [], []
    with torch.no_grad():
        for given in (pair, other):
            batch = collate([given])
            memory = model.eval().encode(batch)
            assert isinstance(memory, ExpertsMemory)
            bags.append(memory.bag_logits)
            students.append(model.read(batch).student_logits)
            assert torch.equal(memory.emotion_logits, mean_of_experts(students[-1], bags[-1]))
    assert torch.equal(*bags)
    differ(*students, 1e-4)


def test_hidden_words_are_read_as_unknown_in_training_only() -> None:
    """`word_dropout` hides words of the context, except special ones, from the encoders.

    Copying and the bag still have all words.
    """
    model = tiny_extended(word_dropout=0.999999, bag_expert=True, copy_once=True)
    pairs = random_pairs(5)
    batch = collate(pairs)
    unknown = [replace(pair, context=[CLS, *[UNK] * (len(pair.context) - 1)]) for pair in pairs]
    expected = model.eval().read(collate(unknown))
    read = model.train().read(batch)
    for name in ("E_C", "H_C", "V_ts", "intensity"):
        close(getattr(read, name), getattr(expected, name), 1e-6)
    memory = model.remember(batch, read)
    assert isinstance(memory, ExpertsMemory)
    assert torch.equal(memory.context, batch.context)
    close(memory.bag_logits, model.bag(batch.context, batch.speaker), 1e-6)
    differ(model.eval().read(batch).E_C, expected.E_C, 1e-3)


def test_word_dropout_is_the_share_of_hidden_words() -> None:
    """With 0.5 about half of 2,000 words are read as unknown."""
    half = tiny_extended(word_dropout=0.5).train()
    half.intensity.zero_()
    half.intensity[UNK] = 1.0  # so that the intensity of a token shows whether it is hidden
    pair = replace(random_pairs(1)[0], context=[CLS, *[FIRST_WORD] * 40], speaker=[CLS, *[4] * 40])
    torch.manual_seed(0)
    hidden = half.read(collate([pair] * 50)).intensity
    assert not hidden[:, 0].any()  # CLS
    assert 0.4 < hidden[:, 1:].mean() < 0.6


def test_head_dropout_is_before_the_classifiers() -> None:
    """`head_dropout` changes the losses of teacher and student in training, and no other."""
    model = tiny_extended(head_dropout=0.5)
    read: dict[nn.Module, list[torch.Tensor]] = {}
    for predictor in (model.student, model.teacher):
        assert predictor.classify.dropout.p == 0.5
        predictor.classify.register_forward_pre_hook(
            lambda layer, inputs: read.setdefault(layer, []).append(inputs[0])
        )
    batch = collate(random_pairs(4))
    losses = [
        {name: value.item() for name, value in model.train()(batch).losses.items()}
        for _ in range(2)
    ]
    assert {name for name in losses[0] if losses[0][name] != losses[1][name]} == {
        "student", "teacher", "student_label", "total",
    }  # fmt: skip
    for inputs in read.values():
        assert 0.2 < (torch.cat(inputs) == 0).float().mean() < 0.8
    first, second = (evaluate(model, batch).emotion_logits for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(first, evaluate(tiny_model(), batch).emotion_logits)
