"""The whole model: every loss against the equations, invariances, and learning.

Paper: Eq. (1) to (25).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import model_cases as cases
import pytest
import torch
from helpers import close, collate, random_pairs, tiny_config, tiny_model, tiny_tables
from model_cases import evaluate

from ctsm_lib.config import Config
from ctsm_lib.corpus import EOS, PAD
from ctsm_lib.interface import Tables
from ctsm_lib.model import CTSM
from ctsm_lib.model.layers import Encoder

# Preset `paper`, its ablations (Table 3), and every option of the paper's architecture.
OPTIONS: dict[str, dict[str, Any]] = {
    "paper": {},
    "w/o TEE": {"trait": False},
    "w/o SEE": {"state": False},
    "w/o TEE & SEE": {"trait": False, "state": False},
    "w/o EGM": {"guidance": False},
    "w/o CCL": {"contrast": False},
    "w/o EGM & CCL": {"guidance": False, "contrast": False},
    "conv": {"ffn": "conv"},
    "two layers": {"encoder_layers": 2, "decoder_layers": 2},
    "two layers conv": {"encoder_layers": 2, "decoder_layers": 2, "ffn": "conv"},
    "memory emotion": {"memory": "emotion"},
    "memory emotion w/o SEE": {"memory": "emotion", "state": False},
    "cross": {"contrast_negatives": "cross", "temperature": 0.2},
    "tied": {"tie_output": True, "output_bias": "unigram"},
    "unigram": {"output_bias": "unigram"},
    "hard label": {"student_label_weight": 0.7},
    "weights": {
        "weight_emotion": 0.3, "weight_generation": 0.6, "weight_contrast": 1.7,
        "weight_diversity": 0.2, "student_label_weight": 0.5,
    },
    "frozen vectors": {"train_vectors": False},
}  # fmt: skip
options = pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS.keys())
# Those that change how a context is read or an answer written.
READING = ["paper", "w/o TEE", "w/o EGM", "conv", "two layers", "two layers conv", "memory emotion"]
reading = pytest.mark.parametrize("changes", [OPTIONS[name] for name in READING], ids=READING)


def maker(changes: dict[str, Any], **more: Any) -> cases.Make:
    return partial(tiny_model, **(changes | more))


@options
def test_eq_25_every_loss_equals_the_paper_pair_by_pair(changes: dict[str, Any]) -> None:
    """`L = g_1 (L_tchr + L_stu) + g_2 L_g + g_3 L_ccl + g_4 L_div`, for every ablation and option.

    The reference never pads or batches. NLL and arg-max of each token, and the counts of L_div, are
    compared as well.
    """
    cases.check_losses(maker(changes, seed=3))


def test_eq_25_default_weights_are_the_papers() -> None:
    """gamma = 1, 1, 1, 1.5; student without hard label; tau 0.07; every component on."""
    config = Config()
    assert config.weight_emotion == 1.0
    assert config.weight_generation == 1.0
    assert config.weight_contrast == 1.0
    assert config.weight_diversity == 1.5
    assert config.student_label_weight == 0.0
    assert config.temperature == 0.07
    assert config.compressed_dim == 10
    assert config.trait
    assert config.state
    assert config.guidance
    assert config.contrast


def test_eq_21_is_a_mean_over_tokens_of_the_whole_batch() -> None:
    """L_g = NLL / number of target tokens with EOS, not a mean of means; shares of it add up."""
    model, pairs = tiny_model(contrast=False), random_pairs(4)
    whole = collate(pairs)
    output = evaluate(model, whole)
    assert output.losses["generation"].item() == pytest.approx(
        output.token_nll.mean().item(), rel=1e-5
    )
    assert len(output.token_nll) == sum(len(pair.target) for pair in pairs)
    parts = [
        replace(collate(part), total_tokens=whole.total_tokens, total_pairs=4)
        for part in (pairs[::2], pairs[1::2])
    ]
    for name in ("generation", "student_label"):
        shares = [evaluate(model, part).losses[name].item() for part in parts]
        assert sum(shares) == pytest.approx(output.losses[name].item(), rel=1e-5)


# ----------------------------------------------------------------------------- widths and ablations


@pytest.mark.parametrize(
    ("changes", "width", "emotion"),
    [
        ({}, 357, 57),
        ({"trait": False}, 343, 43),
        ({"state": False}, 314, 14),
        ({"trait": False, "state": False}, 300, 0),
    ],
    ids=["paper", "w/o TEE", "w/o SEE", "neither"],
)
def test_eq_10_and_16_widths(changes: dict[str, Any], width: int, emotion: int) -> None:
    """`V^tchr = [H^tchr ; V_t ; V_s]`, `V^stu = [H^stu ; H_t ; H_s]`: 300 + 14 + 43 = 357.

    Without TEE it is 343, without SEE 314.
    """
    model = CTSM(Config(**changes), Tables.empty(40, 300))
    assert model.emotion.width == emotion
    for predictor in (model.student, model.teacher):
        assert predictor.attend.weight.shape == predictor.hidden.weight.shape == (width, width)
        assert predictor.classify.weight.shape == (32, width)
    assert model.decoder.layers[0].cross_attention.key_value.in_features == 300  # memory: H^stu
    if emotion:
        assert model.emotion_view is not None
        assert model.emotion_view.weight.shape == (300, emotion)
    else:
        assert model.emotion_view is None


def test_preset_paper_has_the_papers_backbone() -> None:
    """1 layer, 2 heads, depth 40 in all, 50 filters, no dropout, untied output, scale sqrt(300)."""
    model = CTSM(Config(), Tables.empty(40, 300))
    encoders = [module for module in model.modules() if isinstance(module, Encoder)]
    # Context, knowledge, refining twice, trait and state, response.
    assert len(encoders) == 1 + 2 + 2 + 2 + 2 + 1
    for encoder in encoders:
        assert len(encoder.layers) == 1
        layer = encoder.layers[0]
        attention = layer.attention
        assert (attention.heads, attention.depth) == (2, 20)
        assert layer.ffn.first.out_features == 50
    assert len(model.decoder.layers) == 1
    decoder = model.decoder.layers[0]
    assert decoder.self_attention.heads == 2
    assert decoder.cross_attention.depth == 20
    assert decoder.ffn.first.out_features == 50
    assert model.embed.scale == pytest.approx(300**0.5)
    assert all(module.p == 0 for module in model.modules() if isinstance(module, torch.nn.Dropout))
    assert model.decoder.pointer.output.weight.shape == (40, 300)


def test_memory_emotion_is_357_wide() -> None:
    """`memory="emotion"`: the decoder reads [H^stu ; H_t ; H_s]."""
    model = CTSM(Config(memory="emotion"), Tables.empty(40, 300))
    assert model.decoder.layers[0].cross_attention.key_value.in_features == 357


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"guidance": False}, ("teacher",)),
        ({"contrast": False}, ("target_encoder", "emotion_view")),
        ({"trait": False}, ("emotion.trait",)),
        ({"state": False}, ("emotion.state", "emotion.inclination")),
    ],
    ids=["w/o EGM", "w/o CCL", "w/o TEE", "w/o SEE"],
)
def test_ablations_build_nothing_that_they_leave_out(
    changes: dict[str, Any], gone: tuple[str, ...]
) -> None:
    """w/o EGM has no teacher, w/o CCL no Encoder_Y, w/o TEE and SEE no encoder of theirs.

    The full model has all of them.
    """
    for model, there in ((tiny_model(), True), (tiny_model(**changes), False)):
        for prefix in gone:
            assert any(name.startswith(prefix) for name, _ in model.named_parameters()) == there


def test_teacher_and_student_share_the_context_but_no_weights_of_their_own() -> None:
    """H_C, knowledge and emotion encoders are shared; fusion and predictor exist twice."""
    model = tiny_model()
    twice = ((model.teacher_fusion, model.student_fusion), (model.teacher, model.student))
    for first, second in twice:
        own = {p.data_ptr() for p in first.parameters()}
        assert not own & {p.data_ptr() for p in second.parameters()}


def test_a_model_does_not_change_the_tables_it_was_built_from() -> None:
    """Training one of two models of the same tables changes neither the tables nor the other."""
    tables = tiny_tables()
    before = tables.vectors.clone()
    first, second = CTSM(tiny_config(), tables), CTSM(tiny_config(), tables)
    with torch.no_grad():
        first.embed.words.weight[20] += 1
    assert torch.equal(tables.vectors, before)
    assert torch.equal(second.embed.words.weight, before)


# ---------------------------------------------------------------------------------------- gradients


@options
def test_training_is_finite_and_reaches_every_parameter(changes: dict[str, Any]) -> None:
    """Losses are finite, and every parameter has a finite gradient that is not zero."""
    cases.check_gradients_reach_every_parameter(maker(changes))


def test_dropout_acts_in_training_only() -> None:
    """Two training passes differ and are finite; evaluation is that of the model without."""
    cases.check_dropout(maker({}, dropout=0.3), maker({}))


# The parts that each loss trains. All five also train the embedding, Encoder_C and knowledge.
TRAINS: dict[str, set[str]] = {
    "generation": {"student_fusion", "decoder"},
    "diversity": {"student_fusion", "decoder"},
    "teacher": {"teacher_fusion", "teacher", "emotion.compress", "emotion.inclination"},
    "student": {"student_fusion", "student", "emotion"},
    "contrast": {
        "student_fusion",
        "emotion",
        "emotion_view",
        "target_encoder",
        "decoder.layers",
        "decoder.norm",
    },
}


@pytest.mark.parametrize("loss", TRAINS)
def test_each_loss_trains_what_the_paper_says(loss: str) -> None:
    """L_g and L_div train fusion and decoder, L_tchr V_t and V_s, L_stu H_t and H_s.

    L_ccl trains all views, and L_tchr does not train H_t and H_s.
    """
    model = tiny_model()
    named = dict(model.named_parameters())
    value = model.train()(collate(random_pairs(6))).losses[loss]
    found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
    trained = {
        name
        for name, gradient in zip(named, found, strict=True)
        if gradient is not None and gradient.any()
    }
    parts = TRAINS[loss] | {"embed", "encoder", "knowledge"}
    assert trained == {name for name in named if any(name.startswith(f"{part}.") for part in parts)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"memory": "emotion", "ffn": "conv", "tie_output": True},
        {"contrast_negatives": "cross", "encoder_layers": 2, "decoder_layers": 2},
    ],
    ids=["w/o EGM", "memory emotion conv tied", "cross two layers"],
)
def test_gradients_equal_finite_differences(changes: dict[str, Any]) -> None:
    """`(L(p + h d) - L(p - h d)) / 2h = gradient . d` in several directions, without a teacher."""
    cases.check_gradients_by_differences(maker(changes, seed=3, temperature=0.5, guidance=False))


def test_eq_18_trains_the_student_not_the_teacher() -> None:
    """No gradient of L_stu reaches the teacher's fusion and predictor; L_tchr's reaches all."""
    model = tiny_model()
    losses = model.train()(collate(random_pairs(3))).losses
    teacher = [*model.teacher.parameters(), *model.teacher_fusion.parameters()]
    soft = torch.autograd.grad(losses["student"], teacher, retain_graph=True, allow_unused=True)
    assert all(gradient is None for gradient in soft)
    hard = torch.autograd.grad(losses["teacher"], teacher, retain_graph=True)
    assert all(gradient.any() for gradient in hard)
    student = torch.autograd.grad(losses["student"], list(model.student.parameters()))
    assert all(gradient.any() for gradient in student)


def test_the_student_learns_from_soft_labels_only() -> None:
    """Preset `paper`: gold labels change no gradient of the student's predictor.

    L_stu, L_g, L_ccl and L_div do not depend on the label. Without EGM the student's loss does.
    """
    pairs = random_pairs(3)
    flipped = [replace(pair, label=(pair.label + 5) % 32) for pair in pairs]
    for changes, equal in (
        ({}, True),
        ({"student_label_weight": 1.0}, False),
        ({"guidance": False}, False),
    ):
        gradients = []
        for given in (pairs, flipped):
            model = tiny_model(**changes)
            model.train()(collate(given)).losses["total"].backward()
            gradients.append(model.student.classify.bias.grad)
        assert torch.equal(*gradients) == equal, changes


@pytest.mark.parametrize("tied", [False, True])
def test_pad_row_stays_zero_in_training(tied: bool) -> None:
    """No gradient moves the PAD row of the word table, with a tied output layer neither."""
    model = tiny_model(tie_output=tied)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        model.train()(collate(random_pairs(3))).losses["total"].backward()
        optimizer.step()
    assert not model.embed.words.weight[PAD].any()


# -------------------------------------------------------------------------------------- invariances


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


def test_targets_do_not_leak_into_what_is_read() -> None:
    """The context's states and the emotion are the same with another target and without any."""
    model, pairs = tiny_model().eval(), random_pairs(4)
    other = [replace(pair, target=[8, 9, EOS]) for pair in pairs]
    batches = [collate(pairs), collate(other), replace(collate(pairs), target=None, label=None)]
    memories = [model.encode(batch) for batch in batches]
    for memory in memories[1:]:
        assert torch.equal(memory.states, memories[0].states)
        assert torch.equal(memory.emotion_logits, memories[0].emotion_logits)
        assert torch.equal(memory.pooling, memories[0].pooling)


