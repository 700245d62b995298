"""Padded, length-bucketed batches of (context, response) pairs, made without a loop over the batch.

Per-word features (VAD, intensity, IDF) are not here: the model holds them as tables and gathers them by token id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctsm_lib.corpus import CLS, EOS, PAD, Split, Vocabulary, tokenize
from ctsm_lib.errors import DataError
from ctsm_lib.knowledge import RELATIONS, Inference


@dataclass
class Batch:
    """One batch. B pairs, L context tokens with CLS, T target tokens with EOS, S knowledge tokens.

    Attributes:
        context: [B, L] ids, `[CLS] u1 .. un`, padded with PAD.
        speaker: [B, L] USR, SYS or CLS for each context token, PAD where there is none.
        knowledge: [B, 5, S] CLS and each relation's phrases one behind the other.
        target: [B, T] ids of the response with EOS; None when answering.
        label: [B] index into `EMOTIONS`; None when answering.
        pair: [B] which pairs of the split these are.
        total_tokens, total_pairs: of the whole batch over all processes: what losses are divided by.
    """

    context: Tensor
    speaker: Tensor
    knowledge: Tensor
    target: Tensor | None = None
    label: Tensor | None = None
    pair: Tensor | None = None
    total_tokens: int = 0
    total_pairs: int = 0

    def __len__(self) -> int:
        return len(self.context)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        moved = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors = {name: value for name, value in moved.items() if isinstance(value, Tensor)}
        there: dict[str, Any] = {
            name: value.to(device, non_blocking=True) for name, value in tensors.items()
        }
        return replace(self, **there)


@dataclass(frozen=True)
class Phrases:
    """Knowledge of many utterances as flat arrays: `tokens` [N] and `offsets` [utterances * 5 + 1]."""

    tokens: np.ndarray
    offsets: np.ndarray

    @classmethod
    def encode(cls, inferences: Sequence[Inference], vocabulary: Vocabulary) -> Phrases:
        """Tokenise and encode phrases; each distinct phrase is tokenised once."""
        known: dict[str, list[int]] = {}
        flat: list[int] = []
        lengths: list[int] = []
        for inference in inferences:
            for relation in RELATIONS:
                before = len(flat)
                for phrase in inference.get(relation, ()):
                    if phrase not in known:
                        known[phrase] = vocabulary.encode(tokenize(phrase))
                    flat.extend(known[phrase])
                lengths.append(len(flat) - before)
        offsets = np.concatenate([[0], np.cumsum(np.array(lengths, dtype=np.int64))])
        return cls(np.array(flat, dtype=np.int32), offsets.astype(np.int64))

    def padded(self, slots: np.ndarray) -> np.ndarray:
        """[n, 5, S] CLS and phrases for the slots (utterance * 5 + relation) [n, 5]."""
        begin = self.offsets[slots]
        length = self.offsets[slots + 1] - begin
        ids = padded_rows(self.tokens, begin, length, int(length.max(initial=0)))
        return np.concatenate([np.full((*slots.shape, 1), CLS), ids], axis=-1)


def padded_rows(
    flat: np.ndarray, begin: np.ndarray, length: np.ndarray, width: int, pad: int = PAD
) -> np.ndarray:
    """Rows `flat[begin : begin + length]`, padded on the right to `width`."""
    column = np.arange(width)
    valid = column < length[..., None]
    index = np.where(valid, begin[..., None] + column, 0)
    return np.where(valid, flat[index] if len(flat) else pad, pad).astype(np.int64)


class Pairs:
    """The pairs of one split, ready to be collated."""

    def __init__(self, split: Split, phrases: Phrases | None = None, max_context: int = 256):
        pairs = split.pairs
        self.split = split
        self.phrases = phrases or Phrases(
            np.zeros(0, dtype=np.int32), np.zeros(len(pairs) * 5 + 1, dtype=np.int64)
        )
        if len(self.phrases.offsets) != len(pairs) * 5 + 1:
            raise DataError(
                f"Knowledge for {len(self.phrases.offsets) // 5} utterances does not fit {len(pairs)} pairs."
            )
        # The beginning of a long context is what goes (spec: "cut from the left"); CLS takes one place.
        self.context_begin = np.maximum(pairs[:, 0], pairs[:, 1] - (max_context - 1))
        self.context_length = pairs[:, 1] - self.context_begin
        self.target_begin = pairs[:, 1]
        self.target_length = pairs[:, 2] - pairs[:, 1]
        self.label = pairs[:, 3]

    def __len__(self) -> int:
        return len(self.label)

    def collate(self, index: np.ndarray, share: slice = slice(None)) -> Batch:
        """The pairs `index[share]` as one batch; losses are normalised by all of `index`.

        Args:
            index: [n] pairs of the whole batch.
            share: which of them are for this process.
        """
        total_tokens = int((self.target_length[index] + 1).sum())
        total_pairs, index = len(index), index[share]
        context_length, target_length = self.context_length[index], self.target_length[index]
        width = int(context_length.max(initial=0))
        cls = np.full((len(index), 1), CLS)
        context = padded_rows(self.split.tokens, self.context_begin[index], context_length, width)
        speaker = padded_rows(self.split.speaker, self.context_begin[index], context_length, width)
        target = padded_rows(
            self.split.tokens,
            self.target_begin[index],
            target_length,
            int(target_length.max(initial=0)) + 1,
        )
        target[np.arange(len(index)), target_length] = EOS
        slots = index[:, None] * 5 + np.arange(5)
        knowledge = self.phrases.padded(slots)
        return Batch(
            torch.from_numpy(np.concatenate([cls, context], axis=1)),
            torch.from_numpy(np.concatenate([cls, speaker], axis=1)),
            torch.from_numpy(knowledge),
            torch.from_numpy(target),
            torch.from_numpy(self.label[index]),
            torch.from_numpy(index),
            total_tokens,
            total_pairs,
        )

    def in_order(self, batch_size: int) -> Iterator[np.ndarray]:
        """Indices of all pairs, shortest contexts first, so that batches hold little padding."""
        order = np.argsort(self.context_length, kind="stable")
        for start in range(0, len(order), batch_size):
            yield order[start : start + batch_size]


class Shuffled:
    """Endless training batches whose order depends on nothing but seed and position, so that resuming is exact.

    Pairs are shuffled, sorted by length within pools of `pool` batches, and the batches shuffled again: little padding,
    no order by length. Every epoch uses each pair once; a last batch may be smaller.
    """

    def __init__(self, pairs: Pairs, batch_size: int, seed: int, pool: int = 64):
        if len(pairs) == 0:
            raise DataError("There is no pair to train on.")
        self.pairs, self.batch_size, self.seed, self.pool = pairs, batch_size, seed, pool
        self.per_epoch = -(-len(pairs) // batch_size)
        self._epoch, self._order = -1, np.zeros(0, dtype=np.int64)

    def __getitem__(self, iteration: int) -> np.ndarray:
        """[n] pairs of the batch number `iteration`, counted from 0 over all epochs."""
        epoch, position = divmod(iteration, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._shuffle(epoch)
            self._batches = np.random.default_rng([self.seed, epoch, 1]).permutation(self.per_epoch)
        start = self._batches[position] * self.batch_size
        return self._order[start : start + self.batch_size]

    def _shuffle(self, epoch: int) -> np.ndarray:
        random = np.random.default_rng([self.seed, epoch, 0])
        order = random.permutation(len(self.pairs))
        pool = np.arange(len(order)) // (self.batch_size * self.pool)
        lengths = (
            self.pairs.target_length[order],
            self.pairs.context_length[order],
        )  # the context costs most
        return order[np.lexsort((*lengths, pool))]


def context_batch(
    contexts: Sequence[Sequence[str]],
    inferences: Sequence[Inference],
    vocabulary: Vocabulary,
    max_context: int,
) -> Batch:
    """A batch from text: each context is its turns, the speaker's first.

    Args:
        max_context: tokens, of the run that reads the batch; longer contexts lose their beginning.

    Raises:
        DataError: a context without turns, or one whose turns hold no word.
    """
    from ctsm_lib.corpus import SYS, USR

    rows, states = [], []
    for turns in contexts:
        tokens = [vocabulary.encode(tokenize(turn)) for turn in turns]
        row = [i for turn in tokens for i in turn]
        if not row:
            raise DataError("There is nothing to answer: the text holds no word.")
        state = [USR if n % 2 == 0 else SYS for n, turn in enumerate(tokens) for _ in turn]
        rows.append([CLS, *row[-(max_context - 1) :]])
        states.append([CLS, *state[-(max_context - 1) :]])
    width = max(map(len, rows))
    knowledge = Phrases.encode(inferences, vocabulary).padded(
        np.arange(5 * len(rows)).reshape(-1, 5)
    )
    padded = [[*row, *[PAD] * (width - len(row))] for row in rows]
    padded_states = [[*state, *[PAD] * (width - len(state))] for state in states]
    return Batch(torch.tensor(padded), torch.tensor(padded_states), torch.from_numpy(knowledge))
