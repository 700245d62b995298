"""Decoder, pointer generator and diversity loss against their formulas. Paper: Eq. (20), (21), L_div of (25)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import (
    array,
    close,
    differ,
    normal,
    randomise,
    real_mask,
    slow_decoder,
    slow_distribution,
    slow_softmax,
    tiny_tables,
)
from torch import Tensor

from ctsm_lib.corpus import EOS, PAD, SOS
from ctsm_lib.diversity import DiversityLoss
from ctsm_lib.model.generation import DecoderCache, ResponseDecoder, Taught, previous_words
from ctsm_lib.model.layers import TokenEmbedding
from ctsm_lib.model.pointer import RARE, Leaning, PointerGenerator, _TargetLogProbability

DIM, SIZE = 8, 20
DECODERS = [(ffn, layers) for ffn in ("linear", "conv") for layers in (1, 2)]
TIED = [False, True]
LEANING = Leaning(copy_bias=0.8, copy_once=True, tilt=0.5, repeat_bias=-1.5)
UNIGRAM = torch.linspace(-14, -1, SIZE, dtype=torch.float64)
leaning = pytest.mark.parametrize("leaning", [None, LEANING], ids=["upright", "leaning"])

# ------------------------------------------------------------------------------------------------------------- decoder


def decoder_of(
    ffn: str = "linear",
    layers: int = 1,
    memory: int = 11,
    tied: bool = False,
    leaning: Leaning | None = None,
) -> ResponseDecoder:
    """A random decoder as it is once trained."""
    decoder = ResponseDecoder(DIM, memory, layers, 2, 6, 10, ffn, 0.0, SIZE, tied, None, leaning)
    return randomise(decoder, scale=0.4).double().eval()


def embedding() -> TokenEmbedding:
    return TokenEmbedding(tiny_tables(dim=DIM).vectors[:SIZE].double(), 2.0, 0.0, True, PAD)


LENGTHS = [5, 3, 1]
CONTEXT = torch.tensor([[6, 9, 10, 9, 11], [6, 12, 13, PAD, PAD], [6, PAD, PAD, PAD, PAD]])
TARGET = torch.tensor([[9, 14, 9, 9, 10, 16, EOS], [12, 7, EOS, *[PAD] * 4], [EOS, *[PAD] * 6]])


def cache_of(decoder: ResponseDecoder, memory: int = 11) -> DecoderCache:
    cache = decoder.start(normal(3, 5, memory), CONTEXT != PAD, CONTEXT)
    cache.log_unigram = UNIGRAM
    return cache


def teach(decoder: ResponseDecoder, embed: TokenEmbedding, target: Tensor = TARGET) -> Taught:
    previous = embed.look_up({"previous": previous_words(target)})["previous"]
    return decoder.teach(embed, previous, cache_of(decoder), target)


def by_place(taught: Taught, values: Tensor) -> Tensor:
    """[N] values at their places of [B, T], 0 elsewhere."""
    places = torch.zeros(taught.mask.shape, dtype=values.dtype)
    places[taught.mask] = values.detach()
    return places


def test_decoder_reads_the_target_one_place_late() -> None:
    """`SOS y_1 .. y_{T-1}` predicts `y_1 .. y_T`."""
    assert previous_words(TARGET).tolist()[:2] == [
        [SOS, 9, 14, 9, 9, 10, 16],
        [SOS, 12, 7, EOS, PAD, PAD, PAD],
    ]


@pytest.mark.parametrize(("ffn", "layers"), DECODERS)
def test_eq_20_decoder_equals_loops(ffn: str, layers: int) -> None:
    """Causal self-attention, attention to the memory, feed-forward; copy weights: last layer, mean over heads."""
    decoder, states = decoder_of(ffn, layers), normal(3, 7, DIM, seed=1)
    memory, lengths = normal(3, 5, 11), [7, 3, 1]
    result, copy = decoder.run(states, cache_of(decoder), real_mask(lengths))
    for row, length in enumerate(lengths):
        expected = slow_decoder(
            decoder, states[row, :length].numpy(), memory[row, : LENGTHS[row]].numpy()
        )
        close(result[row, :length], expected[0])
        close(copy[row, :length, : LENGTHS[row]], expected[1])
        assert not copy[row, :, LENGTHS[row] :].any()
    close(copy.sum(dim=2), torch.ones(3, 7))


@leaning
@pytest.mark.parametrize("tied", TIED)
@pytest.mark.parametrize(("ffn", "layers"), DECODERS)
def test_eq_20_and_21_teacher_forcing_equals_loops(
    ffn: str, layers: int, tied: bool, leaning: Leaning | None
) -> None:
    """`log P(y_t | y_<t, C)`, its arg-max and alpha at every real target token; EOS is one of them, PAD is not."""
    decoder, embed = decoder_of(ffn, layers, tied=tied, leaning=leaning), embedding()
    taught = teach(decoder, embed)
    words, previous = array(embed.words.weight), previous_words(TARGET)
    expected = []
    for row, length in enumerate((7, 3, 1)):
        embedded = array(embed(embed.look_up({"x": previous[row, :length]})["x"]))
        states, copy = slow_decoder(
            decoder, embedded, normal(3, 5, 11)[row, : LENGTHS[row]].numpy()
        )
        close(taught.states[row, :length], states)
        for place in range(length):
            context = CONTEXT[row, : LENGTHS[row]].tolist()
            said, before = TARGET[row, :place].tolist(), int(previous[row, place])
            given = (states[place], copy[place], context, words, said, before, array(UNIGRAM))
            mixture, alpha = slow_distribution(decoder.pointer, *given)
            target = int(TARGET[row, place])
            expected.append((np.log(mixture[target]), mixture.argmax(), alpha, target, row))
    found = (taught.log_prob, taught.prediction, taught.alpha, taught.target, taught.row)
    for values, truth in zip(found, zip(*expected, strict=True), strict=True):
        close(values, truth)


@pytest.mark.parametrize(("ffn", "layers"), DECODERS)
def test_decoder_is_causal(ffn: str, layers: int) -> None:
    """Another target token at t changes no log-probability and no prediction before t, and does change later ones."""
    decoder, embed = decoder_of(ffn, layers), embedding()
    before = teach(decoder, embed)
    for place in range(6):
        changed = TARGET.clone()
        changed[0, place] = 18
        after = teach(decoder, embed, changed)
        for values in ("log_prob", "alpha"):
            old, new = (by_place(taught, getattr(taught, values))[0] for taught in (before, after))
            close(new[:place], old[:place], 1e-9)
            differ(new[place + 1 :], old[place + 1 :], 1e-6)
        assert torch.equal(*(by_place(t, t.prediction)[0, : place + 1] for t in (before, after)))
        close(after.states[0, : place + 1], before.states[0, : place + 1], 1e-9)


@leaning
@pytest.mark.parametrize("tied", TIED)
@pytest.mark.parametrize(("ffn", "layers"), DECODERS)
def test_step_by_step_equals_teacher_forcing(
    ffn: str, layers: int, tied: bool, leaning: Leaning | None
) -> None:
    """`start` and `step` give, token for token, the distribution that teacher forcing scores."""
    decoder, embed = decoder_of(ffn, layers, tied=tied, leaning=leaning), embedding()
    taught, cache, previous = teach(decoder, embed), cache_of(decoder), previous_words(TARGET)
    log_probs, alphas, predictions = (
        by_place(taught, v) for v in (taught.log_prob, taught.alpha, taught.prediction)
    )
    for place in range(TARGET.shape[1]):
        log_prob, alpha, copy = decoder.step(embed, cache, previous[:, place])
        close(log_prob.exp().sum(dim=1), torch.ones(3))
        if leaning is None:
            close(copy.sum(dim=1), torch.ones(3))
        for row in range(3):
            if TARGET[row, place] != PAD:
                close(log_prob[row, TARGET[row, place]], log_probs[row, place])
                close(alpha[row], alphas[row, place])
                assert log_prob[row].argmax() == predictions[row, place]
    assert cache.length == TARGET.shape[1]


@leaning
@pytest.mark.parametrize(("ffn", "layers"), DECODERS)
@pytest.mark.parametrize("after", [0, 1, 3, 6])
def test_cache_rows_can_be_reordered_repeated_and_dropped(
    after: int, ffn: str, layers: int, leaning: Leaning | None
) -> None:
    """After `select` each row goes on as its origin would have, and the old cache is as it was."""
    decoder, embed, rows = (
        decoder_of(ffn, layers, leaning=leaning),
        embedding(),
        torch.tensor([2, 0, 0]),
    )
    cache, again = cache_of(decoder), cache_of(decoder)
    for place in range(after):
        for one in (cache, again):
            decoder.step(embed, one, torch.tensor([7 + place, 8 + place, 9 + place]))
    chosen = cache.select(rows)
    for place in range(5):  # longer than a convolution reaches
        tokens = torch.tensor([10 + place, 11, 12 + place])
        moved = decoder.step(embed, chosen, tokens[rows])
        stayed = decoder.step(embed, again, tokens)
        for new, old in zip(moved, stayed, strict=True):
            close(new, old[rows], 1e-6)
    assert cache.length == after
    old = decoder.step(embed, cache, torch.tensor([10, 11, 12]))[0]
    fresh = cache_of(decoder)
    for place in range(after):
        decoder.step(embed, fresh, torch.tensor([7 + place, 8 + place, 9 + place]))
    close(old, decoder.step(embed, fresh, torch.tensor([10, 11, 12]))[0], 1e-12)


@leaning
@pytest.mark.parametrize(("ffn", "layers"), DECODERS)
def test_decoder_is_invariant_to_padding(ffn: str, layers: int, leaning: Leaning | None) -> None:
    """A row alone, without PAD in context and target, has the scores that it has in the batch."""
    decoder, embed = decoder_of(ffn, layers, leaning=leaning), embedding()
    taught = teach(decoder, embed)
    for row, (length, words) in enumerate(zip(LENGTHS, (7, 3, 1), strict=True)):
        context, target = CONTEXT[row : row + 1, :length], TARGET[row : row + 1, :words]
        cache = decoder.start(normal(3, 5, 11)[row : row + 1, :length], context != PAD, context)
        cache.log_unigram = UNIGRAM
        previous = embed.look_up({"previous": previous_words(target)})["previous"]
        alone = decoder.teach(embed, previous, cache, target)
        close(alone.log_prob, taught.log_prob[taught.row == row], 1e-6)
        assert torch.equal(alone.prediction, taught.prediction[taught.row == row])
        close(alone.states[0], taught.states[row, :words], 1e-6)


def test_dropout_leaves_the_copy_weights_a_distribution() -> None:
    """In training dropout acts on what attention mixes, not on the weights that are copied with: they sum to 1."""
    decoder = ResponseDecoder(DIM, 11, 2, 2, 6, 10, "linear", 0.5, SIZE, False, None)
    torch.manual_seed(0)
    cache = decoder.start(normal(3, 5, 11).float(), CONTEXT != PAD, CONTEXT)
    _, copy = decoder.train().run(normal(3, 7, DIM).float(), cache, TARGET != PAD)
    close(copy.sum(dim=2), torch.ones(3, 7))


# --------------------------------------------------------------------------------------------------- pointer generator


def pointer_of(
    tied: bool = False, scale: float = 1.0, bias: Tensor | None = None
) -> PointerGenerator:
    return randomise(PointerGenerator(DIM, SIZE, tied, bias), scale=scale).double()


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


def full_distribution(
    pointer: PointerGenerator, states: Tensor, copy: Tensor, context: Tensor, words: Tensor
) -> Tensor:
    """[N, V] `alpha softmax(W o) + (1 - alpha) copy` in float64, with autograd through all of it."""
    logits = torch.nn.functional.linear(states, pointer.output.weight, pointer.output.bias)
    if pointer.tied:
        logits = logits @ words.T + pointer.bias
    alpha = torch.sigmoid(pointer.gate(states))
    one_hot = torch.nn.functional.one_hot(context, SIZE).double()
    return alpha * logits.softmax(dim=1) + (1 - alpha) * torch.einsum("nl,nlv->nv", copy, one_hot)


@pytest.mark.parametrize("tied", TIED)
def test_distribution_mixes_generating_and_copying(tied: bool) -> None:
    """`P = alpha softmax(W o) + (1 - alpha) sum of copy weights of each word`, which sums to 1."""
    pointer, states, context, words = (
        pointer_of(tied),
        normal(30, DIM),
        random_context(30),
        words_of(),
    )
    copy = copy_of(context)
    log_prob, alpha = pointer.distribution(states, copy, context, words)
    close(log_prob.exp().sum(dim=1), torch.ones(30))
    for row in range(30):
        expected, gate = slow_distribution(
            pointer, array(states[row]), copy[row].tolist(), context[row].tolist(), array(words)
        )
        close(log_prob[row].exp(), expected)
        close(alpha[row], gate)
    close(
        full_distribution(pointer, states, copy, context, words), log_prob.exp()
    )  # the reference of the tests below


def test_copy_bias_moves_the_odds_once_trained() -> None:
    """`odds of copying = e^b times those of training`; generating and copying themselves stay as they are."""
    pointer, states, context, words = pointer_of(), normal(30, DIM), random_context(30), words_of()
    copy, target = (
        copy_of(context),
        torch.randint(6, SIZE, (30,), generator=torch.Generator().manual_seed(1)),
    )
    trained = pointer.train().score(states, copy, context, target, words)
    pointer.copy_bias = 1.5
    for before, after in zip(
        trained, pointer.score(states, copy, context, target, words), strict=True
    ):
        assert torch.equal(before, after)  # training knows nothing of it
    alpha = torch.sigmoid(pointer.gate(states)).squeeze(1)
    log_prob, gate = pointer.eval().distribution(states, copy, context, words)
    close((1 - gate) / gate, (1 - alpha) / alpha * math.exp(1.5))
    close(log_prob.exp().sum(dim=1), torch.ones(30))
    score, _, prediction, scored_gate = pointer.score(states, copy, context, target, words)
    close(score, log_prob.gather(1, target.unsqueeze(1)).squeeze(1))
    close(scored_gate, gate)
    assert torch.equal(prediction, log_prob.argmax(dim=1))


@pytest.mark.parametrize("tied", TIED)
def test_the_tilt_divides_by_how_common_a_word_is_once_trained(tied: bool) -> None:
    """`P ~ softmax(W o) / p(v)^t`, `p` no smaller than e^-10; training knows nothing of it."""
    pointer, states, context, words = (
        pointer_of(tied),
        normal(30, DIM),
        random_context(30),
        words_of(),
    )
    copy, target = (
        copy_of(context),
        torch.randint(6, SIZE, (30,), generator=torch.Generator().manual_seed(1)),
    )
    upright = [
        pointer.score(states, copy, context, target, words),
        pointer.distribution(states, copy, context, words),
    ]
    lean = PointerGenerator(DIM, SIZE, tied, None, Leaning(tilt=0.5)).double()
    lean.load_state_dict(pointer.state_dict())
    given = dict(log_unigram_V=UNIGRAM)
    assert UNIGRAM.min() < RARE
    for before, after in zip(
        upright[0], lean.train().score(states, copy, context, target, words, **given), strict=True
    ):
        assert torch.equal(before, after)
    copied = torch.zeros(30, SIZE, dtype=torch.float64).scatter_add_(1, context, copy)
    gate = torch.sigmoid(pointer.gate(states))
    common = UNIGRAM.exp().clamp(min=math.exp(RARE))
    generated = pointer.logits(states, words).exp() / common**0.5
    expected = gate * generated / generated.sum(dim=1, keepdim=True) + (1 - gate) * copied
    log_prob, alpha = lean.eval().distribution(states, copy, context, words, **given)
    close(log_prob.exp(), expected)
    close(alpha, gate.squeeze(1))
    score, _, prediction, _ = lean.score(states, copy, context, target, words, **given)
    close(score, expected.gather(1, target.unsqueeze(1)).squeeze(1).log())
    assert torch.equal(prediction, expected.argmax(dim=1))


@pytest.mark.parametrize("tied", TIED)
def test_the_word_just_said_is_said_less_once_trained(tied: bool) -> None:
    """`e^b` times the odds of generating it among all words; it may still be copied; training knows nothing of it."""
    pointer, states, context, words = (
        pointer_of(tied),
        normal(30, DIM),
        random_context(30),
        words_of(),
    )
    dice = torch.Generator().manual_seed(1)
    copy, target, said = (
        copy_of(context),
        *(torch.randint(6, SIZE, (30,), generator=dice) for _ in "ab"),
    )
    said[:5], said[5:10] = (
        target[:5],
        context[5:10, 0],
    )  # the target itself; a word that can be copied
    upright = pointer.train().score(states, copy, context, target, words, before_N=said)
    generated = pointer.logits(states, words).softmax(dim=1)
    pointer.repeat_bias = -2.0
    for before, after in zip(
        upright, pointer.score(states, copy, context, target, words, before_N=said), strict=True
    ):
        assert torch.equal(before, after)
    for row in range(30):
        generated[row, said[row]] *= math.exp(-2)
    gate = torch.sigmoid(pointer.gate(states))
    copied = torch.zeros(30, SIZE, dtype=torch.float64).scatter_add_(1, context, copy)
    expected = gate * generated / generated.sum(dim=1, keepdim=True) + (1 - gate) * copied
    log_prob, alpha = pointer.eval().distribution(states, copy, context, words, before_B=said)
    close(log_prob.exp(), expected)
    close(alpha, gate.squeeze(1))
    score, _, prediction, _ = pointer.score(states, copy, context, target, words, before_N=said)
    close(score, expected.gather(1, target.unsqueeze(1)).squeeze(1).log())
    assert torch.equal(prediction, expected.argmax(dim=1))


def test_what_may_not_be_copied_is_generated() -> None:
    """`copy_once`: weights that sum to k copy with `(1 - alpha) k` and generate with the rest; also at k = 0 and 1."""
    pointer, context, words = pointer_of().train(), torch.tensor([[7, 8, 9]] * 3), words_of()
    pointer.copy_once, states = True, normal(3, DIM)
    copy = torch.tensor(
        [[0.2, 0.5, 0.3], [0.2, 0.0, 0.3], [0.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True
    )
    kept, gate = copy.sum(dim=1, keepdim=True), torch.sigmoid(pointer.gate(states))
    generated = pointer.logits(states, words).softmax(dim=1)
    copied = torch.zeros(3, SIZE, dtype=torch.float64).scatter_add(1, context, copy)
    expected = (1 - (1 - gate) * kept) * generated + (1 - gate) * copied
    target = torch.tensor([8, 9, 7])
    score, _, _, alpha = pointer.score(states, copy, context, target, words)
    close(score.exp(), expected.gather(1, target.unsqueeze(1)).squeeze(1), 1e-6)
    close(alpha, 1 - ((1 - gate) * kept).squeeze(1), 1e-6)
    (gradient,) = torch.autograd.grad(score[:2].sum(), copy, retain_graph=True)
    (truth,) = torch.autograd.grad(
        expected.gather(1, target.unsqueeze(1)).squeeze(1)[:2].log().sum(), copy
    )
    close(gradient[1], truth[1], 1e-5)
    assert torch.autograd.grad(score.sum(), copy)[0].isfinite().all()


@pytest.mark.parametrize("tied", TIED)
@pytest.mark.parametrize("sharp", [1.0, 2.0, 5.0])
def test_score_equals_the_distribution_at_the_targets(sharp: float, tied: bool) -> None:
    """`score` builds no distribution, yet has its log-probability of the target, its arg-max and its alpha."""
    pointer, states, context, words = (
        pointer_of(tied, 0.5 * sharp),
        normal(300, DIM),
        random_context(300),
        words_of(),
    )
    copy = copy_of(context, sharp=sharp)
    target = torch.randint(6, SIZE, (300,), generator=torch.Generator().manual_seed(1))
    log_prob, _, prediction, alpha = pointer.score(states, copy, context, target, words)
    expected, gate = pointer.distribution(states, copy, context, words)
    close(log_prob, expected.gather(1, target.unsqueeze(1)).squeeze(1))
    close(alpha, gate)
    assert torch.equal(prediction, expected.argmax(dim=1))
    in_context = (context == prediction.unsqueeze(1)).any(dim=1)
    assert 0 < in_context.sum() < 300  # both kinds of winners are among them


def made_pointer(generated: dict[int, float], alpha: float = 0.5) -> PointerGenerator:
    """A pointer that generates words with the given probabilities, whatever the state."""
    pointer = PointerGenerator(DIM, SIZE, False, None)
    rest = (1 - sum(generated.values())) / (SIZE - len(generated))
    with torch.no_grad():
        for layer in (pointer.output, pointer.gate):
            layer.weight.zero_()
        pointer.output.bias.copy_(
            torch.tensor([generated.get(word, rest) for word in range(SIZE)]).log()
        )
        pointer.gate.bias.fill_(float(np.log(alpha / (1 - alpha))))
    return pointer


@pytest.mark.parametrize(
    ("generated", "context", "copy", "winner"),
    [
        # P(15) = 0.30; P(8) = 0.5 * 3 * 0.22 = 0.33 only as a sum: one place has 0.11, less than word 7 with 0.17.
        ({15: 0.6, 8: 0.0001, 7: 0.0001}, [7, 8, 8, 8, PAD], [0.34, 0.22, 0.22, 0.22, 0], 8),
        # P(15) = 0.25; P(8) = 0.5 (0.3 + 0.3) = 0.30: second in generating and in copying, first in the mixture.
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
    """`argmax_v P(v)`, with all copy weights of a word summed and both ways to say it added."""
    pointer = made_pointer(generated)
    given = (torch.zeros(1, DIM), torch.tensor([copy]), torch.tensor([context]))
    log_prob, _ = pointer.distribution(*given, words_of())
    _, _, prediction, _ = pointer.score(*given, torch.tensor([10]), words_of())
    assert log_prob.argmax() == prediction == winner


def test_prediction_in_bf16_sums_copy_weights_in_float32() -> None:
    """A word that stands three times beats one that stands once by less than bf16 can tell apart."""
    pointer = PointerGenerator(DIM, SIZE, False, None)
    with torch.no_grad():
        pointer.gate.weight.zero_()
        pointer.gate.bias.fill_(-20.0)  # copy
    context = torch.tensor([[10, 9, 9, 9, 11]])
    copy = torch.tensor([[0.3000, 0.1001, 0.1001, 0.1001, 0.3997 - 0.2]])
    words = normal(SIZE, DIM).float()
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            _, _, prediction, _ = pointer.score(
                normal(1, DIM).float(), copy, context, torch.tensor([12]), words
            )
        assert prediction.tolist() == [9]


@pytest.mark.parametrize("tied", TIED)
def test_gradients_of_score_equal_autograd_through_the_distribution(tied: bool) -> None:
    """`d log P(y)` by states, copy weights, word table and all weights, for targets in and out of the context."""
    pointer, context = pointer_of(tied), random_context(40)
    target = torch.randint(6, 13, (40,), generator=torch.Generator().manual_seed(1))
    given = {"states": normal(40, DIM), "copy": copy_of(context), "words": words_of()}
    inside = (context == target.unsqueeze(1)).any(dim=1)
    assert 10 < inside.sum() < 30
    grad = normal(40, seed=8)  # a different factor for each target

    def gradients(fast: bool) -> dict[str, Tensor]:
        leaves = {name: value.clone().requires_grad_() for name, value in given.items()}
        arguments = (leaves["states"], leaves["copy"], context)
        if fast:
            log_prob, _, _, _ = pointer.score(*arguments, target, leaves["words"])
        else:
            mixture = full_distribution(pointer, *arguments, leaves["words"])
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
    """`x_y - log sum exp x`; its hand-written gradient equals finite differences and autograd's in float64."""
    logits, target = (normal(6, 9) * 3).requires_grad_(), torch.tensor([0, 8, 3, 3, 5, 1])
    value, mean, log_sum, word = _TargetLogProbability.apply(logits, target, True)
    assert word.tolist() == [int(np.argmax(array(row))) for row in logits]
    close(
        value,
        [
            np.log(slow_softmax(row.tolist())[y])
            for row, y in zip(logits, target.tolist(), strict=True)
        ],
    )
    close(log_sum, [np.log(np.exp(array(row)).sum()) for row in logits])
    close(mean, [np.log(slow_softmax(row.tolist())).mean() for row in logits])
    for smooth, results in ((False, 1), (True, 2)):
        assert torch.autograd.gradcheck(
            lambda x, s=smooth, r=results: _TargetLogProbability.apply(x, target, s)[:r], (logits,)
        )
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
    """alpha of 0 and 1, words that are neither generated nor copied: log P and its gradients are finite in float32.

    `log P` is that of the formula in log space: `logaddexp(log alpha + log p, log(1 - alpha) + log copy)`.
    """
    pointer = randomise(PointerGenerator(DIM, SIZE, False, None))
    with torch.no_grad():
        pointer.gate.bias.fill_(gate)
        pointer.output.bias[8] = logit
    states = normal(1, DIM, dtype=torch.float32).requires_grad_()
    scores = torch.tensor([[0.5, 0.1, 0.3]], requires_grad=True)
    copy = scores.softmax(dim=1)
    if where == "without weight":
        copy = copy * torch.tensor([[1.0, 0.0, 1.0]])
    context = torch.tensor([[7, 8 if where != "elsewhere" else 10, 9]])
    log_prob, _, _, _ = pointer.score(states, copy, context, torch.tensor([8]), words_of())
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    gradients = [states.grad, scores.grad, *(p.grad for p in pointer.parameters())]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    opened = pointer.gate(states)[0, 0].double()
    generated = pointer.output(states)[0].double().log_softmax(dim=0)[
        8
    ] + torch.nn.functional.logsigmoid(opened)
    weight = copy[0, 1].double() if where == "in the context" else torch.tensor(0.0)
    expected = torch.logaddexp(generated, torch.nn.functional.logsigmoid(-opened) + weight.log())
    close(log_prob[0], expected, 1e-4)
    full, _ = pointer.distribution(states, copy, context, words_of())
    assert full.isfinite().all()
    close(full[0, 8], expected, 1e-4)


