"""Padding, truncation, order: batches of pairs."""

import numpy as np
import pytest
import torch

from ctsm_lib.batches import Pairs, Phrases, Shuffled, context_batch
from ctsm_lib.corpus import CLS, EOS, PAD, SYS, USR, tokenize
from ctsm_lib.errors import DataError
from ctsm_lib.knowledge import RELATIONS, empty_inference


@pytest.fixture(scope="module")
def pairs(tiny_prepared):
    return tiny_prepared.pairs["train"]


def by_hand(pairs, pair, max_context):
    """What a pair's row must be, by plain slicing."""
    split = pairs.split
    begin, middle, end, label, _, _ = split.pairs[pair]
    context = split.tokens[begin:middle].tolist()[-(max_context - 1) :]
    speaker = split.speaker[begin:middle].tolist()[-(max_context - 1) :]
    return [CLS, *context], [CLS, *speaker], [*split.tokens[middle:end].tolist(), EOS], label


@pytest.mark.parametrize("max_context", [256, 12])
def test_collate_equals_plain_slicing(tiny_prepared, max_context):
    full = tiny_prepared.pairs["train"]
    pairs = Pairs(full.split, full.phrases, max_context)
    index = np.array([0, 7, 300, 5])
    batch = pairs.collate(index)
    for row, pair in enumerate(index):
        context, speaker, target, label = by_hand(pairs, pair, max_context)
        assert batch.context[row].tolist() == context + [PAD] * (
            batch.context.shape[1] - len(context)
        )
        assert batch.speaker[row].tolist() == speaker + [PAD] * (
            batch.speaker.shape[1] - len(speaker)
        )
        assert batch.target[row].tolist() == target + [PAD] * (batch.target.shape[1] - len(target))
        assert batch.label[row] == label
    assert batch.total_tokens == int((batch.target != PAD).sum())
    assert batch.total_pairs == 4


def test_knowledge_of_each_relation_begins_with_cls(pairs):
    index = np.arange(200)
    batch = pairs.collate(index)
    offsets, tokens = pairs.phrases.offsets, pairs.phrases.tokens
    assert (batch.knowledge[:, :, 0] == CLS).all()
    for pair in index:
        for relation in range(5):
            slot = pair * 5 + relation
            expected = tokens[offsets[slot] : offsets[slot + 1]].tolist()
            row = batch.knowledge[pair, relation].tolist()
            assert row[1 : 1 + len(expected)] == expected
            assert set(row[1 + len(expected) :]) <= {PAD}
    assert (np.diff(offsets) > 0).any()


def test_shares_of_a_batch_are_the_batch(pairs):
    index = np.array([3, 1, 4, 15, 9])
    whole = pairs.collate(index)
    parts = [pairs.collate(index, slice(rank, None, 2)) for rank in range(2)]
    assert [part.pair.tolist() for part in parts] == [[3, 4, 9], [1, 15]]
    assert {part.total_tokens for part in parts} == {whole.total_tokens}
    assert {part.total_pairs for part in parts} == {5}
    assert len(pairs.collate(index, slice(7, None, 8))) == 0


def test_phrases_are_joined_and_unknown_words_are_unk(tiny_prepared):
    words = tiny_prepared.corpus.vocabulary
    inference = empty_inference() | {"xReact": ["very happy", "zzzz"], "xWant": ["go home"]}
    phrases = Phrases.encode([empty_inference(), inference], words)
    padded = phrases.padded(np.arange(10).reshape(2, 5))
    assert padded[0].tolist() == [[CLS] + [PAD] * 3] * 5
    expected = words.encode(["very", "happy", "zzzz"])
    assert padded[1, RELATIONS.index("xReact")].tolist() == [CLS, *expected]
    assert padded[1, RELATIONS.index("xWant")].tolist() == [CLS, *words.encode(["go", "home"]), PAD]


def test_every_epoch_uses_each_pair_once_and_the_order_depends_on_seed_and_position_only(pairs):
    order = Shuffled(pairs, 16, seed=3)
    epochs = [
        [order[i] for i in range(e * order.per_epoch, (e + 1) * order.per_epoch)] for e in range(2)
    ]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch).tolist()) == list(range(len(pairs)))
    assert [b.tolist() for b in epochs[0]] != [b.tolist() for b in epochs[1]]
    later = Shuffled(pairs, 16, seed=3)
    assert (
        later[order.per_epoch + 5].tolist() == epochs[1][5].tolist()
    )  # without the iterations before it
    assert later[2].tolist() == epochs[0][2].tolist()
    assert Shuffled(pairs, 16, seed=4)[0].tolist() != epochs[0][0].tolist()


def test_buckets_hold_little_padding_but_no_order_by_length(pairs):
    order = Shuffled(pairs, 8, seed=0)
    lengths = [pairs.context_length[order[i]] for i in range(order.per_epoch)]
    padding = 1 - sum(b.sum() for b in lengths) / sum(b.max() * len(b) for b in lengths)
    assert padding < 0.08
    means = np.array([b.mean() for b in lengths])
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.35


def test_in_order_covers_everything_once(pairs):
    assert sorted(np.concatenate(list(pairs.in_order(64))).tolist()) == list(range(len(pairs)))


def test_text_becomes_the_same_batch_as_the_corpus_gives(tiny_prepared, pairs):
    pair = 5
    texts = pairs.split.context_texts(pair)
    batch = context_batch([texts], [empty_inference()], tiny_prepared.corpus.vocabulary, 256)
    truth = Pairs(pairs.split).collate(np.array([pair]))
    torch.testing.assert_close(batch.context, truth.context)
    torch.testing.assert_close(batch.speaker, truth.speaker)


def test_long_text_keeps_its_end_and_speakers_alternate(tiny_prepared):
    words = tiny_prepared.corpus.vocabulary
    batch = context_batch(
        [["the " * 50, "and so", "my dog"]], [empty_inference()], words, max_context=6
    )
    assert batch.context[0].tolist() == [CLS, *words.encode(tokenize("the and so my dog"))]
    assert batch.speaker[0].tolist() == [CLS, USR, SYS, SYS, USR, USR]


def test_nothing_to_answer_and_wrong_knowledge_are_errors(tiny_prepared, pairs):
    with pytest.raises(DataError, match="nothing to answer"):
        context_batch([[""]], [empty_inference()], tiny_prepared.corpus.vocabulary, 256)
    with pytest.raises(DataError, match="does not fit"):
        Pairs(pairs.split, Phrases(np.zeros(0, dtype=np.int32), np.zeros(6, dtype=np.int64)))
