"""A tiny decoder, contexts and targets for it, and checks that hold with and without biases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from helpers import array, close, normal, randomise, slow_decoder, tiny_config, tiny_tables
from torch import Tensor

from ctsm_lib.corpus import EOS, PAD
from ctsm_lib.model.generation import DecoderCache, ResponseDecoder, Taught, previous_words
from ctsm_lib.model.layers import TokenEmbedding
from ctsm_lib.model.pointer import Mixture, PointerGenerator, Scores, mixture
from ctsm_lib.settings import LayerSizes

DIM, SIZE = 8, 20
MEMORY = 11  # width of the states that the decoder attends to
DECODERS = [(ffn, layers) for ffn in ("linear", "conv") for layers in (1, 2)]
TIED = [False, True]
LENGTHS = [5, 3, 1]
CONTEXT = torch.tensor([[6, 9, 10, 9, 11], [6, 12, 13, PAD, PAD], [6, PAD, PAD, PAD, PAD]])
TARGET_LENGTHS = [7, 3, 1]
TARGET = torch.tensor([[9, 14, 9, 9, 10, 16, EOS], [12, 7, EOS, *[PAD] * 4], [EOS, *[PAD] * 6]])

# ----------------------------------------------------------------------------------------- builders


def random_decoder(
    kind: type[ResponseDecoder], make_pointer: Callable[[], PointerGenerator], ffn: str, layers: int
) -> ResponseDecoder:
    """A random decoder in evaluation mode."""
    sizes = LayerSizes(heads=2, key_depth=6, ffn_dim=10, ffn=ffn)
    decoder = kind(DIM, layers, sizes, memory_dim=MEMORY, make_pointer=make_pointer)
    return randomise(decoder, scale=0.4).double().eval()


def embedding() -> TokenEmbedding:
    vectors = tiny_tables(dim=DIM).vectors[:SIZE].double()
    return TokenEmbedding(vectors, tiny_config(embedding_scale=2.0))


def memory_states() -> Tensor:
    return normal(3, 5, MEMORY)


def cache_of(decoder: ResponseDecoder) -> DecoderCache:
    return decoder.start(memory_states(), CONTEXT != PAD, CONTEXT)


def teach(decoder: ResponseDecoder, embed: TokenEmbedding, target: Tensor = TARGET) -> Taught:
    previous = embed.look_up({"previous": previous_words(target)})["previous"]
    return decoder.teach(embed, previous, cache_of(decoder), target)


def step(
    decoder: ResponseDecoder, embed: TokenEmbedding, cache: DecoderCache, token: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    vectors = embed.look_up({"token": token.unsqueeze(1)})["token"]
    return decoder.step(embed, vectors, cache, token)


def by_place(taught: Taught, values: Tensor) -> Tensor:
    """[N] values at their places of [B, T], 0 elsewhere."""
    places = torch.zeros(taught.mask.shape, dtype=values.dtype)
    places[taught.mask] = values.detach()
    return places


def parts_of(
    pointer: PointerGenerator, states: Tensor, copy: Tensor, context: Tensor, words: Tensor,
    previous: Tensor | None = None,
) -> Mixture:  # fmt: skip
    """The parts of a pointer generator's mixture at N positions."""
    if previous is None:
        previous = torch.full((len(states),), PAD)
    return pointer(states, words, copy=copy, context=context, previous=previous)


def score_of(pointer: PointerGenerator, *given: Any, target: Tensor, **more: Any) -> Scores:
    """The scores of targets; `given` is as in `parts_of`."""
    return pointer.score(parts_of(pointer, *given, **more), target)


def distribution_of(pointer: PointerGenerator, *given: Any, **more: Any) -> tuple[Tensor, Tensor]:
    """Log P of every word [N, V], and alpha [N]; `given` is as in `parts_of`."""
    parts = parts_of(pointer, *given, **more)
    return mixture(parts.logits, parts.gate, parts.copy, parts.context)


def words_of() -> Tensor:
    return normal(SIZE, DIM, seed=5)


def copy_of(context: Tensor, seed: int = 2, sharp: float = 1.0) -> Tensor:
    """Random copy weights, zero at PAD."""
    scores = normal(*context.shape, seed=seed) * sharp
    return scores.masked_fill(context == PAD, float("-inf")).softmax(dim=1)


def random_context(rows: int, seed: int = 3) -> Tensor:
    """Few different words, so that some stand several times; PAD on the right."""
    random = torch.Generator().manual_seed(seed)
    context = torch.randint(6, 12, (rows, 7), generator=random)
    lengths = torch.randint(1, 8, (rows, 1), generator=random)
    return context.masked_fill(torch.arange(7) >= lengths, PAD)


def random_target(rows: int) -> Tensor:
    return torch.randint(6, SIZE, (rows,), generator=torch.Generator().manual_seed(1))


# ------------------------------------------------------------------------------------------- checks