def test_evaluation_runs_the_students_path_only() -> None:
    """Teacher, Encoder_Y and contrastive view do not run, and the counts of L_div do not change."""
    model, called = tiny_model(), []
    for name in ("teacher", "teacher_fusion", "target_encoder", "emotion_view"):
        part = getattr(model, name)
        part.register_forward_hook(lambda *_, name=name: called.append(name))
    output = evaluate(model, collate(random_pairs(3)))
    assert called == []
    assert set(output.losses) == {"generation", "student_label", "total"}
    assert output.teacher_logits is None
    assert not model.diversity.counts.any()
    model.train()(collate(random_pairs(3)))
    assert sorted(called) == ["emotion_view", "target_encoder", "teacher", "teacher_fusion"]
    assert model.diversity.counts.any()


@reading
def test_later_target_words_change_no_earlier_one(changes: dict[str, Any]) -> None:
    """Another word at t leaves NLL before t and predictions up to t, and changes NLL after t."""
    cases.check_later_words(maker(changes))


@pytest.mark.parametrize("tied", [False, True])
@reading
def test_answering_step_by_step_equals_teacher_forcing(changes: dict[str, Any], tied: bool) -> None:
    """`encode`, `start` and `step`, without target and label, give the NLL of scoring."""
    cases.check_answering_equals_scoring(maker(changes, tie_output=tied))


