"""EmpatheticDialogues: rows of the official CSV -> dialogues -> tokens -> vocabulary and (context, response) pairs.

Paper: Sec. 3.2 and 4.2. A dialogue's turns lie one behind the other in one token array, so that the context of a pair
(all earlier turns) is a slice of it and nothing is stored twice.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ctsm_lib.cache import cached, file_fingerprint
from ctsm_lib.errors import DataError

if TYPE_CHECKING:
    from nltk.tokenize import NLTKWordTokenizer, PunktSentenceTokenizer

log = logging.getLogger(__name__)

SPECIALS = ("<unk>", "<pad>", "<eos>", "<sos>", "<usr>", "<sys>", "<cls>")
UNK, PAD, EOS, SOS, USR, SYS, CLS = range(7)
SPLITS = ("train", "valid", "test")
EMOTIONS = (
    "afraid", "angry", "annoyed", "anticipating", "anxious", "apprehensive", "ashamed", "caring", "confident",
    "content", "devastated", "disappointed", "disgusted", "embarrassed", "excited", "faithful", "furious",
    "grateful", "guilty", "hopeful", "impressed", "jealous", "joyful", "lonely", "nostalgic", "prepared",
    "proud", "sad", "sentimental", "surprised", "terrified", "trusting",
)  # fmt: skip
COLUMNS = (
    "conv_id",
    "utterance_idx",
    "context",
    "prompt",
    "speaker_idx",
    "utterance",
    "selfeval",
    "tags",
)
CACHE_VERSION = 3  # raise when the meaning of a cached array changes

# The 23 replacements that the baselines make before they tokenise (spec: "Data protocol").
CONTRACTIONS = {
    "it's": "it is", "don't": "do not", "doesn't": "does not", "didn't": "did not", "you'd": "you would",
    "you're": "you are", "you'll": "you will", "i'm": "i am", "they're": "they are", "that's": "that is",
    "what's": "what is", "couldn't": "could not", "i've": "i have", "we've": "we have", "can't": "cannot",
    "i'd": "i would", "aren't": "are not", "isn't": "is not", "wasn't": "was not", "weren't": "were not",
    "won't": "will not", "there's": "there is", "there're": "there are",
}  # fmt: skip


@dataclass(frozen=True)
class Dialogue:
    """One conversation: odd turns are the speaker's (who feels), even turns the listener's (who answers)."""

    conv_id: str
    emotion: str
    situation: str
    turns: tuple[str, ...]


@cache
def _tokenizers() -> tuple[PunktSentenceTokenizer, NLTKWordTokenizer]:
    # Importing NLTK takes seconds, and a start from the cache does without.
    from nltk.tokenize import NLTKWordTokenizer, PunktSentenceTokenizer

    # Untrained Punkt and the word tokenizer need no NLTK download.
    return PunktSentenceTokenizer(), NLTKWordTokenizer()


def tokenize(text: str) -> list[str]:
    """Lower-case, resolve the baselines' contractions, split into sentences and words."""
    text = text.lower()
    for short, long in CONTRACTIONS.items():
        text = text.replace(short, long)
    sentences, words = _tokenizers()
    return [word for sentence in sentences.tokenize(text) for word in words.tokenize(sentence)]


