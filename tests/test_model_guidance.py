"""Emotion guidance against Eq. (10) to (18): intensity, pooling, hard and soft labels."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import array, close, differ, normal, randomise, real_mask, slow_predictor, slow_softmax

from ctsm_lib.model.guidance import EmotionPredictor, intensity_weights, label_loss, soft_label_loss

LENGTHS = [6, 2, 1]


def predictor(width: int = 9, intensity: bool = True) -> EmotionPredictor:
    return randomise(EmotionPredictor(width, intensity))


# ---------------------------------------------------------------------------------------- intensity


def test_eq_11_intensity_weights() -> None:
    """`n softmax(I)_l` over the n real tokens: 1 on average, exactly 0 at PAD."""
    intensity, mask = normal(3, 8), real_mask(LENGTHS, extra=2)
    weights = intensity_weights(intensity, mask)
    for row, length in enumerate(LENGTHS):
        close(
            weights[row, :length],
            [length * share for share in slow_softmax(intensity[row, :length].tolist())],
        )
        close(weights[row, :length].mean(), 1.0)
        assert not weights[row, length:].any()


def test_equal_intensities_change_nothing() -> None:
    """Where no word is rated every token has weight 1 in a context of any length.

    This is the reason for the factor n.
    """
    weights = intensity_weights(torch.zeros(2, 200), real_mask([200, 3]))
    close(weights, real_mask([200, 3]).float())


def test_intensity_weights_of_an_empty_row_are_zero() -> None:
    """No real token: zeros, not NaN."""
    assert not intensity_weights(normal(1, 4), torch.zeros(1, 4, dtype=torch.bool)).any()


# ---------------------------------------------------------------------------------------- predictor


@pytest.mark.parametrize("intensity", [True, False])
def test_eq_11_to_14_predictor(intensity: bool) -> None:
    """`C_l = n softmax(I)_l V_l`, `S = softmax(v tanh(W_c C_l + b))`,
    `P = softmax(W_out tanh(W_4 (C^T S) + b_4) + b)`.

    Without guidance (w/o EGM) `C_l = V_l`.
    """
    module = predictor(intensity=intensity)
    values = normal(3, 8, 9, dtype=torch.float32)
    given = normal(3, 8, seed=1)
    logits, pooling = module(values, given.float(), real_mask(LENGTHS, extra=2))
    assert logits.shape == (3, 32)
    for row, length in enumerate(LENGTHS):
        weights = given[row, :length].tolist() if intensity else None
        expected, expected_pooling = slow_predictor(module, array(values[row, :length]), weights)
        close(logits[row], expected)
        close(logits[row].softmax(dim=0), slow_softmax(expected))
        close(pooling[row, :length], expected_pooling)
        assert not pooling[row, length:].any()
    close(pooling.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("intensity", [True, False])
def test_intensity_matters_only_with_guidance(intensity: bool) -> None:
    """Other intensities of the same tokens change the prediction with guidance only."""
    module = predictor(intensity=intensity)
    values = normal(1, 6, 9, dtype=torch.float32)
    mask = real_mask([6])
    first, second = (module(values, normal(1, 6, seed=seed).float(), mask)[0] for seed in (1, 2))
    assert torch.equal(first, second) == (not intensity)


def test_predictor_is_invariant_to_padding_and_batch() -> None:
    """A row has the same logits and pooling alone, in a batch and whatever is at PAD."""
    module, mask = predictor(), real_mask(LENGTHS, extra=2)
    values, intensity = normal(3, 8, 9).float(), normal(3, 8, seed=1).float()
    logits, pooling = module(values, intensity, mask)
    dirty = (
        torch.where(mask.unsqueeze(-1), values, torch.tensor(30.0)),
        torch.where(mask, intensity, torch.tensor(30.0)),
    )
    close(module(dirty[0].flip(0), dirty[1].flip(0), mask.flip(0))[0].flip(0), logits, 1e-6)
    for row, length in enumerate(LENGTHS):
        part = (slice(row, row + 1), slice(0, length))
        alone = module(values[part], intensity[part], mask[part])
        close(alone[0][0], logits[row], 1e-6)
        close(alone[1][0], pooling[row, :length], 1e-6)


def test_predictor_of_an_empty_row_is_finite() -> None:
    """A fully masked row pools zeros: logits and gradients are finite."""
    module, values = predictor(), normal(2, 4, 9).float().requires_grad_()
    logits, pooling = module(values, torch.zeros(2, 4), real_mask([0, 4]))
    assert torch.equal(pooling[0], torch.zeros(4))
    logits.sum().backward()
    assert logits.isfinite().all()
    assert values.grad is not None
    assert values.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


# ------------------------------------------------------------------------------------------- losses


def test_eq_15_label_loss() -> None:
    """`-log P(e*)` for each pair."""
    logits, label = normal(4, 32) * 3, torch.tensor([0, 31, 7, 7])
    expected = [
        -math.log(slow_softmax(row.tolist())[e])
        for row, e in zip(logits, label.tolist(), strict=True)
    ]
    close(label_loss(logits, label), expected)


def test_eq_18_soft_label_loss() -> None:
    """`-sum_e P^tchr(e) log P^stu(e)` for each pair."""
    student, teacher = normal(4, 32) * 3, normal(4, 32, seed=1) * 3
    expected = []
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        pairs = zip(slow_softmax(t), slow_softmax(s), strict=True)
        expected.append(-sum(p * math.log(q) for p, q in pairs))
    close(soft_label_loss(student, teacher), expected)


def test_eq_18_is_least_where_the_student_equals_the_teacher() -> None:
    """There it is the entropy of the teacher, with gradient 0. A one-hot teacher gives Eq. (15)."""
    teacher = normal(3, 32) * 2
    student = teacher.clone().requires_grad_()
    loss = soft_label_loss(student, teacher)
    probability = teacher.softmax(dim=1)
    close(loss, -(probability * probability.log()).sum(dim=1))
    loss.sum().backward()
    close(student.grad, torch.zeros(3, 32), 1e-6)
    differ(soft_label_loss(teacher + normal(3, 32, seed=1), teacher), loss)
    label = torch.tensor([4, 9, 30])
    sure = torch.full((3, 32), -1e4).scatter(1, label.unsqueeze(1), 0.0)
    other = normal(3, 32, seed=2)
    close(soft_label_loss(other, sure), label_loss(other, label))


def test_eq_18_stops_the_gradient_to_the_teacher() -> None:
    """The soft labels are constants: the loss trains the student only."""
    student, teacher = normal(4, 32).requires_grad_(), normal(4, 32, seed=1).requires_grad_()
    soft_label_loss(student, teacher).sum().backward()
    assert teacher.grad is None
    expected = array(student.softmax(dim=1)) - array(teacher.softmax(dim=1))
    close(student.grad, expected)  # d/ds = P^stu - P^tchr
