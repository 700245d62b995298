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

from ctsm_lib.model.emotion import EmotionEncoding, StateInclination, bending, state_inclination
from ctsm_lib.model.layers import Encoder

LENGTHS = [5, 2, 4]
COMPRESSED = 10


def encoding(trait: bool = True, state: bool = True, ffn: str = "linear") -> EmotionEncoding:
    module = EmotionEncoding(
        DIM, COMPRESSED, trait, state, lambda width: Encoder(width, 1, 2, 40, 8, ffn, 0.0)
    )
    return randomise(module).double()


def inputs(extra: int = 0) -> dict[str, Tensor]:
    """What the encoding takes; PAD places hold numbers like any other."""
    length = max(LENGTHS) + extra
    return {
        "context": normal(3, length, DIM), "embedded": normal(3, length, DIM, seed=1),
        "labels_KD": normal(32, DIM, seed=2), "vad": normal(3, length, 3, seed=3).sigmoid(),
        "idf": normal(3, length, 1, seed=4).sigmoid(), "mask": real_mask(LENGTHS, extra),
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------- state inclination


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
    """A label itself has cosine 1, its opposite -1, whatever their lengths; a zero vector has 0, not NaN."""
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


# --------------------------------------------------------------------------------------------- embeddings and encoders


def test_eq_2_3_and_8_the_embeddings_and_their_order() -> None:
    """`V_t = [VAD(3) ; IDF(1) ; W_C H_C (10)]`, `V_s = [V_cos(32) ; IDF(1) ; W_C H_C (10)]`: 14 and 43 wide."""
    module, given = encoding(), inputs()
    embeddings, _ = module(**given)
    assert module.inclination is not None
    cosine = module.inclination(given["embedded"], given["labels_KD"], given["mask"])
    assert embeddings.shape == (3, 5, 14 + 43)
    for row, length in enumerate(LENGTHS):
        for place in range(length):
            meaning = array(module.compress.weight) @ array(
                given["context"][row, place]
            )  # one matrix for both
            vad, idf = array(given["vad"][row, place]), array(given["idf"][row, place])
            close(embeddings[row, place, :14], np.concatenate([vad, idf, meaning]))
            close(
                embeddings[row, place, 14:],
                np.concatenate([array(cosine[row, place]), idf, meaning]),
            )
    assert module.compress.weight.shape == (COMPRESSED, DIM)
    assert module.compress.bias is None


@pytest.mark.parametrize("ffn", ["linear", "conv"])
def test_eq_4_and_9_encode_each_embedding_on_its_own(ffn: str) -> None:
    """`H_t = Encoder_t(V_t)`, `H_s = Encoder_s(V_s)`, row by row without padding; rows of PAD are zero."""
    module, given = encoding(ffn=ffn), inputs(extra=2)
    embeddings, encoded = module(**given)
    for row, length in enumerate(LENGTHS):
        trait, state = array(embeddings[row, :length, :14]), array(embeddings[row, :length, 14:])
        close(encoded[row, :length, :14], slow_encoder(module.trait_encoder, trait))
        close(encoded[row, :length, 14:], slow_encoder(module.state_encoder, state))
        assert not embeddings[row, length:].any()
        assert not encoded[row, length:].any()


def test_emotion_encoders_have_heads_that_divide_the_depth_not_the_width() -> None:
    """Hidden widths 14 and 43 with 2 heads: the depth is 40."""
    module = encoding()
    for encoder, width in ((module.trait_encoder, 14), (module.state_encoder, 43)):
        assert encoder is not None
        attention = encoder.layers[0].attention
        assert (attention.heads, attention.depth) == (2, 20)
        assert attention.query.weight.shape == (40, width)


def test_eq_6_takes_the_embedding_not_the_encoded_context() -> None:
    """V_cos follows E_C alone; VAD and IDF go through unchanged; the compressed context follows H_C alone."""
    module, given = encoding(), inputs()
    before, _ = module(**given)
    other_context, _ = module(**(given | {"context": given["context"] + 1}))
    other_embedding, _ = module(**(given | {"embedded": normal(3, 5, DIM, seed=9)}))
    cosine, meaning = slice(14, 46), [*range(4, 14), *range(47, 57)]
    close(other_context[..., cosine], before[..., cosine], 1e-12)
    differ(other_context[..., meaning], before[..., meaning])
    differ(other_embedding[..., cosine], before[..., cosine])
    close(other_embedding[..., meaning], before[..., meaning], 1e-12)


@pytest.mark.parametrize(
    ("trait", "state", "width"), [(True, True, 57), (False, True, 43), (True, False, 14)]
)
def test_ablations_leave_one_emotion_out(trait: bool, state: bool, width: int) -> None:
    """w/o TEE: V_s and H_s only, 43 wide; w/o SEE: V_t and H_t only, 14 wide; the rest is as with both."""
    module, given = encoding(trait, state), inputs()
    embeddings, encoded = module(**given)
    assert module.width == embeddings.shape[-1] == encoded.shape[-1] == width
    full = encoding()
    full.load_state_dict(module.state_dict(), strict=False)
    part = slice(0 if trait else 14, 57 if state else 14)
    both_embeddings, both_encoded = full(**given)
    close(embeddings, both_embeddings[..., part], 1e-12)
    close(encoded, both_encoded[..., part], 1e-12)
    names = [name for name, _ in module.named_parameters()]
    assert any("trait" in name for name in names) == trait
    assert any("state" in name or "inclination" in name for name in names) == state


def test_without_both_emotions_nothing_is_left() -> None:
    """Both ablations at once: width 0."""
    module, given = encoding(trait=False, state=False), inputs()
    embeddings, encoded = module(**given)
    assert module.width == 0
    assert embeddings.shape == encoded.shape == (3, 5, 0)


@pytest.mark.parametrize("ffn", ["linear", "conv"])
def test_emotions_are_invariant_to_padding_and_batch(ffn: str) -> None:
    """A context alone, in a batch, in another order and with anything at PAD places gives the same rows."""
    module, given = encoding(ffn=ffn), inputs(extra=2)
    mask = given["mask"]
    together = module(**given)
    per_token = ("context", "embedded", "vad", "idf")
    dirty = {n: torch.where(mask.unsqueeze(-1), given[n], 40.0).flip(0) for n in per_token} | {
        "mask": mask.flip(0)
    }
    reverse = module(**(given | dirty))
    for row, length in enumerate(LENGTHS):
        alone = module(
            **(given | {n: given[n][row : row + 1, :length] for n in (*per_token, "mask")})
        )
        for part in range(2):
            close(alone[part][0], together[part][row, :length], 1e-6)
            close(reverse[part].flip(0)[row], together[part][row], 1e-6)


def test_bending_is_the_mean_distance_over_pairs_of_occurrences() -> None:
    """Word 3 occurs once and word 5 never: no pair, no bend."""
    states, words = normal(9, DIM), torch.tensor([0, 1, 0, 2, 1, 3, 0, 4, 4])
    states[8] = 3 * states[7]
    bent = bending(states, words, 6)
    for word in range(6):
        rows = array(states[words == word])
        cosine = slow_cosine(rows, rows) if len(rows) else np.zeros((0, 0))
        pairs = [1 - cosine[i, j] for i in range(len(rows)) for j in range(i)]
        assert bent[word].item() == pytest.approx(np.mean(pairs) if pairs else 0.0, abs=1e-6)
    assert bent[0] > 0.1
    assert bent[[3, 4, 5]].abs().max() < 1e-6
