"""Cross-contrastive learning against Eq. (22) to (24)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import array, close, differ, normal, slow_pair_loss, unit
from torch import Tensor

from ctsm_lib.model.contrast import POSITIVE_PAIRS, VIEWS, cross_contrastive_loss, pair_loss

NEGATIVES = ("both", "cross")


def unit_rows(*shape: int, seed: int = 0) -> Tensor:
    rows = normal(*shape, seed=seed)
    return rows / rows.norm(dim=-1, keepdim=True)


def test_eq_22_five_pairs() -> None:
    """(H_Y, H_ts), (H^stu, P_w), (H^stu, H_Y), (H_ts, P_w), (H_Y, P_w).

    These are all pairs of views but (H^stu, H_ts).
    """
    target, emotion, context, generated = VIEWS  # H_Y, H_ts, H^stu, P_w
    expected = {
        (target, emotion),
        (context, generated),
        (context, target),
        (emotion, generated),
        (target, generated),
    }
    assert set(POSITIVE_PAIRS) == expected
    assert len(POSITIVE_PAIRS) == 5
    assert VIEWS == ("target", "emotion", "context", "generated")


@pytest.mark.parametrize("size", [2, 5])
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_eq_23_equals_loops_over_anchors_and_keys(negatives: str, size: int) -> None:
    """`-log e^(p.q/tau) / sum_k e^(p.k/tau)`, mean over the 2B anchors of both views.

    k: the positive and the other dialogues of both views ("both") or of the other view ("cross"),
    not the anchor.
    """
    first, second = unit_rows(3, size, 6), unit_rows(3, size, 6, seed=1)
    losses = pair_loss(first, second, 0.07, negatives)
    assert losses.shape == (3,)
    for pair in range(3):
        expected = slow_pair_loss(first[pair].numpy(), second[pair].numpy(), 0.07, negatives)
        close(losses[pair], expected, 1e-9)


def test_eq_23_the_two_sets_of_negatives_differ_by_the_own_view() -> None:
    """Three equal vectors in either view: 2B - 1 = 5 equal keys with "both", B = 3 with "cross"."""
    same = torch.ones(1, 3, 1)
    close(pair_loss(same, same, 0.07, "both"), [math.log(5)])
    close(pair_loss(same, same, 0.07, "cross"), [math.log(3)])


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_eq_23_temperature_and_symmetry(negatives: str) -> None:
    """tau divides the similarity; swapping the views changes nothing; both are anchors."""
    first, second = unit_rows(1, 4, 6), unit_rows(1, 4, 6, seed=1)
    loss = pair_loss(first, second, 0.1, negatives)
    close(pair_loss(second, first, 0.1, negatives), loss, 1e-12)
    close(pair_loss(first * math.sqrt(5), second * math.sqrt(5), 0.5, negatives), loss, 1e-9)
    differ(pair_loss(first, second, 0.5, negatives), loss)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_eq_23_one_dialogue_has_exactly_no_loss(negatives: str) -> None:
    """B = 1: no negative, the loss is exactly 0 and its gradient finite."""
    views = normal(1, 4, 6, dtype=torch.float32).requires_grad_()
    loss = cross_contrastive_loss(views, 0.07, negatives)
    assert loss.item() == 0.0
    loss.backward()
    assert views.grad is not None
    close(views.grad, torch.zeros(1, 4, 6), 1e-12)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_eq_24_is_the_mean_over_the_five_pairs_of_unit_vectors(negatives: str) -> None:
    """Views have length 1. The loss is 1/5 of the sum of Eq. (23) over the pairs of Eq. (22)."""
    views = normal(4, 4, 6) * torch.tensor([0.1, 1, 10, 100]).view(1, 4, 1)  # B views D
    named = {
        name: [unit(vector) for vector in array(views[:, place])]
        for place, name in enumerate(("H_Y", "H_ts", "H_stu", "P_w"))
    }
    pairs = [("H_Y", "H_ts"), ("H_stu", "P_w"), ("H_stu", "H_Y"), ("H_ts", "P_w"), ("H_Y", "P_w")]
    expected = [
        slow_pair_loss(np.array(named[a]), np.array(named[b]), 0.07, negatives) for a, b in pairs
    ]
    close(cross_contrastive_loss(views, 0.07, negatives), sum(expected) / 5)


def test_context_and_emotion_are_no_pair() -> None:
    """H^stu's similarity to H_ts is nowhere in the loss: where only it changes, the loss does not.

    H_Y and P_w lie in the first two axes, H^stu and H_ts in the others as well; turning H_ts there
    keeps every similarity but (H^stu, H_ts).
    """
    views = normal(4, 4, 6)
    views[:, [0, 3], 2:] = 0
    turned = views.clone()
    turned[:, 1, 2:] *= -1
    before = cross_contrastive_loss(views, 0.07, "cross")
    close(cross_contrastive_loss(turned, 0.07, "cross"), before, 1e-6)
    turned[:, 1, :2] *= -1
    differ(cross_contrastive_loss(turned, 0.07, "cross"), before)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_loss_falls_as_views_agree(negatives: str) -> None:
    """Equal views of distinct dialogues have nearly no loss, exchanged ones a large one.

    A zero view has a finite loss.
    """
    one = torch.eye(4).unsqueeze(1).expand(4, 4, 4)
    assert cross_contrastive_loss(one, 0.07, negatives) < 1e-4
    mixed = one.clone()
    mixed[:, 3] = mixed[:, 3].roll(1, dims=0)
    assert cross_contrastive_loss(mixed, 0.07, negatives) > 5
    empty = one.clone().requires_grad_()
    with torch.no_grad():
        empty[:, 0] = 0
    loss = cross_contrastive_loss(empty, 0.07, negatives)
    loss.backward()
    assert loss.isfinite()
    assert empty.grad is not None
    assert empty.grad.isfinite().all()


def test_order_of_the_batch_does_not_matter() -> None:
    """The dialogues in another order have the same loss."""
    views = normal(5, 4, 6)
    for negatives in NEGATIVES:
        flipped = cross_contrastive_loss(views.flip(0), 0.07, negatives)
        close(flipped, cross_contrastive_loss(views, 0.07, negatives), 1e-6)
