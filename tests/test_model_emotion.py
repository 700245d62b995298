"""Trait and state emotions against Eq. (2) to (9), and the ablations that leave one out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import (
    DIM,
    array,
    close,
    differ,
    normal,
    randomise,
    real_mask,
    slow_cosine,
    slow_encoder,
    slow_linear,
)
from torch import Tensor

from ctsm_lib.model.emotion import EmotionEncoding, StateInclination, state_inclination
from ctsm_lib.model.layers import Encoder
from ctsm_lib.settings import LayerSizes

LENGTHS = [5, 2, 4]
COMPRESSED = 10


def encoding(trait: bool = True, state: bool = True, ffn: str = "linear") -> EmotionEncoding:
    sizes = LayerSizes(heads=2, key_depth=40, ffn_dim=8, ffn=ffn)
    module = EmotionEncoding(
        DIM, lambda width: Encoder(width, 1, sizes), COMPRESSED, trait=trait, state=state
    )
    return randomise(module).double()


def inputs(extra: int = 0) -> dict[str, Tensor]:
    """The arguments of the encoding; PAD places hold numbers like any other."""
    length = max(LENGTHS) + extra
    return {
        "context": normal(3, length, DIM), "embedded": normal(3, length, DIM, seed=1),
        "labels": normal(32, DIM, seed=2), "vad": normal(3, length, 3, seed=3).sigmoid(),
        "idf": normal(3, length, 1, seed=4).sigmoid(), "mask": real_mask(LENGTHS, extra),
    }  # fmt: skip


# -------------------------------------------------------------------------------- state inclination


def test_eq_7_is_the_cosine_of_each_token_with_each_label() -> None:
    """`V_cos[l, k] = e_l . e_k / (|e_l| |e_k|)`, within [-1, 1]; rows of PAD are zero."""
    context, emotions = normal(3, 5, DIM) * 20, normal(32, DIM, seed=1)
    cosine = state_inclination(context, emotions, real_mask(LENGTHS))
    assert cosine.shape == (3, 5, 32)
    for row, length in enumerate(LENGTHS):
        close(cosine[row, :length], slow_cosine(context[row, :length].numpy(), emotions.numpy()))
        assert not cosine[row, length:].any()
    assert cosine.abs().max() <= 1 + 1e-6


def test_eq_7_reaches_its_bounds_and_knows_no_length() -> None:
    """A label itself has cosine 1, its opposite -1, at any length; a zero vector has 0, not NaN."""
    emotions = normal(32, DIM)
    tokens = torch.stack([emotions[3] * 50, -emotions[3] * 1e-3, torch.zeros(DIM)]).unsqueeze(0)
    cosine = state_inclination(tokens, emotions, real_mask([3]))
    close(cosine[0, :, 3], [1, -1, 0])
    assert cosine.isfinite().all()


def test_eq_5_and_6_map_both_sides_with_a_bias_each() -> None:
    """`E~_e = W_1 e + b_1`, `E~_C = W_2 E_C + b_2`, then the cosine."""
    module = randomise(StateInclination(DIM)).double()
    tokens, labels = normal(1, 5, DIM), normal(32, DIM, seed=1)
    expected = slow_cosine(
        slow_linear(module.tokens, tokens[0].numpy()),
        slow_linear(module.emotion_words, labels.numpy()),
    )
    close(module(tokens, labels, real_mask([5]))[0], expected)
    assert module.tokens.bias is not None
    assert module.emotion_words.bias is not None


# -------------------------------------------------------------------------- embeddings and encoders


def test_eq_2_3_and_8_the_embeddings_and_their_order() -> None:
    """`V_t = [VAD(3) ; IDF(1) ; W_C H_C (10)]`, `V_s = [V_cos(32) ; IDF(1) ; W_C H_C (10)]`.

    They are 14 and 43 wide, and side by side in V_ts.
    """
    module, given = encoding(), inputs()
    states = module(**given)
    assert module.inclination is not None
    cosine = module.inclination(given["embedded"], given["labels"], given["mask"])
    assert torch.equal(states.V_cos, cosine)
    assert states.V_t.shape == (3, 5, 14)
    assert states.V_s.shape == (3, 5, 43)
    assert states.V_ts.shape == (3, 5, 14 + 43)
    for row, length in enumerate(LENGTHS):
        for place in range(length):
            # One matrix serves both.
            meaning = array(module.compress.weight) @ array(given["context"][row, place])
            vad = array(given["vad"][row, place])
            idf = array(given["idf"][row, place])
            trait = np.concatenate([vad, idf, meaning])
            state = np.concatenate([array(cosine[row, place]), idf, meaning])
            close(states.V_t[row, place], trait)
            close(states.V_s[row, place], state)
            close(states.V_ts[row, place, :14], trait)
            close(states.V_ts[row, place, 14:], state)
    assert module.compress.weight.shape == (COMPRESSED, DIM)
    assert module.compress.bias is None


@pytest.mark.parametrize("ffn", ["linear", "conv"])
def test_eq_4_and_9_encode_each_embedding_on_its_own(ffn: str) -> None:
    """`H_t = Encoder_t(V_t)`, `H_s = Encoder_s(V_s)`, row by row; rows of PAD are zero."""
    module, given = encoding(ffn=ffn), inputs(extra=2)
    states = module(**given)
    for row, length in enumerate(LENGTHS):
        trait = slow_encoder(module.trait_encoder, array(states.V_ts[row, :length, :14]))
        state = slow_encoder(module.state_encoder, array(states.V_ts[row, :length, 14:]))
        close(states.H_t[row, :length], trait)
        close(states.H_s[row, :length], state)
        close(states.H_ts[row, :length, :14], trait)
        close(states.H_ts[row, :length, 14:], state)
        for values in vars(states).values():
            assert not values[row, length:].any()


def test_emotion_encoders_have_heads_that_divide_the_depth_not_the_width() -> None:
    """Hidden widths 14 and 43 with 2 heads: the depth is 40."""
    module = encoding()
    for encoder, width in ((module.trait_encoder, 14), (module.state_encoder, 43)):
        assert encoder is not None
        attention = encoder.layers[0].attention
        assert (attention.heads, attention.depth) == (2, 20)
        assert attention.query.weight.shape == (40, width)


def test_eq_6_takes_the_embedding_not_the_encoded_context() -> None:
    """V_cos depends on E_C alone, and the compressed context on H_C alone."""
    module, given = encoding(), inputs()
    before = module(**given).V_ts
    other_context = module(**(given | {"context": given["context"] + 1})).V_ts
    other_embedding = module(**(given | {"embedded": normal(3, 5, DIM, seed=9)})).V_ts
    cosine, meaning = slice(14, 46), [*range(4, 14), *range(47, 57)]
    close(other_context[..., cosine], before[..., cosine], 1e-12)
    differ(other_context[..., meaning], before[..., meaning])
    differ(other_embedding[..., cosine], before[..., cosine])
    close(other_embedding[..., meaning], before[..., meaning], 1e-12)


@pytest.mark.parametrize(
    ("trait", "state", "width"), [(True, True, 57), (False, True, 43), (True, False, 14)]
)
def test_ablations_leave_one_emotion_out(trait: bool, state: bool, width: int) -> None:
    """w/o TEE: V_s and H_s only, 43 wide; w/o SEE: V_t and H_t only, 14 wide.

    The remaining part is as with both.
    """
    module, given = encoding(trait, state), inputs()
    states = module(**given)
    assert module.width == states.V_ts.shape[-1] == states.H_ts.shape[-1] == width
    assert (states.V_t is not None) == (states.H_t is not None) == trait
    assert (states.V_s is not None) == (states.H_s is not None) == state
    assert (states.V_cos is not None) == state
    full = encoding()
    full.load_state_dict(module.state_dict(), strict=False)
    part = slice(0 if trait else 14, 57 if state else 14)
    both = full(**given)
    close(states.V_ts, both.V_ts[..., part], 1e-12)
    close(states.H_ts, both.H_ts[..., part], 1e-12)
    names = [name for name, _ in module.named_parameters()]
    assert any("trait" in name for name in names) == trait
    assert any("state" in name or "inclination" in name for name in names) == state


def test_without_both_emotions_nothing_is_left() -> None:
    """Both ablations at once: width 0."""
    module, given = encoding(trait=False, state=False), inputs()
    states = module(**given)
    assert module.width == 0
    assert states.V_ts.shape == states.H_ts.shape == (3, 5, 0)


@pytest.mark.parametrize("ffn", ["linear", "conv"])
def test_emotions_are_invariant_to_padding_and_batch(ffn: str) -> None:
    """A context has the same rows alone, in a batch, in another order and whatever is at PAD."""
    module, given = encoding(ffn=ffn), inputs(extra=2)
    mask = given["mask"]
    together = module(**given)
    per_token = ("context", "embedded", "vad", "idf")
    dirty = {n: torch.where(mask.unsqueeze(-1), given[n], 40.0).flip(0) for n in per_token}
    reverse = module(**(given | dirty | {"mask": mask.flip(0)}))
    for row, length in enumerate(LENGTHS):
        part = {n: given[n][row : row + 1, :length] for n in (*per_token, "mask")}
        alone = module(**(given | part))
        for name in vars(together):
            values = getattr(together, name)
            close(getattr(alone, name)[0], values[row, :length], 1e-6)
            close(getattr(reverse, name).flip(0)[row], values[row], 1e-6)