def read_dialogues(path: Path) -> tuple[list[Dialogue], list[str]]:
    """Read one split of the official CSV.

    Args:
        path: comma separated without quoting; `_comma_` stands for a comma; extra columns after `tags` are ignored.

    Returns:
        The dialogues in the order of the file, and one sentence "file:line: what is wrong" for every row left out.

    Raises:
        DataError: the file cannot be read, is not UTF-8, lacks the header, or has no valid row.
    """
    turns: dict[str, list[tuple[int, str, str, str]]] = {}
    problems: list[str] = []
    for number, fields in _rows(path):
        reason = _row_problem(fields)
        if reason is None:
            conv_id, index, emotion, situation, _, utterance = fields[:6]
            rows = turns.setdefault(conv_id, [])
            if int(index) == len(rows) + 1:
                rows.append((number, emotion, _commas(situation), _commas(utterance)))
                continue
            reason = f"turn {index} of {conv_id} follows turn {len(rows)}; the rest of this dialogue is left out"
        problems.append(f"{path.name}:{number}: {reason}")
    dialogues = [
        Dialogue(conv_id, rows[0][1], rows[0][2], tuple(row[3] for row in rows))
        for conv_id, rows in turns.items()
        if rows
    ]
    if not dialogues:
        detail = f"; the first problem is {problems[0]}" if problems else ""
        raise DataError(f"{path} has no valid row{detail}. Fetch it again with `ctsm data fetch`.")
    if problems:
        log.warning(
            "%s: %d malformed rows left out, first: %s", path.name, len(problems), problems[0]
        )
    return dialogues, problems


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing. Fetch it with `ctsm data fetch`, or set CTSM_DATA."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
    lines = text.split(
        "\n"
    )  # not splitlines(): utterances may hold other characters that it takes for line ends
    header = lines[0].rstrip("\r").split(",")
    if tuple(header[:8]) != COLUMNS:
        raise DataError(
            f"{path}:1: expected the columns {','.join(COLUMNS)}, found {lines[0][:100]!r}."
        )
    for number, line in enumerate(lines[1:], start=2):
        if line.strip("\r"):
            yield number, line.rstrip("\r").split(",")


def _row_problem(fields: list[str]) -> str | None:
    if len(fields) < 8:
        return f"{len(fields)} columns where 8 belong"
    if not re.fullmatch(r"[1-9][0-9]{0,3}", fields[1]):
        return f"utterance_idx is {fields[1][:20]!r}, not a number from 1"
    if fields[2] not in EMOTIONS:
        return f"{fields[2][:20]!r} is not one of the 32 emotions"
    if not fields[0].strip():
        return "conv_id is empty"
    if not fields[5].strip():
        return "the utterance is empty"
    return None


def quotation(text: str, words: int = 12) -> str:
    """The last words of a turn: enough to follow what comes, and no more of other people's data than a quotation."""
    spoken = text.split()
    return text if len(spoken) <= words else "... " + " ".join(spoken[-words:])


def _commas(text: str) -> str:
    return text.replace("_comma_", ",").strip()


class Vocabulary:
    """Words and their ids; the seven special tokens come first."""

    def __init__(self, words: Sequence[str]):
        if tuple(words[: len(SPECIALS)]) != SPECIALS:
            raise DataError(
                f"A vocabulary begins with {' '.join(SPECIALS)}, this one with {words[:7]}."
            )
        self.words = list(words)
        self.index = {word: i for i, word in enumerate(self.words)}
        if len(self.index) != len(self.words):
            raise DataError("A vocabulary has a word twice.")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.index

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids of tokens; unknown ones become UNK. A token that looks like a special one is unknown, too."""
        ids = (self.index.get(token, UNK) for token in tokens)
        return [i if i >= len(SPECIALS) else UNK for i in ids]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Words of ids."""
        return [self.words[i] for i in ids]


