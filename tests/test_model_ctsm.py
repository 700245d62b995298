"""The whole model: every loss against the equations, invariances, and that it learns. Paper: Eq. (1) to (25)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import (
    FIRST_WORD,
    SIZE,
    Pair,
    array,
    close,
    collate,
    differ,
    random_pairs,
    slow_bag,
    slow_cosine,
    slow_decoder,
    slow_distribution,
    slow_embedding,
    slow_encoder,
    slow_joint_fusion,
    slow_knowledge,
    slow_linear,
    slow_pair_loss,
    slow_predictor,
    slow_separate_fusion,
    slow_softmax,
    tiny_config,
    tiny_model,
    tiny_tables,
    unit,
)
from torch import Tensor

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import CLS, EOS, PAD, SOS, UNK
from ctsm_lib.interface import Output, Tables
from ctsm_lib.model import CTSM
from ctsm_lib.model.layers import Encoder

# Preset `paper`, its ablations (Table 3), and every option of the architecture.
OPTIONS: dict[str, dict[str, Any]] = {
    "paper": {},
    "w/o TEE": {"trait": False},
    "w/o SEE": {"state": False},
    "w/o TEE & SEE": {"trait": False, "state": False},
    "w/o EGM": {"guidance": False},
    "w/o CCL": {"contrast": False},
    "w/o EGM & CCL": {"guidance": False, "contrast": False},
    "conv": {"ffn": "conv"},
    "joint": {"fusion": "joint"},
    "joint conv": {"fusion": "joint", "ffn": "conv"},
    "two layers": {"encoder_layers": 2, "decoder_layers": 2},
    "two layers conv": {"encoder_layers": 2, "decoder_layers": 2, "ffn": "conv"},
    "memory emotion": {"memory": "emotion"},
    "memory emotion w/o SEE": {"memory": "emotion", "state": False},
    "cross": {"contrast_negatives": "cross", "temperature": 0.2},
    "tied": {"tie_output": True, "output_bias": "unigram"},
    "unigram": {"output_bias": "unigram"},
    "hard label": {"student_label_weight": 0.7},
    "weights": {
        "weight_emotion": 0.3, "weight_generation": 0.6, "weight_contrast": 1.7, "weight_diversity": 0.2,
        "student_label_weight": 0.5,
    },
    "frozen vectors": {"train_vectors": False},
    "bag expert": {"bag_expert": True, "student_label_weight": 0.5},
    "bag expert w/o EGM": {"bag_expert": True, "guidance": False},
    "copies more": {"copy_bias": 1.5},
    "copies once": {"copy_once": True},
    "leans": {"copy_once": True, "copy_bias": 0.7, "tilt": 0.4, "repeat_bias": -1.5, "bag_expert": True},
    "improved": {
        "encoder_layers": 1, "decoder_layers": 2, "fusion": "joint", "tie_output": True, "output_bias": "unigram",
        "contrast_negatives": "cross", "student_label_weight": 1.0, "embedding_scale": 3.0,
    },
}  # fmt: skip
options = pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS.keys())
# Those that change what reads a context or writes an answer.
READING = [
    "paper",
    "w/o TEE",
    "w/o EGM",
    "conv",
    "joint",
    "joint conv",
    "two layers",
    "two layers conv",
    "memory emotion",
    "bag expert",
    "copies more",
    "leans",
]
reading = pytest.mark.parametrize("changes", [OPTIONS[name] for name in READING], ids=READING)


def evaluate(model: CTSM, batch: Batch) -> Output:
    with torch.no_grad():
        return model.eval()(batch)


def rows_of(output: Output, values: Tensor, count: int) -> list[Tensor]:
    """Values of real target tokens, pair by pair."""
    return [values[output.token_row == row] for row in range(count)]


# ---------------------------------------------------------------------------------- the paper's equations, pair by pair


def paper(model: CTSM, pairs: list[Pair]) -> dict[str, Any]:
    """Eq. (1) to (25) for each pair alone, in loops and float64; counts of L_div as they stand before this batch."""
    config, words = model.config, array(model.embed.words.weight)
    fuse = slow_separate_fusion if config.fusion == "separate" else slow_joint_fusion
    nll, target_words, predictions, teacher_losses, student_losses, hard_losses, logits = (
        [],
        [],
        [],
        [],
        [],
        [],
        [],
    )
    bag_losses = []
    views: dict[str, list[np.ndarray]] = {"H_Y": [], "H_ts": [], "H_stu": [], "P_w": []}
    counts = array(model.diversity.counts).copy()
    for pair in pairs:
        e_c = slow_embedding(model.embed, pair.context, pair.speaker)
        h_c = slow_encoder(model.encoder, e_c)  # (1)
        k = slow_knowledge(
            model.knowledge, [slow_embedding(model.embed, [CLS, *ids]) for ids in pair.knowledge]
        )
        h_stu = fuse(model.student_fusion, h_c, k)
        idf = array(model.idf)[pair.context].reshape(-1, 1)
        intensity = array(model.intensity)[pair.context].tolist() if config.guidance else None
        meaning = slow_linear(model.emotion.compress, h_c)  # (3)
        embeddings, encoded = [], []
        if config.trait:
            v_t = np.concatenate([array(model.vad)[pair.context], idf, meaning], axis=1)  # (2)
            embeddings.append(v_t)
            encoded.append(slow_encoder(model.emotion.trait_encoder, v_t))  # (4)
        if config.state:
            labels = words[model.labels] * config.embedding_scale
            e_e = slow_linear(model.emotion.inclination.emotion_words, labels)  # (5)
            v_cos = slow_cosine(slow_linear(model.emotion.inclination.tokens, e_c), e_e)  # (6), (7)
            v_s = np.concatenate([v_cos, idf, meaning], axis=1)  # (8)
            embeddings.append(v_s)
            encoded.append(slow_encoder(model.emotion.state_encoder, v_s))  # (9)
        v_stu = np.concatenate([h_stu, *encoded], axis=1)  # (16)
        student, _ = slow_predictor(model.student, v_stu, intensity)  # (17), (12) to (14)
        logits.append(student)
        hard_losses.append(-np.log(slow_softmax(student)[pair.label]))
        if config.bag_expert:
            bag = slow_bag(model.bag, pair.context, pair.speaker)
            bag_losses.append(-np.log(slow_softmax(bag)[pair.label]))
            logits[-1] = (np.log(slow_softmax(student)) + np.log(slow_softmax(bag))) / 2
        if config.guidance:
            h_tchr = fuse(model.teacher_fusion, h_c, k)
            teacher, _ = slow_predictor(
                model.teacher, np.concatenate([h_tchr, *embeddings], axis=1), intensity
            )  # (10)
            teacher_losses.append(-np.log(slow_softmax(teacher)[pair.label]))  # (15)
            student_losses.append(
                -np.array(slow_softmax(teacher)) @ np.log(slow_softmax(student))
            )  # (18)

        e_y = slow_embedding(model.embed, [SOS, *pair.target[:-1]])
        memory = v_stu if config.memory == "emotion" else h_stu
        states, copy = slow_decoder(model.decoder, e_y, memory)  # (20)
        ended = False
        for place, word in enumerate(pair.target):
            said = [SOS, *pair.target[:place]]
            given = (
                states[place],
                copy[place],
                pair.context,
                words,
                said,
                said[-1],
                array(model.log_unigram),
            )
            mixture, _ = slow_distribution(model.decoder.pointer, *given)
            nll.append(-np.log(mixture[word]))  # (21)
            target_words.append(word)
            predictions.append(int(mixture.argmax()))
            ended = ended or predictions[-1] == EOS
            counts[predictions[-1]] += not ended
        if config.contrast:
            h_y = slow_encoder(model.target_encoder, slow_embedding(model.embed, pair.target))
            h_ts = (
                slow_linear(model.emotion_view, np.concatenate(encoded, axis=1))
                if encoded
                else h_stu
            )
            for name, view in (("H_Y", h_y), ("H_ts", h_ts), ("H_stu", h_stu), ("P_w", states)):
                views[name].append(unit(view.mean(axis=0)))

    weights = 1 - counts / max(counts.max(), 1)
    weights = weights / weights.mean()
    losses = {
        "generation": np.mean(nll),
        "diversity": np.mean(
            [weights[word] * loss for word, loss in zip(target_words, nll, strict=True)]
        ),
        "student_label": np.mean(hard_losses),
    }
    if config.guidance:
        losses |= {"teacher": np.mean(teacher_losses), "student": np.mean(student_losses)}
        emotion = (
            losses["teacher"]
            + losses["student"]
            + config.student_label_weight * losses["student_label"]
        )  # (19)
    else:
        emotion = losses["student_label"]
    if config.bag_expert:
        losses["bag"] = np.mean(bag_losses)
        emotion += losses["bag"]
    if config.contrast:
        five = [
            ("H_Y", "H_ts"),
            ("H_stu", "P_w"),
            ("H_stu", "H_Y"),
            ("H_ts", "P_w"),
            ("H_Y", "P_w"),
        ]  # (22)
        each = (np.array(views[a]) for pair in five for a in pair)
        pair_losses = [
            slow_pair_loss(a, b, config.temperature, config.contrast_negatives)
            for a, b in zip(each, each, strict=True)
        ]  # (23)
        losses["contrast"] = sum(pair_losses) / 5  # (24)
    losses["total"] = (
        config.weight_emotion * emotion
        + config.weight_generation * losses["generation"]
        + config.weight_contrast * losses.get("contrast", 0.0)
        + config.weight_diversity * losses["diversity"]
    )  # (25)
    return {
        "losses": losses,
        "nll": nll,
        "predictions": predictions,
        "logits": logits,
        "counts": counts,
    }


@options
def test_eq_25_every_loss_equals_the_paper_pair_by_pair(changes: dict[str, Any]) -> None:
    """`L = g_1 (L_tchr + L_stu) + g_2 L_g + g_3 L_ccl + g_4 L_div`, from a reference that never pads or batches.

    With it every loss of every ablation and option, NLL and arg-max of each token, and the counts of L_div.
    """
    model, pairs = tiny_model(seed=3, **changes), random_pairs(4, seed=1)
    model.diversity.counts.copy_(
        torch.randint(0, 30, (SIZE,), generator=torch.Generator().manual_seed(2))
    )
    expected = paper(model, pairs)
    output = model.train()(collate(pairs))
    assert set(output.losses) == set(expected["losses"])
    for name, value in expected["losses"].items():
        assert output.losses[name].item() == pytest.approx(value, rel=1e-4, abs=1e-5), name
    close(output.token_nll, expected["nll"], 1e-4)
    close(output.emotion_logits, np.array(expected["logits"]), 1e-4)
    assert output.token_prediction.tolist() == expected["predictions"]
    assert model.diversity.counts.tolist() == expected["counts"].tolist()
    assert (output.teacher_logits is not None) == model.config.guidance


def test_eq_25_default_weights_are_the_papers() -> None:
    """gamma = 1, 1, 1, 1.5; student without hard label; tau 0.07; every component on."""
    config = Config()
    weights = (
        config.weight_emotion,
        config.weight_generation,
        config.weight_contrast,
        config.weight_diversity,
    )
    assert weights == (1.0, 1.0, 1.0, 1.5)
    assert (config.student_label_weight, config.temperature, config.compressed_dim) == (
        0.0,
        0.07,
        10,
    )
    assert config.trait
    assert config.state
    assert config.guidance
    assert config.contrast


def test_eq_21_is_a_mean_over_tokens_of_the_whole_batch() -> None:
    """L_g = NLL / number of target tokens incl. EOS, not a mean of means; shares of a batch add up to it."""
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


# ------------------------------------------------------------------------------------------------- widths and ablations


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
    """`V^tchr = [H^tchr ; V_t ; V_s]` and `V^stu = [H^stu ; H_t ; H_s]`: 300 + 14 + 43 = 357; w/o TEE 343, SEE 314."""
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
    """1 layer, 2 heads, depth 40 in all, 50 filters, no dropout, untied output, embeddings times sqrt(300)."""
    model = CTSM(Config(), Tables.empty(40, 300))
    encoders = [module for module in model.modules() if isinstance(module, Encoder)]
    assert (
        len(encoders) == 1 + 2 + 2 + 2 + 2 + 1
    )  # context, knowledge, refining twice, trait and state, response
    for encoder in encoders:
        assert len(encoder.layers) == 1
        layer = encoder.layers[0]
        assert (layer.attention.heads, layer.attention.depth, layer.ffn.first.out_features) == (
            2,
            20,
            50,
        )
    assert len(model.decoder.layers) == 1
    decoder = model.decoder.layers[0]
    assert (
        decoder.self_attention.heads,
        decoder.cross_attention.depth,
        decoder.ffn.first.out_features,
    ) == (2, 20, 50)
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
    """w/o EGM has no teacher, w/o CCL no Encoder_Y, w/o TEE and SEE no encoder of theirs; the full model has them."""
    for model, there in ((tiny_model(), True), (tiny_model(**changes), False)):
        for prefix in gone:
            assert any(name.startswith(prefix) for name, _ in model.named_parameters()) == there


def test_teacher_and_student_share_the_context_but_no_weights_of_their_own() -> None:
    """H_C, knowledge and emotion encoders are shared; fusion and predictor exist twice."""
    model = tiny_model()
    for first, second in (
        (model.teacher_fusion, model.student_fusion),
        (model.teacher, model.student),
    ):
        assert not {p.data_ptr() for p in first.parameters()} & {
            p.data_ptr() for p in second.parameters()
        }


def test_a_model_does_not_change_the_tables_it_was_built_from() -> None:
    """Two models of the same tables are two models: training one leaves the tables, and so the other, as they were."""
    tables = tiny_tables()
    before = tables.vectors.clone()
    first, second = CTSM(tiny_config(), tables), CTSM(tiny_config(), tables)
    with torch.no_grad():
        first.embed.words.weight[20] += 1
    assert torch.equal(tables.vectors, before)
    assert torch.equal(second.embed.words.weight, before)


# ----------------------------------------------------------------------------------------------------------- gradients


@options
def test_training_is_finite_and_reaches_every_parameter(changes: dict[str, Any]) -> None:
    """All options: finite losses, and a finite gradient that is not zero for every parameter.

    The exception: without both emotions nothing reads the compressed context of Eq. (3).
    """
    model = tiny_model(**changes)
    losses = model.train()(collate(random_pairs(6))).losses
    losses["total"].backward()
    assert all(loss.isfinite() for loss in losses.values())
    without = {
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    }
    assert without == ({"emotion.compress.weight"} if model.emotion.width == 0 else set())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    "changes", [OPTIONS["paper"], OPTIONS["improved"]], ids=["paper", "improved"]
)
def test_dropout_acts_in_training_only(changes: dict[str, Any]) -> None:
    """Two training passes differ and are finite; at evaluation the model with dropout is the one without."""
    model, plain, batch = (
        tiny_model(dropout=0.3, **changes),
        tiny_model(**changes),
        collate(random_pairs(4)),
    )
    torch.manual_seed(0)
    first, second = (model.train()(batch).losses for _ in range(2))
    for name, value in first.items():
        assert value.isfinite()
        assert second[name].item() != value.item(), name
    assert torch.equal(evaluate(model, batch).token_nll, evaluate(plain, batch).token_nll)


# Which parts each loss trains; those of the backbone (embedding, Encoder_C, knowledge) are trained by all five.
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
    """L_g, L_div: fusion and decoder; L_tchr: V_t and V_s, not H_t and H_s; L_stu: H_t and H_s; L_ccl: all views."""
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
        {"guidance": False},
        {
            "guidance": False,
            "memory": "emotion",
            "fusion": "joint",
            "ffn": "conv",
            "tie_output": True,
        },
        {
            "guidance": False,
            "contrast_negatives": "cross",
            "encoder_layers": 2,
            "decoder_layers": 2,
        },
    ],
    ids=["w/o EGM", "memory emotion joint conv tied", "cross two layers"],
)
def test_gradients_equal_finite_differences(changes: dict[str, Any]) -> None:
    """`(L(p + h d) - L(p - h d)) / 2h = gradient . d` along the gradient and along random directions.

    Without the teacher, whose gradient is stopped on purpose. A gradient lost on the way from a loss to a part shows.
    """
    model, batch = (
        tiny_model(seed=3, temperature=0.5, **changes).train(),
        collate(random_pairs(4, seed=1)),
    )
    parameters, names, step = (
        list(model.parameters()),
        [name for name, _ in model.named_parameters()],
        2e-3,
    )

    def total() -> Tensor:
        model.diversity.counts.zero_()
        return model(batch).losses["total"]

    def move(direction: list[Tensor], length: float) -> float:
        with torch.no_grad():
            for sign in (1, -1):
                for parameter, change in zip(parameters, direction, strict=True):
                    parameter.add_(change, alpha=sign * length)
                if sign == 1:
                    value = total().item()
        return value

    gradient = torch.autograd.grad(total(), parameters)
    random = torch.Generator().manual_seed(0)
    directions = [list(gradient)]
    for _ in range(4):
        directions.append(
            [torch.randn(g.shape, generator=random) * g.abs().mean() for g in gradient]
        )
        directions[-1][names.index("embed.words.weight")][PAD] = 0
    for direction in directions:
        length = torch.stack([(d * d).sum() for d in direction]).sum().sqrt()
        direction = [d / length for d in direction]
        slope = (move(direction, step) - move(direction, -step)) / (2 * step)
        expected = (
            torch.stack([(g * d).sum() for g, d in zip(gradient, direction, strict=True)])
            .sum()
            .item()
        )
        assert slope == pytest.approx(expected, rel=0.02, abs=0.01)


def test_eq_18_trains_the_student_not_the_teacher() -> None:
    """No gradient of L_stu reaches the teacher's fusion and predictor; L_tchr's reaches all of it."""
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
    """Preset `paper`: other gold labels change no gradient of the student's predictor but through the teacher's.

    The gradients of L_stu, L_g, L_ccl and L_div do not depend on the label at all; w/o EGM the student has it.
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
    """The PAD row of the word table is zero and kept zero: no gradient moves it, in a tied output layer neither."""
    model = tiny_model(tie_output=tied)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        model.train()(collate(random_pairs(3))).losses["total"].backward()
        optimizer.step()
    assert not model.embed.words.weight[PAD].any()


