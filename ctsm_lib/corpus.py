"""EmpatheticDialogues as arrays: vocabulary, tokens and (context, response) pairs.

Paper: Sec. 3.2 and 4.2. The turns of a dialogue lie one after the other in one token array, so that
the context of a pair (all earlier turns) is a slice of it and nothing is stored twice.
"""

import os
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

import numpy as np

from ctsm_lib.cache import Built, cached, file_fingerprint
from ctsm_lib.dialogues import EMOTIONS, WAY_OUT, read_dialogues, tokenize, tokenizers
from ctsm_lib.errors import DataError

SPECIALS = ("<unk>", "<pad>", "<eos>", "<sos>", "<usr>", "<sys>", "<cls>")
UNK, PAD, EOS, SOS, USR, SYS, CLS = range(7)
SPLITS = ("train", "valid", "test")
CACHE_VERSION = 3  # raise when the meaning of a cached array changes


class Vocabulary:
    """Words and their ids; the seven special tokens come first."""

    def __init__(self, words: Sequence[str]):
        if tuple(words[: len(SPECIALS)]) != SPECIALS:
            expected = " ".join(SPECIALS)
            raise DataError(f"A vocabulary begins with {expected}, this one with {words[:7]}.")
        self.words = list(words)
        self.index = {word: i for i, word in enumerate(self.words)}
        if len(self.index) != len(self.words):
            raise DataError("A vocabulary has a word twice.")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.index

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids of tokens; UNK for unknown words and for text that looks like a special token."""
        ids = (self.index.get(token, UNK) for token in tokens)
        return [i if i >= len(SPECIALS) else UNK for i in ids]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Words of ids."""
        return [self.words[i] for i in ids]


@dataclass(frozen=True)
class Split:
    """The dialogues of one split as flat arrays."""

    tokens: np.ndarray  # [N] int32 ids of all turns, one after the other
    turn_offsets: np.ndarray  # [turns + 1] where each turn begins in `tokens`
    dialogue_offsets: np.ndarray  # [dialogues + 1] where each dialogue begins among the turns
    labels: np.ndarray  # [dialogues] index into `EMOTIONS`
    text: np.ndarray  # the turns as written, UTF-8
    text_offsets: np.ndarray  # [turns + 1] where each turn begins in `text`

    def turn_text(self, turn: int) -> str:
        """A turn as it was written."""
        written = self.text[self.text_offsets[turn] : self.text_offsets[turn + 1]]
        return bytes(written).decode("utf-8")

    @cached_property
    def turn_in_dialogue(self) -> np.ndarray:
        """[turns] 0 for a dialogue's first turn, 1 for its second, ..."""
        counts = np.diff(self.dialogue_offsets)
        return np.arange(counts.sum()) - np.repeat(self.dialogue_offsets[:-1], counts)

    @cached_property
    def speaker(self) -> np.ndarray:
        """[N] int32: USR for the speaker's tokens, SYS for the listener's."""
        states = np.where(self.turn_in_dialogue % 2 == 0, USR, SYS).astype(np.int32)
        return np.repeat(states, np.diff(self.turn_offsets))

    @cached_property
    def pairs(self) -> np.ndarray:
        """[pairs, 6]: context begin, context end and target begin, target end, label, last speaker
        turn, dialogue. Every turn of the listener is the target of one pair.
        """
        targets = np.flatnonzero(self.turn_in_dialogue % 2 == 1)
        dialogue = np.searchsorted(self.dialogue_offsets, targets, side="right") - 1
        columns = [
            self.turn_offsets[self.dialogue_offsets[dialogue]],
            self.turn_offsets[targets],
            self.turn_offsets[targets + 1],
            self.labels[dialogue],
            targets - 1,
            dialogue,
        ]
        return np.stack(columns, axis=1).astype(np.int64)

    def context_texts(self, pair: int) -> list[str]:
        """The turns before a pair's response, as they were written."""
        last, dialogue = self.pairs[pair, 4:6]
        return [self.turn_text(turn) for turn in range(self.dialogue_offsets[dialogue], last + 1)]

    def response_text(self, pair: int) -> str:
        """A pair's response, as it was written."""
        return self.turn_text(self.pairs[pair, 4] + 1)


