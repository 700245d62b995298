"""The paper's equations for one pair at a time, and checks that hold for CTSM with any option.

`test_model_ctsm.py` runs the checks with the paper's options, `test_beyond_extended.py` with the
others. Each check takes a function that makes a new model, always with the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from beyond_cases import slow_bag, slow_biased_distribution, slow_joint_fusion
from helpers import (
    SIZE,
    Pair,
    array,
    close,
    collate,
    differ,
    random_pairs,
    slow_cosine,
    slow_decoder,
    slow_distribution,
    slow_embedding,
    slow_encoder,
    slow_knowledge,
    slow_linear,
    slow_pair_loss,
    slow_predictor,
    slow_separate_fusion,
    slow_softmax,
    unit,
)
from torch import Tensor

from ctsm_lib.batches import Batch
from ctsm_lib.corpus import CLS, EOS, PAD, SOS
from ctsm_lib.interface import Output
from ctsm_lib.model import CTSM
from ctsm_workbench.beyond.extended import JointFusion
from ctsm_workbench.beyond.extras import BiasedPointer

Make = Callable[[], CTSM]
FIVE_PAIRS = [  # Eq. (22)
    ("H_Y", "H_ts"),
    ("H_stu", "P_w"),
    ("H_stu", "H_Y"),
    ("H_ts", "P_w"),
    ("H_Y", "P_w"),
]


def evaluate(model: CTSM, batch: Batch) -> Output:
    """The output in evaluation mode."""
    with torch.no_grad():
        return model.eval()(batch)


def rows_of(output: Output, values: Tensor, count: int) -> list[Tensor]:
    """Values of real target tokens, pair by pair."""
    return [values[output.token_row == row] for row in range(count)]


# ------------------------------------------------------------- the paper's equations, pair by pair


@dataclass
class SlowReading:
    """One context as the model reads it, in float64."""

    h_stu: np.ndarray
    v_stu: np.ndarray
    encoded: list[np.ndarray]  # H_t and H_s, as far as the model has them
    student: np.ndarray  # 32 logits
    bag: np.ndarray | None
    teacher: np.ndarray | None


@dataclass
class SlowSums:
    """Values of single tokens and pairs, collected over a batch."""

    counts: np.ndarray  # V, of predicted words, as L_div has them
    nll: list[float] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    predictions: list[int] = field(default_factory=list)
    logits: list[np.ndarray] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=dict)
    views: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, name: str, loss: float) -> None:
        self.losses.setdefault(name, []).append(loss)


def slow_reading(model: CTSM, pair: Pair) -> SlowReading:
    """Eq. (1) to (17): everything that the model reads of a context."""
    config, words = model.config, array(model.embed.words.weight)
    fuse = slow_separate_fusion
    if isinstance(model.student_fusion, JointFusion):
        fuse = slow_joint_fusion
    e_c = slow_embedding(model.embed, pair.context, pair.speaker)
    h_c = slow_encoder(model.encoder, e_c)  # (1)
    phrases = [slow_embedding(model.embed, [CLS, *ids]) for ids in pair.knowledge]
    k = slow_knowledge(model.knowledge, phrases)
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
    teacher = None
    if config.guidance:
        h_tchr = fuse(model.teacher_fusion, h_c, k)
        v_tchr = np.concatenate([h_tchr, *embeddings], axis=1)  # (10)
        teacher, _ = slow_predictor(model.teacher, v_tchr, intensity)
    bag = None
    if getattr(model, "bag", None) is not None:
        bag = slow_bag(model.bag, pair.context, pair.speaker)
    return SlowReading(h_stu, v_stu, encoded, student, bag, teacher)


def slow_emotion(model: CTSM, pair: Pair, read: SlowReading, sums: SlowSums) -> None:
    """Eq. (15), (18): emotion losses of a pair, and its logits."""
    sums.logits.append(read.student)
    student = np.array(slow_softmax(read.student))
    sums.add("student_label", -np.log(student[pair.label]))
    if read.bag is not None:
        bag = np.array(slow_softmax(read.bag))
        sums.add("bag", -np.log(bag[pair.label]))
        sums.logits[-1] = (np.log(student) + np.log(bag)) / 2
    if read.teacher is not None:
        teacher = np.array(slow_softmax(read.teacher))
        sums.add("teacher", -np.log(teacher[pair.label]))  # (15)
        sums.add("student", float(-teacher @ np.log(student)))  # (18)


def slow_answer(model: CTSM, pair: Pair, read: SlowReading, sums: SlowSums) -> None:
    """Eq. (20) to (22): words of a pair's answer, and the views of the contrast."""
    words = array(model.embed.words.weight)
    e_y = slow_embedding(model.embed, [SOS, *pair.target[:-1]])
    memory = read.v_stu if model.config.memory == "emotion" else read.h_stu
    states, copy = slow_decoder(model.decoder, e_y, memory)  # (20)
    pointer = model.decoder.pointer
    ended = False
    for place, word in enumerate(pair.target):
        given = (pointer, states[place], copy[place], pair.context, words)
        if isinstance(pointer, BiasedPointer):
            answer = [SOS, *pair.target[:place]]
            mixture, _ = slow_biased_distribution(*given, answer, answer[-1])
        else:
            mixture, _ = slow_distribution(*given)
        prediction = int(mixture.argmax())
        sums.nll.append(-np.log(mixture[word]))  # (21)
        sums.targets.append(word)
        sums.predictions.append(prediction)
        ended = ended or prediction == EOS
        sums.counts[prediction] += not ended
    if model.config.contrast:
        h_y = slow_encoder(model.target_encoder, slow_embedding(model.embed, pair.target))
        h_ts = read.h_stu
        if read.encoded:
            h_ts = slow_linear(model.emotion_view, np.concatenate(read.encoded, axis=1))
        views = {"H_Y": h_y, "H_ts": h_ts, "H_stu": read.h_stu, "P_w": states}
        for name, view in views.items():
            sums.views.setdefault(name, []).append(unit(view.mean(axis=0)))