# --------------------------------------------------------------------------------------------------------- invariances


@reading
def test_a_pair_alone_is_the_pair_in_a_batch(changes: dict[str, Any]) -> None:
    """Padding of contexts, targets and knowledge changes nothing: read states, emotions, and each token's NLL."""
    model, pairs = tiny_model(**changes), random_pairs(5, seed=2)
    together = evaluate(model, collate(pairs, extra=3))
    states = model.read(collate(pairs, extra=3))
    nll, predictions = (
        rows_of(together, values, 5) for values in (together.token_nll, together.token_prediction)
    )
    for row, pair in enumerate(pairs):
        alone, read = evaluate(model, collate([pair])), model.read(collate([pair]))
        close(alone.token_nll, nll[row])
        assert torch.equal(alone.token_prediction, predictions[row])
        close(alone.emotion_logits[0], together.emotion_logits[row])
        close(read["K"][0], states["K"][row])
        for name in ("E_C", "H_C", "H_stu", "V_ts", "H_ts"):
            close(read[name][0], states[name][row, : len(pair.context)])


@options
def test_more_padding_changes_no_training_loss(changes: dict[str, Any]) -> None:
    """Teacher, Encoder_Y, the views of Eq. (22) and L_div do not see PAD either."""
    narrow, wide = (
        tiny_model(**changes).train()(collate(random_pairs(4, seed=2), extra)).losses
        for extra in (0, 4)
    )
    for name, value in narrow.items():
        assert wide[name].item() == pytest.approx(value.item(), rel=1e-5, abs=1e-6), name