@dataclass(frozen=True)
class Corpus:
    """The prepared data set: vocabulary, splits, and counts of the training split."""

    vocabulary: Vocabulary
    splits: dict[str, Split]
    fingerprint: str  # of the files
    vocab: str  # "protocol" or "train": see `prepare_corpus`
    problems: list[str] = field(default_factory=list)  # one for each row that was left out

    @cached_property
    def idf(self) -> np.ndarray:
        """[V] float32 in [0, 1], for Eq. (2); 1 for unseen words, 0 for special tokens.

        `ln((1 + N) / (1 + df)) + 1` over training utterances, scaled so that the most frequent word
        has 0 and the rarest has 1.
        """
        train = self.splits["train"]
        size = len(self.vocabulary)
        documents = len(train.turn_offsets) - 1
        turn = np.repeat(np.arange(documents), np.diff(train.turn_offsets))
        seen = np.unique(turn * size + train.tokens) % size  # each word once for each utterance
        df = np.bincount(seen, minlength=size)
        idf = np.log((1 + documents) / (1 + df)) + 1
        words = idf[len(SPECIALS) :][df[len(SPECIALS) :] > 0]
        low = words.min(initial=idf.max())
        high = words.max(initial=0)
        scaled = np.clip((idf - low) / max(high - low, 1e-12), 0, 1)
        scaled[df == 0] = 1.0
        scaled[: len(SPECIALS)] = 0.0
        scaled[UNK] = 1.0
        return scaled.astype(np.float32)

    @cached_property
    def counts(self) -> np.ndarray:
        """[V] frequency of each word in the training turns."""
        return np.bincount(self.splits["train"].tokens, minlength=len(self.vocabulary))

    @cached_property
    def target_counts(self) -> np.ndarray:
        """[V] frequency of each word, EOS included, in the training responses."""
        train = self.splits["train"]
        listener = train.tokens[train.speaker == SYS]
        counts = np.bincount(listener, minlength=len(self.vocabulary))
        counts[EOS] += len(train.pairs)
        return counts


def prepare_corpus(
    folder: Path, cache_folder: Path, vocab: str = "protocol", workers: int | None = None
) -> Corpus:
    """Read and tokenise train.csv, valid.csv and test.csv of a folder, or take them from the cache.

    The vocabulary "protocol" has the words of contexts, targets and situations of all splits, as
    the baselines' has; "train" those of the training split. By default all cores tokenise. A file
    that is missing or not in the official layout raises a `DataError`.
    """
    paths = {split: folder / f"{split}.csv" for split in SPLITS}
    for path in paths.values():
        if not path.is_file():
            raise DataError(f"{path} is missing. {WAY_OUT}")
    files = {split: file_fingerprint(path) for split, path in paths.items()}
    key = {"version": CACHE_VERSION, "vocab": vocab} | files
    arrays, meta = cached(cache_folder, "corpus", key, lambda: _build(paths, vocab, workers))
    names = [column.name for column in fields(Split)]
    splits = {split: Split(*(arrays[f"{split}_{name}"] for name in names)) for split in SPLITS}
    fingerprint = "-".join(files[split][:4] for split in SPLITS)
    return Corpus(Vocabulary(meta["words"]), splits, fingerprint, vocab, meta["problems"])


def _build(paths: dict[str, Path], vocab: str, workers: int | None) -> Built:
    read = {split: read_dialogues(path) for split, path in paths.items()}
    everything = [dialogue for dialogues, _ in read.values() for dialogue in dialogues]
    texts = [text for dialogue in everything for text in (*dialogue.turns, dialogue.situation)]
    tokenized = iter(_tokenize_all(texts, workers))
    counter: Counter[str] = Counter(dict.fromkeys(EMOTIONS, 0))  # Eq. (5) needs all the labels
    turns: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    for split, (dialogues, _) in read.items():
        for dialogue in dialogues:
            own = list(islice(tokenized, len(dialogue.turns)))
            situation = next(tokenized)
            turns[split] += own
            if vocab != "train" or split == "train":
                # A last turn of the speaker that has no answer belongs to no pair. The baselines'
                # vocabulary does not contain its words.
                counter.update(chain(*own[: len(own) // 2 * 2], situation))
    for special in SPECIALS:  # someone typed "<pad>": that must not become padding
        counter.pop(special, None)
    vocabulary = Vocabulary([*SPECIALS, *sorted(counter, key=lambda word: (-counter[word], word))])
    arrays: dict[str, np.ndarray] = {}
    for split, (dialogues, _) in read.items():
        ids = [vocabulary.encode(tokens) for tokens in turns[split]]
        written = [turn.encode("utf-8") for dialogue in dialogues for turn in dialogue.turns]
        columns = Split(
            tokens=np.array(list(chain(*ids)), dtype=np.int32),
            turn_offsets=_offsets(map(len, ids)),
            dialogue_offsets=_offsets(len(dialogue.turns) for dialogue in dialogues),
            labels=np.array([EMOTIONS.index(d.emotion) for d in dialogues], dtype=np.int64),
            text=np.frombuffer(b"".join(written), dtype=np.uint8),
            text_offsets=_offsets(map(len, written)),
        )
        arrays |= {f"{split}_{name}": array for name, array in vars(columns).items()}
    problems = [problem for _, found in read.values() for problem in found]
    return arrays, {"words": vocabulary.words, "problems": problems}


def _offsets(lengths: Iterable[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.fromiter(lengths, dtype=np.int64))]).astype(np.int64)


def _tokenize_all(texts: list[str], workers: int | None) -> list[list[str]]:
    workers = workers or os.cpu_count() or 1
    if workers == 1 or len(texts) < 5_000:  # starting processes costs more than this
        return [tokenize(text) for text in texts]
    tokenizers()  # imported once, before the processes are forked
    # Ctrl-C reaches all processes: only this one reacts to it, so that it is reported once.
    with ProcessPoolExecutor(
        workers, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    ) as pool:
        return list(pool.map(tokenize, texts, chunksize=2_000))
