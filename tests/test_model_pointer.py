"""The pointer generator against its formula, and its fast scores against the whole distribution.

Paper: Sec. 3.6.1.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from decoder_cases import (
    DIM,
    SIZE,
    TIED,
    copy_of,
    distribution_of,
    random_context,
    random_target,
    score_of,
    words_of,
)
from helpers import array, close, normal, randomise, slow_distribution, slow_softmax
from torch import Tensor

from ctsm_lib.corpus import PAD
from ctsm_lib.kernels import TargetLogProbability
from ctsm_lib.model.pointer import PointerGenerator


def pointer_of(tied: bool = False, scale: float = 1.0) -> PointerGenerator:
    return randomise(PointerGenerator(DIM, SIZE, tied=tied), scale=scale).double()


def full_distribution(
    pointer: PointerGenerator, states: Tensor, copy: Tensor, context: Tensor, words: Tensor
) -> Tensor:
    """[N, V] `alpha softmax(W o) + (1 - alpha) copy` in float64, by autograd."""
    logits = torch.nn.functional.linear(states, pointer.output.weight, pointer.output.bias)
    if pointer.bias is not None:
        logits = logits @ words.T + pointer.bias
    alpha = torch.sigmoid(pointer.gate(states))
    one_hot = torch.nn.functional.one_hot(context, SIZE).double()
    return alpha * logits.softmax(dim=1) + (1 - alpha) * torch.einsum("nl,nlv->nv", copy, one_hot)


@pytest.mark.parametrize("tied", TIED)
def test_distribution_mixes_generating_and_copying(tied: bool) -> None:
    """`P = alpha softmax(W o) + (1 - alpha) sum of copy weights of each word`, which sums to 1."""
    pointer = pointer_of(tied)
    states, context, words = normal(30, DIM), random_context(30), words_of()
    copy = copy_of(context)
    log_prob, alpha = distribution_of(pointer, states, copy, context, words)
    close(log_prob.exp().sum(dim=1), torch.ones(30))
    for row in range(30):
        expected, gate = slow_distribution(
            pointer, array(states[row]), copy[row].tolist(), context[row].tolist(), array(words)
        )
        close(log_prob[row].exp(), expected)
        close(alpha[row], gate)
    # This is the reference of the tests below.
    close(full_distribution(pointer, states, copy, context, words), log_prob.exp())


@pytest.mark.parametrize("tied", TIED)
@pytest.mark.parametrize("sharp", [1.0, 2.0, 5.0])
def test_score_equals_the_distribution_at_the_targets(sharp: float, tied: bool) -> None:
    """`score` builds no distribution, but has its log P of targets, its arg-max and its alpha."""
    pointer = pointer_of(tied, 0.5 * sharp)
    states, context, words = normal(300, DIM), random_context(300), words_of()
    given = (states, copy_of(context, sharp=sharp), context, words)
    target = random_target(300)
    scores = score_of(pointer, *given, target=target)
    expected, gate = distribution_of(pointer, *given)
    close(scores.log_prob, expected.gather(1, target.unsqueeze(1)).squeeze(1))
    close(scores.alpha, gate)
    assert torch.equal(scores.prediction, expected.argmax(dim=1))
    in_context = (context == scores.prediction.unsqueeze(1)).any(dim=1)
    assert 0 < in_context.sum() < 300  # both kinds of winners are among them


def made_pointer(generated: dict[int, float], alpha: float = 0.5) -> PointerGenerator:
    """A pointer that generates words with the given probabilities, whatever the state."""
    pointer = PointerGenerator(DIM, SIZE)
    rest = (1 - sum(generated.values())) / (SIZE - len(generated))
    with torch.no_grad():
        for layer in (pointer.output, pointer.gate):
            layer.weight.zero_()
        shares = [generated.get(word, rest) for word in range(SIZE)]
        pointer.output.bias.copy_(torch.tensor(shares).log())
        pointer.gate.bias.fill_(float(np.log(alpha / (1 - alpha))))
    return pointer


@pytest.mark.parametrize(
    ("generated", "context", "copy", "winner"),
    [
        # P(15) = 0.30; P(8) = 0.5 * 3 * 0.22 = 0.33 only as a sum: one place has 0.11, less than
        # word 7 with 0.17.
        ({15: 0.6, 8: 0.0001, 7: 0.0001}, [7, 8, 8, 8, PAD], [0.34, 0.22, 0.22, 0.22, 0], 8),
        # P(15) = 0.25; P(8) = 0.5 (0.3 + 0.3) = 0.30: second in generating and in copying, first in
        # the mixture.
        ({15: 0.5, 8: 0.3}, [7, 8, 9, PAD, PAD], [0.45, 0.3, 0.25, 0, 0], 8),
        # P(15) = 0.40; P(8) = 0.30: generating wins.
        ({15: 0.8}, [7, 8, 8, 9, PAD], [0.2, 0.3, 0.3, 0.2, 0], 15),
        # The likeliest generated word stands in the context, too.
        ({9: 0.5, 8: 0.4}, [8, 9, 7, PAD, PAD], [0.5, 0.2, 0.3, 0, 0], 8),
        # A context of one word.
        ({15: 0.9}, [6, PAD, PAD, PAD, PAD], [1.0, 0, 0, 0, 0], 6),
    ],
    ids=["by-sum", "by-mixture", "generated", "both", "one-word"],
)
def test_prediction_is_the_arg_max_of_the_whole_mixture(
    generated: dict[int, float], context: list[int], copy: list[float], winner: int
) -> None:
    """`argmax_v P(v)`, the sum of all copy weights of a word and of its generated part."""
    pointer = made_pointer(generated)
    given = (torch.zeros(1, DIM), torch.tensor([copy]), torch.tensor([context]), words_of())
    log_prob, _ = distribution_of(pointer, *given)
    prediction = score_of(pointer, *given, target=torch.tensor([10])).prediction
    assert log_prob.argmax() == prediction == winner


def test_prediction_in_bf16_sums_copy_weights_in_float32() -> None:
    """A word at three positions beats one at one position by less than bf16 can tell apart."""
    pointer = PointerGenerator(DIM, SIZE)
    with torch.no_grad():
        pointer.gate.weight.zero_()
        pointer.gate.bias.fill_(-20.0)  # copy
    context = torch.tensor([[10, 9, 9, 9, 11]])
    copy = torch.tensor([[0.3000, 0.1001, 0.1001, 0.1001, 0.3997 - 0.2]])
    words = normal(SIZE, DIM).float()
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            given = (normal(1, DIM).float(), copy, context, words)
            scores = score_of(pointer, *given, target=torch.tensor([12]))
        assert scores.prediction.tolist() == [9]


@pytest.mark.parametrize("tied", TIED)
def test_gradients_of_score_equal_autograd_through_the_distribution(tied: bool) -> None:
    """`d log P(y)` by states, copy weights, word table and all weights.

    There are targets in the context and others.
    """
    pointer, context = pointer_of(tied), random_context(40)
    target = torch.randint(6, 13, (40,), generator=torch.Generator().manual_seed(1))
    given = {"states": normal(40, DIM), "copy": copy_of(context), "words": words_of()}
    inside = (context == target.unsqueeze(1)).any(dim=1)
    assert 10 < inside.sum() < 30
    grad = normal(40, seed=8)  # a different factor for each target

    def gradients(fast: bool) -> dict[str, Tensor]:
        leaves = {name: value.clone().requires_grad_() for name, value in given.items()}
        arguments = (leaves["states"], leaves["copy"], context, leaves["words"])
        if fast:
            log_prob = score_of(pointer, *arguments, target=target).log_prob
        else:
            mixture = full_distribution(pointer, *arguments)
            log_prob = mixture.gather(1, target.unsqueeze(1)).squeeze(1).log()
        leaves |= dict(pointer.named_parameters())
        if not tied:
            del leaves["words"]
        values = torch.autograd.grad(log_prob, list(leaves.values()), grad)
        return dict(zip(leaves, values, strict=True))

    slow = gradients(fast=False)
    for name, value in gradients(fast=True).items():
        assert slow[name].abs().max() > 1e-3, name
        close(value, slow[name])


def test_target_log_probability_and_its_gradient() -> None:
    """`x_y - log sum exp x`, and its gradient by finite differences and by autograd in float64."""
    logits = (normal(6, 9) * 3).requires_grad_()
    target = torch.tensor([0, 8, 3, 3, 5, 1])
    value, log_sum, word = TargetLogProbability.apply(logits, target)
    assert word.tolist() == [int(np.argmax(array(row))) for row in logits]
    rows = zip(logits, target.tolist(), strict=True)
    close(value, [np.log(slow_softmax(row.tolist())[y]) for row, y in rows])
    close(log_sum, [np.log(np.exp(array(row)).sum()) for row in logits])
    assert torch.autograd.gradcheck(lambda x: TargetLogProbability.apply(x, target)[0], (logits,))
    (expected,) = torch.autograd.grad(
        logits.log_softmax(dim=1).gather(1, target.unsqueeze(1)).sum(), logits
    )
    close(torch.autograd.grad(value.sum(), logits)[0], expected, 1e-12)


@pytest.mark.parametrize("gate", [-1000.0, -100.0, 0.0, 100.0, 1000.0])
@pytest.mark.parametrize("logit", [0.0, -500.0])
@pytest.mark.parametrize("where", ["in the context", "elsewhere", "without weight"])
def test_extreme_gates_give_finite_losses_and_gradients(
    where: str, logit: float, gate: float
) -> None:
    """log P and its gradients are finite in float32, with alpha of 0 and 1 and rare words.

    `log P` is `logaddexp(log alpha + log p, log(1 - alpha) + log copy)`, computed in log space.
    """
    pointer = randomise(PointerGenerator(DIM, SIZE))
    with torch.no_grad():
        pointer.gate.bias.fill_(gate)
        pointer.output.bias[8] = logit
    states = normal(1, DIM, dtype=torch.float32).requires_grad_()
    scores = torch.tensor([[0.5, 0.1, 0.3]], requires_grad=True)
    copy = scores.softmax(dim=1)
    if where == "without weight":
        copy = copy * torch.tensor([[1.0, 0.0, 1.0]])
    context = torch.tensor([[7, 8 if where != "elsewhere" else 10, 9]])
    given = (states, copy, context, words_of())
    log_prob = score_of(pointer, *given, target=torch.tensor([8])).log_prob
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    gradients = [states.grad, scores.grad, *(p.grad for p in pointer.parameters())]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    opened = pointer.gate(states)[0, 0].double()
    generated = pointer.output(states)[0].double().log_softmax(dim=0)[8]
    generated = generated + torch.nn.functional.logsigmoid(opened)
    weight = copy[0, 1].double() if where == "in the context" else torch.tensor(0.0)
    expected = torch.logaddexp(generated, torch.nn.functional.logsigmoid(-opened) + weight.log())
    close(log_prob[0], expected, 1e-4)
    full, _ = distribution_of(pointer, *given)
    assert full.isfinite().all()
    close(full[0, 8], expected, 1e-4)


def test_output_bias_starts_as_it_is_given() -> None:
    """The bias before training is the given one, tied or not; without one a tied bias is zero."""
    log_unigram = normal(SIZE, dtype=torch.float32).log_softmax(dim=0)
    assert torch.equal(PointerGenerator(DIM, SIZE, bias=log_unigram).output.bias, log_unigram)
    tied = PointerGenerator(DIM, SIZE, tied=True, bias=log_unigram).bias
    assert tied is not None
    assert torch.equal(tied, log_unigram)
    zero = PointerGenerator(DIM, SIZE, tied=True).bias
    assert zero is not None
    assert not zero.any()