@options
def test_order_of_the_batch_does_not_matter(changes: dict[str, Any]) -> None:
    """The pairs in another order: the same losses in training, and the rows follow the order."""
    pairs = random_pairs(4, seed=2)
    forward, backward = (
        tiny_model(**changes).train()(collate(order)) for order in (pairs, pairs[::-1])
    )
    for name, value in forward.losses.items():
        assert backward.losses[name].item() == pytest.approx(value.item(), rel=1e-5, abs=1e-6), name
    close(backward.emotion_logits.flip(0), forward.emotion_logits)
    for row, nll in enumerate(rows_of(forward, forward.token_nll, 4)):
        close(rows_of(backward, backward.token_nll, 4)[3 - row], nll)


@options
def test_gold_labels_change_no_prediction_and_no_perplexity(changes: dict[str, Any]) -> None:
    """At evaluation other labels give the same emotions, words and NLL, bit for bit; only the label's loss moves."""
    model, pairs = tiny_model(**changes), random_pairs(4)
    flipped = [replace(pair, label=(pair.label + 7) % 32) for pair in pairs]
    truth, lie = (evaluate(model, collate(given)) for given in (pairs, flipped))
    for name in ("emotion_logits", "token_nll", "token_prediction"):
        assert torch.equal(getattr(truth, name), getattr(lie, name))
    moved = {name for name in truth.losses if not torch.equal(truth.losses[name], lie.losses[name])}
    assert moved == {"student_label"}


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
    """Teacher, Encoder_Y and the contrastive view are not evaluated, and the counts of L_div stay."""
    model, called = tiny_model(), []
    parts = {
        "teacher": model.teacher,
        "teacher_fusion": model.teacher_fusion,
        "target_encoder": model.target_encoder,
    }
    for name, part in (parts | {"emotion_view": model.emotion_view}).items():
        part.register_forward_hook(lambda *_, name=name: called.append(name))
    output = evaluate(model, collate(random_pairs(3)))
    assert called == []
    assert set(output.losses) == {"generation", "student_label", "total"}
    assert output.teacher_logits is None
    assert not model.diversity.counts.any()
    model.train()(collate(random_pairs(3)))
    assert sorted(called) == ["emotion_view", "target_encoder", "teacher", "teacher_fusion"]
    assert model.diversity.counts.any()