def check_teaching_equals_loops(
    decoder: ResponseDecoder, slow: Callable[..., tuple[np.ndarray, float]]
) -> None:
    """`log P(y_t | y_<t, C)`, its arg-max and alpha at every real target token.

    EOS is one of them, PAD is not.

    Args:
        slow: P and alpha of (pointer, state, copy, context, words, answer so far, word before).
    """
    embed = embedding()
    taught = teach(decoder, embed)
    words = array(embed.words.weight)
    previous = previous_words(TARGET)
    expected = []
    for row, length in enumerate(TARGET_LENGTHS):
        embedded = array(embed(embed.look_up({"x": previous[row, :length]})["x"]))
        context = CONTEXT[row, : LENGTHS[row]].tolist()
        memory = memory_states()[row, : LENGTHS[row]].numpy()
        states, copy = slow_decoder(decoder, embedded, memory)
        close(taught.states[row, :length], states)
        for place in range(length):
            answer = TARGET[row, :place].tolist()
            before = int(previous[row, place])
            given = (states[place], copy[place], context, words, answer, before)
            mixed, alpha = slow(decoder.pointer, *given)
            target = int(TARGET[row, place])
            expected.append((np.log(mixed[target]), mixed.argmax(), alpha, target, row))
    scores = taught.scores
    found = (scores.log_prob, scores.prediction, scores.alpha, taught.target, taught.row)
    for values, truth in zip(found, zip(*expected, strict=True), strict=True):
        close(values, truth)


def check_steps_equal_teaching(decoder: ResponseDecoder, copies_once: bool = False) -> None:
    """`start` and `step` give the distribution that teacher forcing scores, token by token."""
    embed = embedding()
    taught = teach(decoder, embed)
    cache = cache_of(decoder)
    previous = previous_words(TARGET)
    log_probs = by_place(taught, taught.scores.log_prob)
    alphas = by_place(taught, taught.scores.alpha)
    predictions = by_place(taught, taught.scores.prediction)
    copies = torch.zeros(*TARGET.shape, CONTEXT.shape[1], dtype=taught.copy.dtype)
    copies[taught.mask] = taught.copy.detach()
    for place in range(TARGET.shape[1]):
        log_prob, alpha, copy = step(decoder, embed, cache, previous[:, place])
        close(log_prob.exp().sum(dim=1), torch.ones(3))
        if not copies_once:
            close(copy.sum(dim=1), torch.ones(3))
        for row in range(3):
            if TARGET[row, place] != PAD:
                close(log_prob[row, TARGET[row, place]], log_probs[row, place])
                close(alpha[row], alphas[row, place])
                close(copy[row], copies[row, place])
                assert log_prob[row].argmax() == predictions[row, place]
    assert cache.length == TARGET.shape[1]


def check_rows_can_be_selected(decoder: ResponseDecoder, after: int) -> None:
    """After `select` each row goes on as its origin would have, and the old cache is as it was."""
    embed = embedding()
    rows = torch.tensor([2, 0, 0])
    cache = cache_of(decoder)
    again = cache_of(decoder)
    for place in range(after):
        for one in (cache, again):
            step(decoder, embed, one, torch.tensor([7 + place, 8 + place, 9 + place]))
    chosen = cache.select(rows)
    for place in range(5):  # more places than a convolution reads
        tokens = torch.tensor([10 + place, 11, 12 + place])
        moved = step(decoder, embed, chosen, tokens[rows])
        stayed = step(decoder, embed, again, tokens)
        for new, old in zip(moved, stayed, strict=True):
            close(new, old[rows], 1e-6)
    assert cache.length == after
    old = step(decoder, embed, cache, torch.tensor([10, 11, 12]))[0]
    fresh = cache_of(decoder)
    for place in range(after):
        step(decoder, embed, fresh, torch.tensor([7 + place, 8 + place, 9 + place]))
    close(old, step(decoder, embed, fresh, torch.tensor([10, 11, 12]))[0], 1e-12)


def check_padding_changes_nothing(decoder: ResponseDecoder) -> None:
    """A row alone, without PAD in context and target, has the scores that it has in the batch."""
    embed = embedding()
    taught = teach(decoder, embed)
    for row, (length, words) in enumerate(zip(LENGTHS, TARGET_LENGTHS, strict=True)):
        here = slice(row, row + 1)
        context = CONTEXT[here, :length]
        target = TARGET[here, :words]
        cache = decoder.start(memory_states()[here, :length], context != PAD, context)
        previous = embed.look_up({"previous": previous_words(target)})["previous"]
        alone = decoder.teach(embed, previous, cache, target)
        close(alone.scores.log_prob, taught.scores.log_prob[taught.row == row], 1e-6)
        predictions = taught.scores.prediction[taught.row == row]
        assert torch.equal(alone.scores.prediction, predictions)
        close(alone.states[0], taught.states[row, :words], 1e-6)