def slow_losses(model: CTSM, sums: SlowSums) -> dict[str, float]:
    """Eq. (19), (21), (23) to (25): the losses of a batch."""
    config = model.config
    weights = 1 - sums.counts / max(sums.counts.max(), 1)
    weights = weights / weights.mean()
    losses = {name: float(np.mean(values)) for name, values in sums.losses.items()}
    losses["generation"] = float(np.mean(sums.nll))  # (21)
    losses["diversity"] = float(np.mean(weights[sums.targets] * np.array(sums.nll)))
    emotion = losses["student_label"]
    if config.guidance:
        hard = config.student_label_weight * losses["student_label"]
        emotion = losses["teacher"] + losses["student"] + hard  # (19)
    emotion += losses.get("bag", 0.0)
    if config.contrast:
        each = []
        for one, other in FIVE_PAIRS:
            first, second = np.array(sums.views[one]), np.array(sums.views[other])
            negatives = config.contrast_negatives
            each.append(slow_pair_loss(first, second, config.temperature, negatives))  # (23)
        losses["contrast"] = sum(each) / 5  # (24)
    losses["total"] = (
        config.weight_emotion * emotion
        + config.weight_generation * losses["generation"]
        + config.weight_contrast * losses.get("contrast", 0.0)
        + config.weight_diversity * losses["diversity"]
    )  # (25)
    return losses


# ------------------------------------------------------------------------------------------- checks


def check_losses(make: Make) -> None:
    """Losses, NLL and arg-max of each token, emotions and counts equal the equations."""
    model, pairs = make(), random_pairs(4, seed=1)
    counts = torch.randint(0, 30, (SIZE,), generator=torch.Generator().manual_seed(2))
    model.diversity.counts.copy_(counts)
    model.train()
    sums = SlowSums(counts=array(counts).copy())
    for pair in pairs:
        read = slow_reading(model, pair)
        slow_emotion(model, pair, read, sums)
        slow_answer(model, pair, read, sums)
    expected = slow_losses(model, sums)
    output = model(collate(pairs))
    assert set(output.losses) == set(expected)
    for name, value in expected.items():
        assert output.losses[name].item() == pytest.approx(value, rel=1e-4, abs=1e-5), name
    close(output.token_nll, sums.nll, 1e-4)
    close(output.emotion_logits, np.array(sums.logits), 1e-4)
    assert output.token_prediction.tolist() == sums.predictions
    assert model.diversity.counts.tolist() == sums.counts.tolist()
    assert (output.teacher_logits is not None) == model.config.guidance