def test_a_bag_of_words_learns_on_its_own() -> None:
    """The bag's loss trains the bag alone, no other loss trains it, and it sees which words occur and nothing else."""
    model = tiny_model(bag_expert=True)
    named = dict(model.named_parameters())
    losses = model.train()(collate(random_pairs(6))).losses
    for loss, value in losses.items():
        found = torch.autograd.grad(
            value, list(named.values()), allow_unused=True, retain_graph=True
        )
        trained = {
            name
            for name, gradient in zip(named, found, strict=True)
            if gradient is not None and gradient.any()
        }
        bag = {name for name in trained if name.startswith("bag.")}
        assert bag == ({"bag.votes.weight", "bag.bias"} if loss in ("bag", "total") else set()), (
            loss
        )
        assert loss != "bag" or trained == bag
    pair = random_pairs(1)[0]
    other = replace(pair, knowledge=[[] for _ in pair.knowledge], target=pair.target[::-1], label=0)
    with torch.no_grad():
        first, second = (model.eval().encode(collate([p])).extra for p in (pair, other))
    assert torch.equal(first["bag"], second["bag"])
    differ(first["student"], second["student"], 1e-4)


def test_hidden_words_are_read_as_unknown_in_training_only() -> None:
    """`word_dropout`: every word of the context but the special ones, in what the encoders read; not in copying."""
    model, pairs = (
        tiny_model(word_dropout=0.999999, bag_expert=True, copy_once=True),
        random_pairs(5),
    )
    batch = collate(pairs)
    unknown = [replace(pair, context=[CLS, *[UNK] * (len(pair.context) - 1)]) for pair in pairs]
    expected = model.eval().read(collate(unknown))
    read = model.train().read(batch)
    for name in ("E_C", "H_C", "V_ts", "intensity"):
        close(read[name], expected[name], 1e-6)
    memory = model._memory(batch, read)
    assert torch.equal(memory.context, batch.context)
    close(memory.extra["bag"], model.bag(batch.context, batch.speaker), 1e-6)
    differ(model.eval().read(batch)["E_C"], expected["E_C"], 1e-3)
    half = tiny_model(word_dropout=0.5).train()
    torch.manual_seed(0)
    ids = torch.full((50, 40), FIRST_WORD)
    assert 0.4 < (half._seen(ids) == UNK).float().mean() < 0.6