def test_a_context_of_nothing_but_pad_is_finite() -> None:
    """A fully masked row has a pooling of zeros, never NaN, and leaves all gradients finite."""
    model, batch = tiny_model(), collate(random_pairs(3))
    batch.context[1] = batch.speaker[1] = batch.knowledge[1] = PAD
    output = model.train()(batch)
    output.losses["total"].backward()
    assert all(loss.isfinite() for loss in output.losses.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    memory = model.encode(batch)
    assert not memory.pooling[1].any()
    assert memory.emotion_logits.isfinite().all()


def test_one_pair_has_no_contrastive_loss() -> None:
    """B = 1 gives exactly 0, and the other losses train."""
    losses = tiny_model().train()(collate(random_pairs(1))).losses
    assert losses["contrast"].item() == 0.0
    rest = losses["teacher"] + losses["student"] + losses["generation"] + 1.5 * losses["diversity"]
    assert losses["total"].item() == pytest.approx(rest.item(), rel=1e-6)


@reading
def test_knowledge_and_speaker_states_matter(changes: dict[str, Any]) -> None:
    """Each of the five relations and the speaker states change the answer's NLL."""
    cases.check_knowledge_and_speaker(maker(changes))


# --------------------------------------------------------------------------- learning and precision


def test_the_model_learns_sixteen_pairs_by_heart() -> None:
    """Adam on all losses: NLL near 0, all emotions right, and greedy answers equal the targets."""
    torch.manual_seed(0)
    config = tiny_config(dim=20, key_depth=20, ffn_dim=32, small_ffn_dim=16)
    cases.check_learns_by_heart(CTSM(config, tiny_tables(dim=20)))


BF16 = ["paper", "conv", "memory emotion", "w/o EGM"]


@pytest.mark.parametrize("changes", [OPTIONS[name] for name in BF16], ids=BF16)
def test_bf16_agrees_with_float32(changes: dict[str, Any]) -> None:
    """Losses are within 2 % (contrast: 5 %), and gradients have nearly the same direction."""
    torch.manual_seed(1)
    cases.check_bf16(CTSM(tiny_config(**changes), tiny_tables()))


def test_cosine_stays_within_its_bounds_in_bf16() -> None:
    """Eq. (7) is a true cosine under autocast as well: within [-1, 1]."""
    model = tiny_model()
    assert model.emotion.inclination is not None
    inclination = model.emotion.inclination
    inclination.tokens.load_state_dict(inclination.emotion_words.state_dict())
    labels = model.embed.words.weight[model.labels].detach()
    everywhere = torch.ones(1, 32, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        cosine = inclination(labels.unsqueeze(0), labels, everywhere)[0]
    assert cosine.abs().max() <= 1
    close(cosine.diagonal(), torch.ones(32), 1e-2)  # a label with itself