def check_gradients_reach_every_parameter(make: Make) -> None:
    """Losses are finite, and every parameter has a finite gradient that is not zero.

    The exception: without both emotions nothing reads the compressed context of Eq. (3).
    """
    model = make()
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


def check_dropout(make: Make, make_without: Make) -> None:
    """Two training passes differ and are finite; evaluation is that of the model without."""
    model, batch = make(), collate(random_pairs(4))
    torch.manual_seed(0)
    first, second = (model.train()(batch).losses for _ in range(2))
    for name, value in first.items():
        assert value.isfinite()
        assert second[name].item() != value.item(), name
    plain = evaluate(make_without(), batch)
    assert torch.equal(evaluate(model, batch).token_nll, plain.token_nll)


def check_gradients_by_differences(make: Make) -> None:
    """`(L(p + h d) - L(p - h d)) / 2h = gradient . d`.

    It holds along the gradient and along random directions. The model must have no teacher, whose
    gradient is stopped on purpose. A gradient that is lost between a loss and a part shows here.
    """
    model, batch = make().train(), collate(random_pairs(4, seed=1))
    parameters = list(model.parameters())
    names = [name for name, _ in model.named_parameters()]
    step = 2e-3

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
        products = [(g * d).sum() for g, d in zip(gradient, direction, strict=True)]
        expected = torch.stack(products).sum().item()
        assert slope == pytest.approx(expected, rel=0.02, abs=0.01)


def check_a_pair_alone(make: Make) -> None:
    """Padding of contexts, targets and knowledge changes no state, emotion or token's NLL."""
    model, pairs = make(), random_pairs(5, seed=2)
    batch = collate(pairs, extra=3)
    together = evaluate(model, batch)
    states = model.read(batch)
    nll = rows_of(together, together.token_nll, 5)
    predictions = rows_of(together, together.token_prediction, 5)
    for row, pair in enumerate(pairs):
        alone = evaluate(model, collate([pair]))
        read = model.read(collate([pair]))
        close(alone.token_nll, nll[row])
        assert torch.equal(alone.token_prediction, predictions[row])
        close(alone.emotion_logits[0], together.emotion_logits[row])
        close(read.K[0], states.K[row])
        for name in ("E_C", "H_C", "H_stu", "V_ts", "H_ts"):
            close(getattr(read, name)[0], getattr(states, name)[row, : len(pair.context)])


def check_more_padding(make: Make) -> None:
    """PAD changes no training loss: teacher, Encoder_Y, views and L_div do not read it."""
    pairs = random_pairs(4, seed=2)
    narrow, wide = (make().train()(collate(pairs, extra)).losses for extra in (0, 4))
    for name, value in narrow.items():
        assert wide[name].item() == pytest.approx(value.item(), rel=1e-5, abs=1e-6), name


def check_order(make: Make) -> None:
    """Pairs in another order have the same losses, and rows in that order."""
    pairs = random_pairs(4, seed=2)
    forward, backward = (make().train()(collate(order)) for order in (pairs, pairs[::-1]))
    for name, value in forward.losses.items():
        assert backward.losses[name].item() == pytest.approx(value.item(), rel=1e-5, abs=1e-6), name
    close(backward.emotion_logits.flip(0), forward.emotion_logits)
    for row, nll in enumerate(rows_of(forward, forward.token_nll, 4)):
        close(rows_of(backward, backward.token_nll, 4)[3 - row], nll)