def test_head_dropout_is_before_the_classifiers() -> None:
    model = tiny_model(head_dropout=0.5)
    assert [model.student.dropout.p, model.teacher.dropout.p] == [0.5, 0.5]
    batch = collate(random_pairs(4))
    losses = [
        {name: value.item() for name, value in model.train()(batch).losses.items()}
        for _ in range(2)
    ]
    assert {name for name in losses[0] if losses[0][name] != losses[1][name]} == {
        "student", "teacher", "student_label", "total",
    }  # fmt: skip
    first, second = (evaluate(model, batch).emotion_logits for _ in range(2))
    assert torch.equal(first, second)


@reading
def test_later_target_words_change_no_earlier_one(changes: dict[str, Any]) -> None:
    """`P(y_t | y_<t, C)`: another word at t leaves NLL before t and predictions up to t, and moves those behind."""
    model, pair = (
        tiny_model(**changes),
        replace(random_pairs(1)[0], target=[9, 14, 9, 15, 10, 16, 11, EOS]),
    )
    before = evaluate(model, collate([pair]))
    for place in range(7):
        words = list(pair.target)
        words[place] = 40
        after = evaluate(model, collate([replace(pair, target=words)]))
        close(after.token_nll[:place], before.token_nll[:place], 1e-6)
        assert torch.equal(
            after.token_prediction[: place + 1], before.token_prediction[: place + 1]
        )
        differ(after.token_nll[place + 1 :], before.token_nll[place + 1 :], 1e-4)


