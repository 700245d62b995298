"""Biased answers: the decoder and the pointer generator with `AnswerBias` and `copy_once`."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from beyond_cases import slow_biased_distribution
from decoder_cases import (
    DECODERS,
    DIM,
    SIZE,
    TIED,
    check_padding_changes_nothing,
    check_rows_can_be_selected,
    check_steps_equal_teaching,
    check_teaching_equals_loops,
    copy_of,
    distribution_of,
    parts_of,
    random_context,
    random_decoder,
    random_target,
    score_of,
    words_of,
)
from helpers import close, normal, randomise, tiny_config
from torch import Tensor

from ctsm_lib.model.generation import ResponseDecoder
from ctsm_lib.settings import AnswerBias
from ctsm_workbench.beyond.extras import RAREST, BiasedDecoder, BiasedPointer

BIASES: dict[str, Any] = dict(copy_bias=0.8, copy_once=True, tilt=0.5, repeat_bias=-1.5)
UNIGRAM = torch.linspace(-14, -1, SIZE, dtype=torch.float64)
decoders = pytest.mark.parametrize(("ffn", "layers"), DECODERS)
both = pytest.mark.parametrize("biases", [{}, BIASES], ids=["unbiased", "biased"])


def pointer_of(tied: bool = False, scale: float = 1.0, **biases: Any) -> BiasedPointer:
    config = tiny_config(dim=DIM, tie_output=tied, **biases)
    return randomise(BiasedPointer(config, UNIGRAM), scale=scale).double()


def decoder_of(
    biases: dict[str, Any], ffn: str = "linear", layers: int = 1, tied: bool = False
) -> ResponseDecoder:
    config = tiny_config(dim=DIM, tie_output=tied, **biases)
    return random_decoder(BiasedDecoder, lambda: BiasedPointer(config, UNIGRAM), ffn, layers)


# ------------------------------------------------------------------------------------------ decoder


@both
@pytest.mark.parametrize("tied", TIED)
@decoders
def test_teacher_forcing_equals_loops(
    ffn: str, layers: int, tied: bool, biases: dict[str, Any]
) -> None:
    """`log P(y_t | y_<t, C)`, its arg-max and alpha at every real target token."""
    decoder = decoder_of(biases, ffn, layers, tied)
    check_teaching_equals_loops(decoder, slow_biased_distribution)


@both
@pytest.mark.parametrize("tied", TIED)
@decoders
def test_step_by_step_equals_teacher_forcing(
    ffn: str, layers: int, tied: bool, biases: dict[str, Any]
) -> None:
    """`start` and `step` give the distribution that teacher forcing scores, token by token."""
    check_steps_equal_teaching(decoder_of(biases, ffn, layers, tied), copies_once=bool(biases))


@both
@decoders
@pytest.mark.parametrize("after", [0, 1, 3, 6])
def test_cache_rows_can_be_reordered_repeated_and_dropped(
    after: int, ffn: str, layers: int, biases: dict[str, Any]
) -> None:
    """After `select` each row goes on as its origin would have, and the old cache is as it was."""
    check_rows_can_be_selected(decoder_of(biases, ffn, layers), after)


@both
@decoders
def test_decoder_is_invariant_to_padding(ffn: str, layers: int, biases: dict[str, Any]) -> None:
    """A row alone, without PAD in context and target, has the scores that it has in the batch."""
    check_padding_changes_nothing(decoder_of(biases, ffn, layers))


# ------------------------------------------------------------------------------------------- biases


def check_training_is_unchanged(
    pointer: BiasedPointer, bias: AnswerBias, *given: Any, target: Tensor, **more: Any
) -> None:
    """In training mode the parts of the mixture and the scores are those without a bias."""
    pointer.train()
    pointer.answer_bias = AnswerBias()
    parts = parts_of(pointer, *given, **more)
    scores = pointer.score(parts, target)
    pointer.answer_bias = bias
    biased_parts = parts_of(pointer, *given, **more)
    biased_scores = pointer.score(biased_parts, target)
    for before, after in ((parts, biased_parts), (scores, biased_scores)):
        for name, values in vars(before).items():
            assert torch.equal(values, getattr(after, name)), name


def check_evaluation(
    pointer: BiasedPointer,
    expected: Tensor,
    alpha: Tensor,
    *given: Any,
    target: Tensor,
    **more: Any,
) -> None:
    """In evaluation mode P is `expected` [N, V], in distributions and in scores alike."""
    log_prob, gate = distribution_of(pointer.eval(), *given, **more)
    close(log_prob.exp(), expected)
    close(gate, alpha)
    scores = score_of(pointer, *given, target=target, **more)
    close(scores.log_prob, expected.gather(1, target.unsqueeze(1)).squeeze(1).log())
    close(scores.alpha, alpha)
    assert torch.equal(scores.prediction, expected.argmax(dim=1))


def generated_and_copied(
    pointer: BiasedPointer, states: Tensor, copy: Tensor, context: Tensor, words: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """softmax(W o) [N, V], copied [N, V] and alpha [N, 1], all without a bias."""
    copied = torch.zeros(len(states), SIZE, dtype=torch.float64).scatter_add(1, context, copy)
    alpha = torch.sigmoid(pointer.gate(states))
    return pointer.logits(states, words).softmax(dim=1), copied, alpha


@pytest.mark.parametrize("tied", TIED)
def test_copy_bias_moves_the_odds_in_evaluation_only(tied: bool) -> None:
    """`odds of copying = e^b times those of training`; both distributions stay as they are."""
    pointer, context = pointer_of(tied), random_context(30)
    given = (normal(30, DIM), copy_of(context), context, words_of())
    target = random_target(30)
    check_training_is_unchanged(pointer, AnswerBias(copy_bias=1.5), *given, target=target)
    generated, copied, alpha = generated_and_copied(pointer, *given)
    odds = (1 - alpha) / alpha * math.exp(1.5)
    biased = 1 / (1 + odds)
    expected = biased * generated + (1 - biased) * copied
    close(expected.sum(dim=1), torch.ones(30))
    check_evaluation(pointer, expected, biased.squeeze(1), *given, target=target)


@pytest.mark.parametrize("tied", TIED)
def test_the_tilt_divides_by_a_words_frequency_in_evaluation_only(tied: bool) -> None:
    """`P ~ softmax(W o) / p(v)^t`, with `p` no smaller than e^-10."""
    pointer, context = pointer_of(tied), random_context(30)
    given = (normal(30, DIM), copy_of(context), context, words_of())
    target = random_target(30)
    assert UNIGRAM.min() < RAREST
    check_training_is_unchanged(pointer, AnswerBias(tilt=0.5), *given, target=target)
    generated, copied, alpha = generated_and_copied(pointer, *given)
    generated = generated / UNIGRAM.exp().clamp(min=math.exp(RAREST)) ** 0.5
    expected = alpha * generated / generated.sum(dim=1, keepdim=True) + (1 - alpha) * copied
    check_evaluation(pointer, expected, alpha.squeeze(1), *given, target=target)


@pytest.mark.parametrize("tied", TIED)
def test_the_previous_word_is_generated_less_in_evaluation_only(tied: bool) -> None:
    """`e^b` times the odds of generating it among all words; it may still be copied."""
    pointer, context = pointer_of(tied), random_context(30)
    given = (normal(30, DIM), copy_of(context), context, words_of())
    dice = torch.Generator().manual_seed(1)
    target, previous = (torch.randint(6, SIZE, (30,), generator=dice) for _ in range(2))
    previous[:5] = target[:5]
    previous[5:10] = context[5:10, 0]  # these can be copied
    more = {"target": target, "previous": previous}
    check_training_is_unchanged(pointer, AnswerBias(repeat_bias=-2.0), *given, **more)
    generated, copied, alpha = generated_and_copied(pointer, *given)
    for row in range(30):
        generated[row, previous[row]] *= math.exp(-2)
    expected = alpha * generated / generated.sum(dim=1, keepdim=True) + (1 - alpha) * copied
    check_evaluation(pointer, expected, alpha.squeeze(1), *given, **more)


def test_the_probability_of_words_that_may_not_be_copied_goes_to_generating() -> None:
    """`copy_once`: weights that sum to k copy with `(1 - alpha) k`, also at k = 0 and 1."""
    pointer, context = pointer_of(copy_once=True).train(), torch.tensor([[7, 8, 9]] * 3)
    states, words = normal(3, DIM), words_of()
    copy = torch.tensor(
        [[0.2, 0.5, 0.3], [0.2, 0.0, 0.3], [0.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True
    )
    kept = copy.sum(dim=1, keepdim=True)
    generated, copied, alpha = generated_and_copied(pointer, states, copy, context, words)
    expected = (1 - (1 - alpha) * kept) * generated + (1 - alpha) * copied
    target = torch.tensor([8, 9, 7])
    scores = score_of(pointer, states, copy, context, words, target=target)
    truth = expected.gather(1, target.unsqueeze(1)).squeeze(1)
    close(scores.log_prob.exp(), truth, 1e-6)
    close(scores.alpha, 1 - ((1 - alpha) * kept).squeeze(1), 1e-6)
    (gradient,) = torch.autograd.grad(scores.log_prob[:2].sum(), copy, retain_graph=True)
    (true_gradient,) = torch.autograd.grad(truth[:2].log().sum(), copy)
    close(gradient[1], true_gradient[1], 1e-5)
    assert torch.autograd.grad(scores.log_prob.sum(), copy)[0].isfinite().all()