@dataclass(frozen=True)
class Split:
    """The dialogues of one split as flat arrays.

    Attributes:
        tokens: [N] int32 ids of all turns, one behind the other.
        turn_offsets: [turns + 1] where each turn begins in `tokens`.
        dialogue_offsets: [dialogues + 1] where each dialogue begins among the turns.
        labels: [dialogues] index into `EMOTIONS`.
        text, text_offsets: the turns as written, UTF-8.
    """

    tokens: np.ndarray
    turn_offsets: np.ndarray
    dialogue_offsets: np.ndarray
    labels: np.ndarray
    text: np.ndarray
    text_offsets: np.ndarray

    def turn_text(self, turn: int) -> str:
        """A turn as it was written."""
        return bytes(self.text[self.text_offsets[turn] : self.text_offsets[turn + 1]]).decode(
            "utf-8"
        )

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
        """[pairs, 6]: context begin, context end = target begin, target end, label, last speaker turn, dialogue."""
        targets = np.flatnonzero(self.turn_in_dialogue % 2 == 1)
        dialogue = np.searchsorted(self.dialogue_offsets, targets, side="right") - 1
        begin = self.turn_offsets[self.dialogue_offsets[dialogue]]
        columns = [
            begin,
            self.turn_offsets[targets],
            self.turn_offsets[targets + 1],
            self.labels[dialogue],
        ]
        return np.stack([*columns, targets - 1, dialogue], axis=1).astype(np.int64)

    def context_texts(self, pair: int) -> list[str]:
        """The turns before a pair's response, as they were written."""
        last, dialogue = self.pairs[pair, 4:6]
        return [self.turn_text(turn) for turn in range(self.dialogue_offsets[dialogue], last + 1)]

    def response_text(self, pair: int) -> str:
        """A pair's response, as it was written."""
        return self.turn_text(self.pairs[pair, 4] + 1)


@dataclass(frozen=True)
class Corpus:
    """Everything that is known of the dialogues: vocabulary, splits, counts."""

    vocabulary: Vocabulary
    splits: dict[str, Split]
    fingerprint: str
    vocab: str
    problems: list[str] = field(default_factory=list)

    @cached_property
    def idf(self) -> np.ndarray:
        """[V] float32 in [0, 1]: one training utterance is one document; unseen words 1, specials 0.

        Paper: Eq. (2). `ln((1 + N) / (1 + df)) + 1`, scaled so that the commonest word has 0 and the rarest 1.
        """
        train = self.splits["train"]
        turn = np.repeat(np.arange(len(train.turn_offsets) - 1), np.diff(train.turn_offsets))
        seen = np.unique(turn * len(self.vocabulary) + train.tokens) % len(self.vocabulary)
        df = np.bincount(seen, minlength=len(self.vocabulary))
        idf = np.log((1 + len(train.turn_offsets) - 1) / (1 + df)) + 1
        words = idf[len(SPECIALS) :][df[len(SPECIALS) :] > 0]
        low, high = (words.min(), words.max()) if len(words) else (0.0, 1.0)
        scaled = np.clip((idf - low) / max(high - low, 1e-12), 0, 1)
        scaled[df == 0] = 1.0
        scaled[1 : len(SPECIALS)] = 0.0
        scaled[UNK] = 1.0
        return scaled.astype(np.float32)

    @cached_property
    def counts(self) -> np.ndarray:
        """[V] how often each word occurs in the training turns."""
        return np.bincount(self.splits["train"].tokens, minlength=len(self.vocabulary))

    @cached_property
    def target_counts(self) -> np.ndarray:
        """[V] how often each word (EOS included) is to be generated in training."""
        train = self.splits["train"]
        listener = train.tokens[train.speaker == SYS]
        counts = np.bincount(listener, minlength=len(self.vocabulary))
        counts[EOS] += len(train.pairs)
        return counts


def prepare_corpus(
    folder: Path, cache_folder: Path, vocab: str = "protocol", workers: int | None = None
) -> Corpus:
    """Read and tokenise the three splits, or take them from the cache.

    Args:
        folder: holds train.csv, valid.csv and test.csv.
        cache_folder: where prepared arrays are kept.
        vocab: "protocol" (the peers': contexts, targets and situations of all splits, no cut-off) or "train".
        workers: processes for tokenising; all cores by default.

    Raises:
        DataError: a file is missing or not in the official layout.
    """
    paths = {split: folder / f"{split}.csv" for split in SPLITS}
    for path in paths.values():
        if not path.is_file():
            raise DataError(
                f"{path} is missing. Fetch it with `ctsm data fetch`, or set CTSM_DATA."
            )
    key: dict = {"version": CACHE_VERSION, "vocab": vocab} | {
        s: file_fingerprint(p) for s, p in paths.items()
    }
    arrays, meta = cached(cache_folder, "corpus", key, lambda: _build(paths, vocab, workers))
    names = ("tokens", "turn_offsets", "dialogue_offsets", "labels", "text", "text_offsets")
    splits = {split: Split(*(arrays[f"{split}_{name}"] for name in names)) for split in SPLITS}
    fingerprint = "-".join(key[split][:4] for split in SPLITS)
    return Corpus(Vocabulary(meta["words"]), splits, fingerprint, vocab, meta["problems"])