@pytest.mark.parametrize("tied", [False, True])
@reading
def test_answering_step_by_step_equals_teacher_forcing(changes: dict[str, Any], tied: bool) -> None:
    """`encode`, `start` and `step` without target and label give the NLL that scoring gives, token by token."""
    model, pairs = tiny_model(tie_output=tied, **changes), random_pairs(4, seed=4, target=9)
    batch = collate(pairs)
    output = evaluate(model, batch)
    assert batch.target is not None
    with torch.no_grad():
        cache, token = (
            model.start(model.encode(replace(batch, target=None, label=None))),
            torch.full((4,), SOS),
        )
        found: list[list[float]] = [[] for _ in pairs]
        for place in range(batch.target.shape[1]):
            log_prob, alpha, copy = model.step(cache, token)
            assert ((alpha > 0) & (alpha < 1)).all()
            assert not copy[batch.context == PAD].any()
            token = batch.target[:, place]
            for row, pair in enumerate(pairs):
                if place < len(pair.target):
                    found[row].append(-log_prob[row, token[row]].item())
    for row, nll in enumerate(rows_of(output, output.token_nll, 4)):
        close(found[row], nll)


def test_a_context_of_nothing_but_pad_is_finite() -> None:
    """A fully masked row gives zeros where it is pooled, never NaN, and poisons no gradient."""
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
    model, pair = (
        tiny_model(**changes),
        replace(random_pairs(1)[0], knowledge=[[8], [9, 10], [11], [12], [13, 14]]),
    )
    before = evaluate(model, collate([pair])).token_nll
    for relation in range(5):
        knowledge = [[30, 31] if r == relation else ids for r, ids in enumerate(pair.knowledge)]
        differ(
            evaluate(model, collate([replace(pair, knowledge=knowledge)])).token_nll, before, 1e-5
        )
    flipped = [CLS, *(9 - state for state in pair.speaker[1:])]  # USR 4 <-> SYS 5
    differ(evaluate(model, collate([replace(pair, speaker=flipped)])).token_nll, before, 1e-4)


