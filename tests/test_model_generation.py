"""Decoder and diversity loss against their formulas. Paper: Eq. (20), (21), L_div of (25)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from decoder_cases import (
    CONTEXT,
    DECODERS,
    DIM,
    LENGTHS,
    MEMORY,
    SIZE,
    TARGET,
    TIED,
    by_place,
    cache_of,
    check_padding_changes_nothing,
    check_rows_can_be_selected,
    check_steps_equal_teaching,
    check_teaching_equals_loops,
    embedding,
    memory_states,
    random_decoder,
    teach,
)
from helpers import close, differ, normal, real_mask, slow_decoder, slow_distribution

from ctsm_lib.corpus import EOS, PAD, SOS
from ctsm_lib.diversity import DiversityLoss
from ctsm_lib.model.generation import ResponseDecoder, Taught, previous_words
from ctsm_lib.model.pointer import PointerGenerator, Scores
from ctsm_lib.settings import LayerSizes

decoders = pytest.mark.parametrize(("ffn", "layers"), DECODERS)

# ------------------------------------------------------------------------------------------ decoder


def decoder_of(ffn: str = "linear", layers: int = 1, tied: bool = False) -> ResponseDecoder:
    def make_pointer() -> PointerGenerator:
        return PointerGenerator(DIM, SIZE, tied=tied)

    return random_decoder(ResponseDecoder, make_pointer, ffn, layers)


def test_decoder_reads_the_target_one_place_late() -> None:
    """`SOS y_1 .. y_{T-1}` predicts `y_1 .. y_T`."""
    assert previous_words(TARGET).tolist()[:2] == [
        [SOS, 9, 14, 9, 9, 10, 16],
        [SOS, 12, 7, EOS, PAD, PAD, PAD],
    ]


@decoders
def test_eq_20_decoder_equals_loops(ffn: str, layers: int) -> None:
    """Causal self-attention, attention to the memory, feed-forward.

    Copy weights are the last layer's attention, the mean over heads.
    """
    decoder, states = decoder_of(ffn, layers), normal(3, 7, DIM, seed=1)
    memory, lengths = memory_states(), [7, 3, 1]
    cache = cache_of(decoder)
    result, attention = decoder.run(states, cache, real_mask(lengths))
    copy = decoder.copy_weights(attention, TARGET, cache)
    for row, length in enumerate(lengths):
        expected = slow_decoder(
            decoder, states[row, :length].numpy(), memory[row, : LENGTHS[row]].numpy()
        )
        close(result[row, :length], expected[0])
        close(copy[row, :length, : LENGTHS[row]], expected[1])
        assert not copy[row, :, LENGTHS[row] :].any()
    close(copy.sum(dim=2), torch.ones(3, 7))


@pytest.mark.parametrize("tied", TIED)
@decoders
def test_eq_20_and_21_teacher_forcing_equals_loops(ffn: str, layers: int, tied: bool) -> None:
    """`log P(y_t | y_<t, C)`, its arg-max and alpha at every real target token."""
    check_teaching_equals_loops(
        decoder_of(ffn, layers, tied), lambda *given: slow_distribution(*given[:5])
    )


@decoders
def test_decoder_is_causal(ffn: str, layers: int) -> None:
    """Another target token at t changes the log-probabilities after t, and none before."""
    decoder, embed = decoder_of(ffn, layers), embedding()
    before = teach(decoder, embed)
    for place in range(6):
        changed = TARGET.clone()
        changed[0, place] = 18
        after = teach(decoder, embed, changed)
        for name in ("log_prob", "alpha"):
            old = by_place(before, getattr(before.scores, name))[0]
            new = by_place(after, getattr(after.scores, name))[0]
            close(new[:place], old[:place], 1e-9)
            differ(new[place + 1 :], old[place + 1 :], 1e-6)
        predictions = [by_place(t, t.scores.prediction)[0, : place + 1] for t in (before, after)]
        assert torch.equal(*predictions)
        close(after.states[0, : place + 1], before.states[0, : place + 1], 1e-9)


@pytest.mark.parametrize("tied", TIED)
@decoders
def test_step_by_step_equals_teacher_forcing(ffn: str, layers: int, tied: bool) -> None:
    """`start` and `step` give the distribution that teacher forcing scores, token by token."""
    check_steps_equal_teaching(decoder_of(ffn, layers, tied))


@decoders
@pytest.mark.parametrize("after", [0, 1, 3, 6])
def test_cache_rows_can_be_reordered_repeated_and_dropped(
    after: int, ffn: str, layers: int
) -> None:
    """After `select` each row goes on as its origin would have, and the old cache is as it was."""
    check_rows_can_be_selected(decoder_of(ffn, layers), after)


@decoders
def test_decoder_is_invariant_to_padding(ffn: str, layers: int) -> None:
    """A row alone, without PAD in context and target, has the scores that it has in the batch."""
    check_padding_changes_nothing(decoder_of(ffn, layers))


def test_dropout_leaves_the_copy_weights_a_distribution() -> None:
    """In training dropout acts on the result of attention, not on copy weights: they sum to 1."""
    sizes = LayerSizes(heads=2, key_depth=6, ffn_dim=10, dropout=0.5)
    decoder = ResponseDecoder(
        DIM, 2, sizes, memory_dim=MEMORY, make_pointer=lambda: PointerGenerator(DIM, SIZE)
    )
    torch.manual_seed(0)
    cache = decoder.start(memory_states().float(), CONTEXT != PAD, CONTEXT)
    _, attention = decoder.train().run(normal(3, 7, DIM).float(), cache, TARGET != PAD)
    close(decoder.copy_weights(attention, TARGET, cache).sum(dim=2), torch.ones(3, 7))


# ----------------------------------------------------------------------------------- diversity loss


def taught_with(predictions: list[list[int]], width: int = 0) -> Taught:
    """The result of `teach` for these predictions, row by row."""
    lengths = [len(row) for row in predictions]
    mask = real_mask(lengths, extra=width)
    flat = torch.tensor([word for row in predictions for word in row])
    nothing = torch.zeros(len(flat))
    return Taught(
        scores=Scores(log_prob=nothing, prediction=flat, alpha=nothing),
        target=flat,
        row=mask.nonzero()[:, 0],
        states=torch.zeros(*mask.shape, DIM),
        mask=mask,
        copy=nothing.unsqueeze(1),
    )


PREDICTIONS = [[7, 8, EOS, 7, 9], [8, 8], [EOS, 10], [9, 9, 9, EOS]]


def test_diversity_counts_predictions_before_the_end() -> None:
    """f_v: how often v was predicted, up to the first predicted EOS of a row, without it."""
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
    """`w_v = 1 - f_v / max f`, divided by its mean over the vocabulary.

    It is 1 on average, and 0 for the commonest word.
    """
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


def test_diversity_weights_are_one_before_the_first_prediction() -> None:
    """Without counts the loss is the plain NLL."""
    assert torch.equal(DiversityLoss(SIZE).weights(torch.arange(SIZE)), torch.ones(SIZE))


def test_diversity_weights_stay_exact_for_many_counts() -> None:
    """Counts beyond float32's 2^24, as after a long training, still have the right weights."""
    loss = DiversityLoss(23_000)
    loss.counts[5], loss.counts[6] = 2**26 + 1, 2**26
    commonest, next_to_it = loss.weights(torch.tensor([5, 6])).tolist()
    assert commonest == 0
    # It is divided by the mean, 22,998 / 23,000.
    assert next_to_it == pytest.approx(1 / (2**26 + 1), rel=1e-3)
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
    """`row` and `target` are of the real tokens in order: losses of single pairs rely on it."""
    taught = teach(decoder_of(), embedding())
    assert taught.row.tolist() == [0] * 7 + [1] * 3 + [2]
    assert taught.target.tolist() == [9, 14, 9, 9, 10, 16, EOS, 12, 7, EOS, EOS]
    assert torch.equal(taught.mask, TARGET != PAD)
