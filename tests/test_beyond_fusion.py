"""The joint fusion against its formula."""

from __future__ import annotations

import pytest
import torch
from beyond_cases import slow_joint_fusion
from helpers import (
    DIM,
    array,
    check_everything_takes_part,
    check_fusion_ignores_padding,
    close,
    normal,
    randomise,
    real_mask,
)
from torch import nn

from ctsm_lib.model.layers import Encoder
from ctsm_lib.settings import LayerSizes
from ctsm_workbench.beyond.extended import JointFusion

FFNS = ("linear", "conv")


def fusion_of(ffn: str = "linear") -> JointFusion:
    sizes = LayerSizes(heads=2, key_depth=6, ffn_dim=8, ffn=ffn)
    fusion = JointFusion(DIM, lambda width: Encoder(width, 1, sizes))
    return randomise(fusion, scale=0.5).double()


@pytest.mark.parametrize("ffn", FFNS)
def test_joint_fusion_equals_the_formula(ffn: str) -> None:
    """`R = Encoder(W [H ; K_1 .. K_5])`, then a gated MLP.

    The result is `norm(H + sigmoid(W_g [H ; R]) * W_2 relu(W_1 [H ; R]))`.
    """
    fusion, lengths = fusion_of(ffn), [6, 2, 4]
    context, knowledge = normal(3, 6, DIM), normal(3, 5, DIM, seed=1)
    fused = fusion(context, knowledge, real_mask(lengths))
    for row, length in enumerate(lengths):
        expected = slow_joint_fusion(fusion, context[row, :length].numpy(), knowledge[row].numpy())
        close(fused[row, :length], expected)


def test_each_relation_and_the_context_take_part() -> None:
    """Changing one of the five vectors, or one token, changes that row's result and no other's."""
    check_everything_takes_part(fusion_of())


@pytest.mark.parametrize("ffn", FFNS)
def test_fusion_is_invariant_to_padding_and_batch(ffn: str) -> None:
    """A context has the same states alone, in a batch, in another order and whatever is at PAD."""
    check_fusion_ignores_padding(fusion_of(ffn))


def test_joint_fusion_lets_the_context_through() -> None:
    """With `W_2 = 0` the result is the norm of the context: the way around the refining encoder."""
    fusion = fusion_of()
    nn.init.zeros_(fusion.second.weight)
    nn.init.zeros_(fusion.second.bias)
    context, mask = normal(2, 4, DIM), torch.ones(2, 4, dtype=torch.bool)
    close(fusion(context, normal(2, 5, DIM, seed=1), mask), array(fusion.norm(context)), 1e-12)