def _build(
    paths: dict[str, Path], vocab: str, workers: int | None
) -> tuple[dict[str, np.ndarray], dict]:
    read = {split: read_dialogues(path) for split, path in paths.items()}
    turns = {
        split: [turn for d in dialogues for turn in d.turns]
        for split, (dialogues, _) in read.items()
    }
    situations = {split: [d.situation for d in dialogues] for split, (dialogues, _) in read.items()}
    texts = list(itertools.chain(*turns.values(), *situations.values()))
    tokenized = iter(_tokenize_all(texts, workers))
    turn_tokens = {split: list(itertools.islice(tokenized, len(turns[split]))) for split in SPLITS}
    situation_tokens = {
        split: list(itertools.islice(tokenized, len(situations[split]))) for split in SPLITS
    }
    counter: Counter[str] = Counter()
    for split in ("train",) if vocab == "train" else SPLITS:
        # A last speaker turn that nobody answers belongs to no pair, so the peers' vocabulary never sees it.
        answered = [
            turn < len(d.turns) // 2 * 2 for d in read[split][0] for turn in range(len(d.turns))
        ]
        for tokens in itertools.chain(
            itertools.compress(turn_tokens[split], answered), situation_tokens[split]
        ):
            counter.update(tokens)
    counter.update(
        dict.fromkeys(EMOTIONS, 0)
    )  # Eq. (5) looks the labels up, also where nobody says them
    for special in SPECIALS:  # someone typed "<pad>": that must not become padding
        counter.pop(special, None)
    vocabulary = Vocabulary([*SPECIALS, *sorted(counter, key=lambda word: (-counter[word], word))])
    arrays: dict[str, np.ndarray] = {}
    for split, (dialogues, _) in read.items():
        ids = [vocabulary.encode(tokens) for tokens in turn_tokens[split]]
        raw = [turn.encode("utf-8") for turn in turns[split]]
        arrays[f"{split}_tokens"] = np.array(list(itertools.chain(*ids)), dtype=np.int32)
        arrays[f"{split}_turn_offsets"] = _offsets(map(len, ids))
        arrays[f"{split}_dialogue_offsets"] = _offsets(len(d.turns) for d in dialogues)
        arrays[f"{split}_labels"] = np.array(
            [EMOTIONS.index(d.emotion) for d in dialogues], dtype=np.int64
        )
        arrays[f"{split}_text"] = np.frombuffer(b"".join(raw), dtype=np.uint8)
        arrays[f"{split}_text_offsets"] = _offsets(map(len, raw))
    return arrays, {
        "words": vocabulary.words,
        "problems": [problem for _, found in read.values() for problem in found],
    }


def _offsets(lengths: Iterable[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.fromiter(lengths, dtype=np.int64))]).astype(np.int64)


def _tokenize_all(texts: list[str], workers: int | None) -> list[list[str]]:
    workers = workers or os.cpu_count() or 1
    if workers == 1 or len(texts) < 5_000:  # starting processes costs more than this
        return [tokenize(text) for text in texts]
    _tokenizers()  # once for all processes
    # Ctrl-C reaches all processes: the others leave it to this one, which says so once.
    with ProcessPoolExecutor(
        workers, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    ) as pool:
        return list(pool.map(tokenize, texts, chunksize=2_000))