def test_output_bias_starts_as_it_is_given() -> None:
    """`output_bias="unigram"`: the bias before training is log p, tied or not; "zero" leaves a tied one at zero."""
    log_unigram = normal(SIZE, dtype=torch.float32).log_softmax(dim=0)
    assert torch.equal(PointerGenerator(DIM, SIZE, False, log_unigram).output.bias, log_unigram)
    tied = PointerGenerator(DIM, SIZE, True, log_unigram).bias
    assert tied is not None
    assert torch.equal(tied, log_unigram)
    zero = PointerGenerator(DIM, SIZE, True, None).bias
    assert zero is not None
    assert not zero.any()


# ------------------------------------------------------------------------------------------------------ diversity loss


def taught_with(predictions: list[list[int]], width: int = 0) -> Taught:
    """What `teach` would return for these predictions, row by row."""
    lengths = [len(row) for row in predictions]
    mask = real_mask(lengths, extra=width)
    flat = torch.tensor([word for row in predictions for word in row])
    nothing = torch.zeros(len(flat))
    return Taught(
        nothing,
        nothing,
        flat,
        nothing,
        flat,
        mask.nonzero()[:, 0],
        torch.zeros(*mask.shape, DIM),
        mask,
    )


PREDICTIONS = [[7, 8, EOS, 7, 9], [8, 8], [EOS, 10], [9, 9, 9, EOS]]