# ----------------------------------------------------------------------------------------------- learning and precision


@pytest.mark.parametrize(
    "changes", [OPTIONS["paper"], OPTIONS["improved"]], ids=["paper", "improved"]
)
def test_the_model_learns_sixteen_pairs_by_heart(changes: dict[str, Any]) -> None:
    """Adam on all losses: NLL near 0, 100 % of the emotions, and greedy answers that are the targets.

    A few words may stay at NLL log 2: two heads that copy two different words, each with half of the weight.
    """
    torch.manual_seed(0)
    wide = {"dim": 20, "key_depth": 20, "ffn_dim": 32, "small_ffn_dim": 16}
    model, pairs = (
        CTSM(tiny_config(**(wide | changes)), tiny_tables(dim=20)),
        random_pairs(16, seed=5),
    )
    batch, steps = collate(pairs), 150
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), fused=True)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * min(1, (step + 1) / 10) * (1 - step / steps)
        optimizer.zero_grad()
        model(batch).losses["total"].backward()
        optimizer.step()
    output = evaluate(model, batch)
    assert output.losses["generation"] < 0.1
    assert output.emotion_logits.argmax(dim=1).tolist() == [pair.label for pair in pairs]
    words = [row.tolist() for row in rows_of(output, output.token_prediction, 16)]
    known = [row for row, pair in enumerate(pairs) if words[row] == pair.target]
    assert len(known) >= 12
    assert batch.target is not None
    with torch.no_grad():
        cache, token = (
            model.start(model.encode(replace(batch, target=None, label=None))),
            torch.full((16,), SOS),
        )
        answers = []
        for _ in range(batch.target.shape[1]):
            token = model.step(cache, token)[0].argmax(dim=1)
            answers.append(token.tolist())
    for row in known:
        assert [words[row] for words in answers][: len(pairs[row].target)] == pairs[row].target


