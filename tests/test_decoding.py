"""Answers: greedy, beam, nucleus. One by one and batched must give the same text."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ctsm_lib.corpus import EOS, PAD, SOS
from ctsm_lib.decoding import NEVER, Decoding, answer_batch
from ctsm_lib.errors import ConfigError
from ctsm_lib.settings import overridden
from ctsm_lib.training import build_model
from ctsm_workbench.study.evaluation import answer_pairs


@pytest.fixture(scope="module")
def pairs(tiny_prepared):
    return tiny_prepared.pairs["test"]


@pytest.fixture(scope="module")
def lively(tiny_config, tiny_prepared, pairs):
    """An untrained model with scattered word vectors, whose answers differ in length.

    The bias of EOS is raised until they do.
    """
    model = build_model(
        replace(tiny_config, tie_output=False, output_bias="zero"), tiny_prepared
    ).eval()
    with torch.no_grad():
        model.embed.words.weight.add_(1.5 * torch.randn_like(model.embed.words.weight))
        for _ in range(60):
            model.decoder.pointer.output.bias[EOS] += 0.3
            answers, _ = answer_batch(
                model, batch_of(pairs, list(range(20))), Decoding(max_length=12)
            )
            if len({len(answer.ids) for answer in answers}) > 3:
                break
    return model


def batch_of(pairs, index):
    return replace(pairs.collate(np.array(index)), target=None, label=None)


def slow_greedy(model, pairs, pair, max_length, adjust=lambda score, said: score):
    """Greedy by running the whole decoder anew for every word: no cache, no batch."""
    said, total = [], 0.0
    with torch.no_grad():
        for _ in range(max_length):
            cache = model.start(model.encode(batch_of(pairs, [pair])))
            for token in [SOS, *said]:
                log_prob, _, _ = model.step(cache, torch.tensor([token]))
            score = adjust(log_prob[0].clone(), said)
            score[list(NEVER)] = -torch.inf
            word = int(score.argmax())
            total += float(log_prob[0, word])
            if word == EOS:
                break
            said.append(word)
    return said, total


def test_batched_greedy_equals_one_by_one_equals_no_cache(lively, pairs):
    how = Decoding(max_length=12)
    index = list(range(20))
    batched, _ = answer_batch(lively, batch_of(pairs, index), how)
    assert len({len(answer.ids) for answer in batched}) > 1, "answers of one length prove nothing"
    for pair, answer in zip(index, batched, strict=True):
        alone, _ = answer_batch(lively, batch_of(pairs, [pair]), how)
        assert alone[0].ids == answer.ids
        slow, total = slow_greedy(lively, pairs, pair, 12)
        assert slow == answer.ids
        assert answer.log_prob == pytest.approx(total, abs=1e-3)
        assert len(answer.alpha) == min(len(answer.ids) + 1, 12)
        assert not set(answer.ids) & {EOS, *NEVER}


def test_answer_pairs_keeps_the_order_of_the_pairs(lively, pairs):
    how = Decoding(max_length=8)
    answers, logits = answer_pairs(lively, pairs, how, batch_size=7)
    assert len(answers) == len(pairs)
    for pair in (0, 13, len(pairs) - 1):
        alone, memory = answer_batch(lively, batch_of(pairs, [pair]), how)
        assert answers[pair].ids == alone[0].ids
        np.testing.assert_allclose(
            logits[pair], memory.emotion_logits[0].numpy(), rtol=1e-4, atol=1e-5
        )


def test_beam_of_one_is_greedy(lively, pairs):
    index = list(range(10))
    greedy, _ = answer_batch(lively, batch_of(pairs, index), Decoding(max_length=10))
    beam, _ = answer_batch(
        lively, batch_of(pairs, index), Decoding("beam", max_length=10, beams=1, length_penalty=0)
    )
    assert [a.ids for a in beam] == [a.ids for a in greedy]


def test_beam_search_finds_what_enumeration_finds(lively, pairs):
    """With as many beams as words, two steps of beam search are exhaustive."""
    how = Decoding("beam", max_length=2, beams=40, length_penalty=0.0)
    answers, _ = answer_batch(lively, batch_of(pairs, [3]), how)
    with torch.no_grad():
        memory = lively.encode(batch_of(pairs, [3]))
        first, _, _ = lively.step(lively.start(memory), torch.tensor([SOS]))
        first[0, list(NEVER)] = -torch.inf
        best, best_ids = float(first[0, EOS]), []
        for word in first[0].topk(200).indices.tolist():
            if word == EOS:
                continue
            cache = lively.start(memory)
            lively.step(cache, torch.tensor([SOS]))
            second, _, _ = lively.step(cache, torch.tensor([word]))
            second[0, list(NEVER)] = -torch.inf
            total = float(first[0, word] + second[0].max())
            if total > best:
                last = int(second[0].argmax())
                best, best_ids = total, [word] + ([] if last == EOS else [last])
    assert answers[0].ids == best_ids
    assert answers[0].log_prob == pytest.approx(best, abs=1e-4)


def test_beam_is_at_least_as_likely_as_greedy_and_batch_invariant(lively, pairs):
    index = list(range(8))
    how = Decoding("beam", max_length=8, beams=6, length_penalty=0.0)
    beams, _ = answer_batch(lively, batch_of(pairs, index), how)
    greedy, _ = answer_batch(lively, batch_of(pairs, index), Decoding(max_length=8))
    assert sum(a.log_prob for a in beams) >= sum(a.log_prob for a in greedy) - 1e-4
    for pair, answer in zip(index, beams, strict=True):
        alone, _ = answer_batch(lively, batch_of(pairs, [pair]), how)
        assert alone[0].ids == answer.ids


def test_nucleus_is_seeded_and_collapses_to_greedy(lively, pairs):
    index = list(range(10))
    one, _ = answer_batch(
        lively, batch_of(pairs, index), Decoding("nucleus", max_length=10, seed=1)
    )
    same, _ = answer_batch(
        lively, batch_of(pairs, index), Decoding("nucleus", max_length=10, seed=1)
    )
    other, _ = answer_batch(
        lively, batch_of(pairs, index), Decoding("nucleus", max_length=10, seed=2)
    )
    assert [a.ids for a in one] == [a.ids for a in same]
    assert [a.ids for a in one] != [a.ids for a in other]
    narrow, _ = answer_batch(
        lively, batch_of(pairs, index), Decoding("nucleus", max_length=10, top_p=1e-9)
    )
    cold, _ = answer_batch(
        lively, batch_of(pairs, index), Decoding("nucleus", max_length=10, temperature=1e-4)
    )
    greedy, _ = answer_batch(lively, batch_of(pairs, index), Decoding(max_length=10))
    assert [a.ids for a in narrow] == [a.ids for a in greedy] == [a.ids for a in cold]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_blocked_ngrams_do_not_repeat(lively, pairs, n):
    answers, _ = answer_batch(
        lively, batch_of(pairs, list(range(12))), Decoding(max_length=20, block_ngrams=n)
    )
    for answer in answers:
        grams = [tuple(answer.ids[i : i + n]) for i in range(len(answer.ids) - n + 1)]
        assert len(grams) == len(set(grams))


def test_penalties_by_a_slow_reference(lively, pairs, monkeypatch):
    unigram = torch.log_softmax(
        torch.randn(len(lively.vad), generator=torch.Generator().manual_seed(1)), 0
    )
    monkeypatch.setattr(lively, "log_unigram", unigram)
    how = Decoding(max_length=10, repetition_penalty=1.5, unigram_penalty=0.7)

    def adjust(score, said):
        score -= 0.7 * unigram
        for word in set(said):
            score[word] -= 1.5
        return score

    for pair in range(5):
        answer, _ = answer_batch(lively, batch_of(pairs, [pair]), how)
        assert answer[0].ids == slow_greedy(lively, pairs, pair, 10, adjust)[0]


def test_no_answer_exceeds_its_length(lively, pairs):
    for method in ("greedy", "beam", "nucleus"):
        answers, _ = answer_batch(lively, batch_of(pairs, [0, 1]), Decoding(method, max_length=1))
        assert all(len(answer.ids) <= 1 for answer in answers)


@pytest.mark.parametrize(
    "setting", ["method=magic", "top_p=0", "temperature=-1", "beams=0", "max_length=0", "top_q=1"]
)
def test_impossible_decoding_is_refused(setting):
    with pytest.raises(ConfigError):
        overridden(Decoding(), [setting])


def test_padding_token_is_never_penalised_into_existence(lively, pairs):
    answers, _ = answer_batch(
        lively, batch_of(pairs, [0, 5]), Decoding(max_length=15, repetition_penalty=5.0)
    )
    assert all(PAD not in answer.ids for answer in answers)
