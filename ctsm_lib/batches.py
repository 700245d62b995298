"""Padded batches of (context, response) pairs of like length, made without a loop over the batch.

Features of words (VAD, intensity, IDF) are tables of the model, which looks them up by token id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ctsm_lib.corpus import CLS, EOS, PAD, SYS, USR, Split, Vocabulary
from ctsm_lib.dialogues import tokenize
from ctsm_lib.errors import DataError
from ctsm_lib.knowledge import RELATIONS, Inference


@dataclass
class Batch:
    """One batch. B pairs, L context tokens with CLS, T target tokens with EOS, S knowledge tokens.

    Answering needs no target, label and pair.
    """

    context: Tensor  # [B, L] ids, `[CLS] u1 .. un`, padded with PAD
    speaker: Tensor  # [B, L] USR, SYS or CLS for each context token, PAD where there is none
    knowledge: Tensor  # [B, 5, S] CLS and each relation's phrases one after the other
    target: Tensor | None = None  # [B, T] ids of the response with EOS
    label: Tensor | None = None  # [B] index into `EMOTIONS`
    pair: Tensor | None = None  # [B] numbers of the pairs in their split
    total_tokens: int = 0  # of the whole batch over all processes: losses are divided by it
    total_pairs: int = 0  # as well

    def __len__(self) -> int:
        return len(self.context)

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        moved: dict[str, Any] = dict(vars(self))
        for name, value in moved.items():
            if isinstance(value, Tensor):
                moved[name] = value.to(device, non_blocking=True)
        return type(self)(**moved)


@dataclass(frozen=True)
class Phrases:
    """Knowledge of many utterances."""

    tokens: np.ndarray  # [N] ids of the phrases of all utterances and relations
    offsets: np.ndarray  # [utterances * 5 + 1] where each relation's phrases begin in `tokens`

    @classmethod
    def encode(cls, inferences: Sequence[Inference], vocabulary: Vocabulary) -> Self:
        """Tokenise and encode phrases; each distinct phrase is tokenised once."""
        encode = cache(lambda phrase: vocabulary.encode(tokenize(phrase)))
        slots = [
            [i for phrase in inference.get(relation, ()) for i in encode(phrase)]
            for inference in inferences
            for relation in RELATIONS
        ]
        offsets = np.cumsum([0, *map(len, slots)], dtype=np.int64)
        return cls(np.array(list(chain(*slots)), dtype=np.int32), offsets)

    def padded(self, slots: np.ndarray) -> np.ndarray:
        """[n, 5, S] CLS and phrases for the slots (utterance * 5 + relation) [n, 5]."""
        begin = self.offsets[slots]
        length = self.offsets[slots + 1] - begin
        ids = padded_rows(self.tokens, begin, length, int(length.max(initial=0)))
        return _with_cls(ids)


def _with_cls(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([np.full((*rows.shape[:-1], 1), CLS), rows], axis=-1)


def padded_rows(flat: np.ndarray, begin: np.ndarray, length: np.ndarray, width: int) -> np.ndarray:
    """Rows `flat[begin : begin + length]`, padded on the right to `width`."""
    column = np.arange(width)
    valid = column < length[..., None]
    index = np.where(valid, begin[..., None] + column, 0)
    return np.where(valid, flat[index] if len(flat) else PAD, PAD).astype(np.int64)


class Pairs:
    """The pairs of one split, ready to be collated."""

    def __init__(self, split: Split, phrases: Phrases | None = None, max_context: int = 256):
        pairs = split.pairs
        nothing = Phrases(np.zeros(0, dtype=np.int32), np.zeros(len(pairs) * 5 + 1, dtype=np.int64))
        self.split = split
        self.phrases = phrases or nothing
        if len(self.phrases.offsets) != len(pairs) * 5 + 1:
            count = len(self.phrases.offsets) // 5
            raise DataError(f"Knowledge for {count} utterances does not fit {len(pairs)} pairs.")
        # Long contexts lose their beginning (spec: "cut from the left"); CLS takes one place.
        self.context_begin = np.maximum(pairs[:, 0], pairs[:, 1] - (max_context - 1))
        self.context_length = pairs[:, 1] - self.context_begin
        self.target_begin = pairs[:, 1]
        self.target_length = pairs[:, 2] - pairs[:, 1]
        self.label = pairs[:, 3]

    def __len__(self) -> int:
        return len(self.label)

    def collate(self, index: np.ndarray, share: slice = slice(None)) -> Batch:
        """The pairs `index[share]`, those of this process; the totals are of all pairs, `index`."""
        total_tokens = int((self.target_length[index] + 1).sum())
        total_pairs = len(index)
        index = index[share]
        begin = self.context_begin[index]
        length = self.context_length[index]
        width = int(length.max(initial=0))
        context = padded_rows(self.split.tokens, begin, length, width)
        speaker = padded_rows(self.split.speaker, begin, length, width)
        # One more column, so that there is a place for EOS.
        length = self.target_length[index]
        width = int(length.max(initial=0)) + 1
        target = padded_rows(self.split.tokens, self.target_begin[index], length, width)
        target[np.arange(len(index)), length] = EOS
        slots = index[:, None] * 5 + np.arange(5)
        arrays = {"context": _with_cls(context), "speaker": _with_cls(speaker), "target": target}
        arrays |= {
            "knowledge": self.phrases.padded(slots),
            "label": self.label[index],
            "pair": index,
        }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return Batch(**tensors, total_tokens=total_tokens, total_pairs=total_pairs)

    def in_order(self, batch_size: int) -> Iterator[np.ndarray]:
        """Indices of all pairs, shortest contexts first, so that batches have little padding."""
        order = np.argsort(self.context_length, kind="stable")
        for start in range(0, len(order), batch_size):
            yield order[start : start + batch_size]


class Shuffled:
    """Endless training batches; their order depends on seed and position only, for exact resuming.

    Pairs are shuffled, sorted by length within pools of `pool` batches, and the batches shuffled
    again: little padding, but no order by length. Every epoch uses each pair once.
    """

    def __init__(self, pairs: Pairs, batch_size: int, seed: int, pool: int = 64):
        if len(pairs) == 0:
            raise DataError("There is no pair to train on.")
        self.pairs = pairs
        self.batch_size = batch_size
        self.seed = seed
        self.pool = pool
        self.per_epoch = -(-len(pairs) // batch_size)
        self._epoch = -1

    def __getitem__(self, iteration: int) -> np.ndarray:
        """[n] pairs of the batch number `iteration`, counted from 0 over all epochs."""
        epoch, position = divmod(iteration, self.per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = self._shuffle(epoch)
            self._batches = np.random.default_rng([self.seed, epoch, 1]).permutation(self.per_epoch)
        start = self._batches[position] * self.batch_size
        return self._order[start : start + self.batch_size]

    def _shuffle(self, epoch: int) -> np.ndarray:
        order = np.random.default_rng([self.seed, epoch, 0]).permutation(len(self.pairs))
        pool = np.arange(len(order)) // (self.batch_size * self.pool)
        context = self.pairs.context_length[order]  # sorted by this first: contexts cost most
        return order[np.lexsort((self.pairs.target_length[order], context, pool))]


def context_batch(
    contexts: Sequence[Sequence[str]], inferences: Sequence[Inference], vocabulary: Vocabulary,
    max_context: int,
) -> Batch:  # fmt: skip
    """A batch from text: each context is its turns, the speaker's first.

    Contexts with more than `max_context` tokens lose their beginning. A context without any word
    raises a `DataError`.
    """
    rows = []
    states = []
    for turns in contexts:
        tokens = [vocabulary.encode(tokenize(turn)) for turn in turns]
        row = [i for turn in tokens for i in turn]
        state = [SYS if n % 2 else USR for n, turn in enumerate(tokens) for _ in turn]
        if not row:
            raise DataError("There is nothing to answer: the text holds no word.")
        rows.append(torch.tensor([CLS, *row[-(max_context - 1) :]]))
        states.append(torch.tensor([CLS, *state[-(max_context - 1) :]]))
    slots = np.arange(len(rows) * 5).reshape(-1, 5)
    return Batch(
        context=pad_sequence(rows, batch_first=True, padding_value=PAD),
        speaker=pad_sequence(states, batch_first=True, padding_value=PAD),
        knowledge=torch.from_numpy(Phrases.encode(inferences, vocabulary).padded(slots)),
    )
