"""Knowledge encoder and the paper's fusion against the formulas. Paper: Sec. 3.3."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from helpers import (
    DIM,
    PAD,
    check_everything_takes_part,
    check_fusion_ignores_padding,
    close,
    differ,
    normal,
    padded,
    randomise,
    real_mask,
    slow_encoder,
    slow_knowledge,
    slow_separate_fusion,
)
from torch import Tensor, nn

from ctsm_lib.config import Config
from ctsm_lib.corpus import CLS
from ctsm_lib.interface import Tables
from ctsm_lib.model import CTSM
from ctsm_lib.model.context import KnowledgeEncoder, SeparateFusion
from ctsm_lib.model.layers import Encoder
from ctsm_lib.settings import LayerSizes

FFNS = ("linear", "conv")
# Of two utterances: five relations each, ids of their phrases; two relations have none.
PHRASES = [
    [[10, 11, 12], [], [13], [14, 15], [16, 17, 18, 19]],
    [[20], [21, 22], [23, 24, 25, 26, 27], [28], []],
]


def maker(ffn: str) -> Callable[[int], Encoder]:
    sizes = LayerSizes(heads=2, key_depth=6, ffn_dim=8, ffn=ffn)
    return lambda width: Encoder(width, 1, sizes)


def knowledge_encoder(ffn: str = "linear") -> KnowledgeEncoder:
    return randomise(KnowledgeEncoder(DIM, maker(ffn))).double()


def fusion_of(ffn: str = "linear") -> SeparateFusion:
    return randomise(SeparateFusion(DIM, maker(ffn)), scale=0.5).double()


def ids_of(phrases: Sequence[Sequence[Sequence[int]]], extra: int = 0) -> Tensor:
    """[B, 5, S] with CLS."""
    rows = [[CLS, *ids] for relations in phrases for ids in relations]
    return padded(rows, extra).view(len(phrases), 5, -1)


def embedding_of(ids: Tensor) -> Tensor:
    """A vector for each id and place, so that places of PAD are not zero."""
    return normal(60, DIM)[ids] + normal(20, DIM, seed=1)[: ids.shape[-1]]


# -------------------------------------------------------------------------------- knowledge encoder


@pytest.mark.parametrize("ffn", FFNS)
def test_knowledge_vectors_equal_the_formula(ffn: str) -> None:
    """`K_r`: CLS state of Encoder_cog; `k_e`: mean of Encoder_emo over the words.

    A relation without phrases has a learned vector.
    """
    encoder, ids = knowledge_encoder(ffn), ids_of(PHRASES)
    vectors = encoder(ids, embedding_of(ids))
    for row, relations in enumerate(PHRASES):
        embedded = [
            embedding_of(ids)[row, r, : len(words) + 1].numpy() for r, words in enumerate(relations)
        ]
        close(vectors[row], slow_knowledge(encoder, embedded))


def test_cognitive_relations_take_the_cls_state_and_the_reaction_a_mean_without_cls() -> None:
    """One phrase in all relations: four times the same `H[0]`, and for xReact a mean."""
    encoder, ids = knowledge_encoder(), ids_of([[[10, 11, 12]] * 5])
    embedded = embedding_of(ids)
    vectors = encoder(ids, embedded)[0]
    for relation in range(4):
        close(vectors[relation], slow_encoder(encoder.cognitive, embedded[0, 0].numpy())[0])
    close(vectors[4], slow_encoder(encoder.emotional, embedded[0, 0, 1:].numpy()).mean(axis=0))
    changed = embedded.clone()
    changed[:, :, 0] += normal(DIM, seed=3)  # CLS
    differ(encoder(ids, changed)[0, :4], vectors[:4])
    close(encoder(ids, changed)[0, 4], vectors[4], 1e-12)


def test_empty_relations_take_their_own_learned_vector_and_train_it() -> None:
    """Each empty relation has one vector of its own; only those that were used get a gradient."""
    encoder, ids = knowledge_encoder(), ids_of(PHRASES)
    vectors = encoder(ids, embedding_of(ids))
    assert torch.equal(vectors[0, 1], encoder.absent[1])
    assert torch.equal(vectors[1, 4], encoder.absent[4])
    vectors.sum().backward()
    assert encoder.absent.grad is not None
    assert (encoder.absent.grad != 0).any(dim=1).tolist() == [False, True, False, False, True]


@pytest.mark.parametrize("width", [0, 3])
def test_provider_none_gives_the_learned_vectors(width: int) -> None:
    """Without any phrase (S = 1, or CLS and PAD only) a context has the five learned vectors."""
    encoder, ids = knowledge_encoder(), ids_of([[[]] * 5] * 3, extra=width)
    assert torch.equal(encoder(ids, embedding_of(ids)), encoder.absent.expand(3, -1, -1))


@pytest.mark.parametrize("ffn", FFNS)
def test_knowledge_encoder_is_invariant_to_padding_and_batch(ffn: str) -> None:
    """An utterance alone, in a batch, in another order and with more PAD gives the same vectors."""
    encoder = knowledge_encoder(ffn)

    def encode(phrases: Sequence[Sequence[Sequence[int]]], extra: int = 0) -> Tensor:
        return encoder(ids := ids_of(phrases, extra), embedding_of(ids))

    together = encode(PHRASES)
    close(encode(PHRASES[:1])[0], together[0], 1e-6)
    close(encode(PHRASES[1:])[0], together[1], 1e-6)
    close(encode(PHRASES[::-1], extra=4).flip(0), together, 1e-6)


def test_pad_embeddings_do_not_matter() -> None:
    """Values at PAD places of phrases change no vector."""
    encoder, ids = knowledge_encoder("conv"), ids_of(PHRASES, extra=2)
    embedded = embedding_of(ids)
    changed = torch.where(
        (ids == PAD).unsqueeze(-1), torch.tensor(50.0, dtype=torch.float64), embedded
    )
    close(encoder(ids, changed), encoder(ids, embedded), 1e-12)


# ------------------------------------------------------------------------------------------- fusion


@pytest.mark.parametrize("ffn", FFNS)
def test_separate_fusion_equals_the_formula(ffn: str) -> None:
    """`U_r = Encoder_cr(W [H ; K_r])`, `Z = [U_1 .. U_4 ; U_e]`, `W_2 relu(W_1 (sigmoid(Z) * Z))`.

    The reference concatenates `[H ; K]` and applies one matrix, row by row without padding.
    """
    fusion, lengths = fusion_of(ffn), [6, 2, 4]
    context, knowledge = normal(3, 6, DIM), normal(3, 5, DIM, seed=1)
    fused = fusion(context, knowledge, real_mask(lengths))
    for row, length in enumerate(lengths):
        expected = slow_separate_fusion(
            fusion, context[row, :length].numpy(), knowledge[row].numpy()
        )
        close(fused[row, :length], expected)


def test_each_relation_and_the_context_take_part() -> None:
    """Changing one of the five vectors, or one token, changes that row's result and no other's."""
    check_everything_takes_part(fusion_of())


@pytest.mark.parametrize("ffn", FFNS)
def test_fusion_is_invariant_to_padding_and_batch(ffn: str) -> None:
    """A context has the same states alone, in a batch, in another order and whatever is at PAD."""
    check_fusion_ignores_padding(fusion_of(ffn))


def test_separate_fusion_has_the_papers_widths_and_no_biases() -> None:
    """`[H ; K]` 600 -> 300, Z 1500 -> 900 -> 300, no biases.

    One refining encoder serves the four cognitive relations, and one xReact.
    """
    model = CTSM(Config(), Tables.empty(40, 300))
    fusion = model.student_fusion
    assert isinstance(fusion, SeparateFusion)
    shapes = {
        name: tuple(layer.weight.shape)
        for name, layer in fusion.named_children()
        if isinstance(layer, nn.Linear)
    }
    assert shapes == {
        "context_in": (300, 300), "knowledge_in": (300, 300),
        "emotion_context_in": (300, 300), "emotion_knowledge_in": (300, 300),
        "first": (900, 1500), "second": (300, 900),
    }  # fmt: skip
    assert all(layer.bias is None for layer in fusion.children() if isinstance(layer, nn.Linear))
    assert sum(isinstance(module, Encoder) for module in fusion.modules()) == 2
    own = {id(parameter) for parameter in fusion.parameters()}
    assert not own & {id(parameter) for parameter in model.teacher_fusion.parameters()}