BF16 = ["paper", "improved", "conv", "memory emotion", "w/o EGM"]


@pytest.mark.parametrize("changes", [OPTIONS[name] for name in BF16], ids=BF16)
def test_bf16_agrees_with_float32(changes: dict[str, Any]) -> None:
    """Under bf16 autocast losses are within 2 % (contrast, whose tau magnifies: 5 %); gradients point the same way."""
    torch.manual_seed(1)
    model, batch = (
        CTSM(tiny_config(**changes), tiny_tables()).train(),
        collate(random_pairs(8, seed=3)),
    )
    outputs, gradients = [], []
    for enabled in (False, True):
        model.zero_grad()
        model.diversity.counts.zero_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = model(batch)
        output.losses["total"].backward()
        outputs.append(output)
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).clone()
        )
    exact, rough = outputs
    for name, value in exact.losses.items():
        bound = 0.05 if name == "contrast" else 0.02
        assert rough.losses[name].item() == pytest.approx(value.item(), rel=bound), name
        assert rough.losses[name].dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.99
    assert (rough.token_nll - exact.token_nll).abs().max() < 0.05
    differ(rough.token_nll, exact.token_nll, 1e-6)  # bf16 was on


def test_cosine_stays_within_its_bounds_in_bf16() -> None:
    """Eq. (7) is a true cosine under autocast as well: within [-1, 1]."""
    model = tiny_model()
    assert model.emotion.inclination is not None
    model.emotion.inclination.tokens.load_state_dict(
        model.emotion.inclination.emotion_words.state_dict()
    )
    labels = model.embed.words.weight[model.labels].detach()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        cosine = model.emotion.inclination(
            labels.unsqueeze(0), labels, torch.ones(1, 32, dtype=torch.bool)
        )[0]
    assert cosine.abs().max() <= 1
    close(cosine.diagonal(), torch.ones(32), 1e-2)  # a label with itself