def test_diversity_counts_predictions_before_the_end() -> None:
    """f_v: how often v was predicted; a predicted EOS and what follows it in that row do not count."""
    loss, expected = DiversityLoss(SIZE), np.zeros(SIZE)
    for row in PREDICTIONS:
        for word in row:
            if word == EOS:
                break
            expected[word] += 1
    loss.update(taught_with(PREDICTIONS))
    assert loss.counts.tolist() == expected.tolist()
    assert loss.counts[[7, 8, 9, 10, EOS]].tolist() == [1, 3, 3, 0, 0]
    loss.update(taught_with(PREDICTIONS, width=3))  # counts go on, and PAD changes none
    assert loss.counts.tolist() == (2 * expected).tolist()


def test_diversity_weights_are_the_formula_with_mean_one() -> None:
    """`w_v = 1 - f_v / max f`, divided by its mean over the vocabulary: 1 on average, 0 for the commonest word."""
    loss = DiversityLoss(SIZE)
    loss.counts.copy_(torch.randint(0, 1000, (SIZE,), generator=torch.Generator().manual_seed(0)))
    counts = loss.counts.tolist()
    raw = [1 - f / max(counts) for f in counts]
    weights = loss.weights(torch.arange(SIZE))
    close(weights, [w / (sum(raw) / SIZE) for w in raw], 1e-6)
    close(weights.double().mean(), 1.0, 1e-7)
    assert weights[int(np.argmax(counts))] == 0
    assert weights[int(np.argmin(counts))] == weights.max()
    close(loss.weights(torch.tensor([3, 3, 7])), weights[[3, 3, 7]], 1e-12)