def check_labels_do_not_leak(make: Make) -> None:
    """In evaluation other labels change the label loss only, bit for bit."""
    model, pairs = make(), random_pairs(4)
    flipped = [replace(pair, label=(pair.label + 7) % 32) for pair in pairs]
    truth, other = (evaluate(model, collate(given)) for given in (pairs, flipped))
    for name in ("emotion_logits", "token_nll", "token_prediction"):
        assert torch.equal(getattr(truth, name), getattr(other, name))
    moved = [name for name in truth.losses if truth.losses[name] != other.losses[name]]
    assert moved == ["student_label"]


def check_later_words(make: Make) -> None:
    """`P(y_t | y_<t, C)`: another word at t leaves NLL before t and predictions up to t.

    NLL after t changes.
    """
    model = make()
    pair = replace(random_pairs(1)[0], target=[9, 14, 9, 15, 10, 16, 11, EOS])
    before = evaluate(model, collate([pair]))
    for place in range(7):
        words = list(pair.target)
        words[place] = 40
        after = evaluate(model, collate([replace(pair, target=words)]))
        close(after.token_nll[:place], before.token_nll[:place], 1e-6)
        until = slice(0, place + 1)
        assert torch.equal(after.token_prediction[until], before.token_prediction[until])
        differ(after.token_nll[place + 1 :], before.token_nll[place + 1 :], 1e-4)


def check_answering_equals_scoring(make: Make) -> None:
    """`encode`, `start` and `step`, without target and label, give the NLL of scoring."""
    model, pairs = make(), random_pairs(4, seed=4, target=9)
    batch = collate(pairs)
    output = evaluate(model, batch)
    assert batch.target is not None
    found: list[list[float]] = [[] for _ in pairs]
    with torch.no_grad():
        cache = model.start(model.encode(replace(batch, target=None, label=None)))
        token = torch.full((4,), SOS)
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


def check_knowledge_and_speaker(make: Make) -> None:
    """Each of the five relations and the speaker states change the answer's NLL."""
    model = make()
    pair = replace(random_pairs(1)[0], knowledge=[[8], [9, 10], [11], [12], [13, 14]])
    before = evaluate(model, collate([pair])).token_nll
    for relation in range(5):
        knowledge = [[30, 31] if r == relation else ids for r, ids in enumerate(pair.knowledge)]
        changed = replace(pair, knowledge=knowledge)
        differ(evaluate(model, collate([changed])).token_nll, before, 1e-5)
    flipped = replace(pair, speaker=[CLS, *(9 - state for state in pair.speaker[1:])])  # USR, SYS
    differ(evaluate(model, collate([flipped])).token_nll, before, 1e-4)


def check_learns_by_heart(model: CTSM) -> None:
    """Adam on all losses: NLL near 0, 100 % of the emotions, and greedy answers equal the targets.

    A few words may stay at NLL log 2: two heads that copy two different words, each with half of
    the weight.
    """
    pairs, steps = random_pairs(16, seed=5), 150
    batch = collate(pairs)
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
    answers = []
    with torch.no_grad():
        cache = model.start(model.encode(replace(batch, target=None, label=None)))
        token = torch.full((16,), SOS)
        for _ in range(batch.target.shape[1]):
            token = model.step(cache, token)[0].argmax(dim=1)
            answers.append(token.tolist())
    for row in known:
        target = pairs[row].target
        assert [words[row] for words in answers][: len(target)] == target


def check_bf16(model: CTSM) -> None:
    """Under bf16 autocast losses are within 2 % (contrast, which tau magnifies: 5 %).

    The gradients have nearly the same direction.
    """
    batch = collate(random_pairs(8, seed=3))
    model.train()
    outputs, gradients = [], []
    for enabled in (False, True):
        model.zero_grad()
        model.diversity.counts.zero_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = model(batch)
        output.losses["total"].backward()
        outputs.append(output)
        flat = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        gradients.append(torch.cat(flat).clone())
    exact, rough = outputs
    for name, value in exact.losses.items():
        bound = 0.05 if name == "contrast" else 0.02
        assert rough.losses[name].item() == pytest.approx(value.item(), rel=bound), name
        assert rough.losses[name].dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.99
    assert (rough.token_nll - exact.token_nll).abs().max() < 0.05
    differ(rough.token_nll, exact.token_nll, 1e-6)  # bf16 was on