def test_diversity_weights_are_one_before_anything_was_said() -> None:
    """Without counts the loss is the plain NLL."""
    assert torch.equal(DiversityLoss(SIZE).weights(torch.arange(SIZE)), torch.ones(SIZE))


def test_diversity_weights_stay_exact_for_many_counts() -> None:
    """After a long training the commonest word has counts beyond float32's 2^24 and the weights are still right."""
    loss = DiversityLoss(23_000)
    loss.counts[5], loss.counts[6] = 2**26 + 1, 2**26
    commonest, next_to_it = loss.weights(torch.tensor([5, 6])).tolist()
    assert commonest == 0
    assert next_to_it == pytest.approx(
        1 / (2**26 + 1), rel=1e-3
    )  # divided by the mean, 22,998 / 23,000
    close(loss.weights(torch.arange(23_000)).double().mean(), 1.0, 1e-6)


def test_diversity_counts_are_state() -> None:
    """A checkpoint holds the counts; they are no parameters."""
    loss, other = DiversityLoss(SIZE), DiversityLoss(SIZE)
    loss.update(taught_with(PREDICTIONS))
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other.counts, loss.counts)
    assert other.counts.sum() > 0
    assert not list(loss.parameters())


def test_taught_places_are_row_by_row() -> None:
    """`row` and `target` name the real tokens of the target in order: what losses per pair rely on."""
    taught = teach(decoder_of(), embedding())
    assert taught.row.tolist() == [0] * 7 + [1] * 3 + [2]
    assert taught.target.tolist() == [9, 14, 9, 9, 10, 16, EOS, 12, 7, EOS, EOS]
    assert torch.equal(taught.mask, TARGET != PAD)
