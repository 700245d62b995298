"""Runs that read and answer conversations: predicted emotions, and how each token is treated.

Paper: Sec. 3.4.2, 3.5 and 3.6.1. Shapes: L context tokens with CLS, T answer tokens with EOS.
"""

import difflib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from ctsm_lib.batches import Batch, context_batch
from ctsm_lib.corpus import EMOTIONS, EOS, USR, Corpus, tokenize
from ctsm_lib.decoding import Decoding
from ctsm_lib.errors import CtsmError, DataError, RunError
from ctsm_lib.knowledge import Inference, Provider
from ctsm_lib.model.generation import previous_words
from ctsm_lib.runs import Response, Run, clean_turn
from ctsm_lib.sources import PROJECT, find_sources

COPIED = 0.5  # a word counts as copied from this share of its probability on
CLS_NAME = "⟨CLS⟩"
LONGEST_TURN = 4000  # characters
KEPT_INFERENCES = 256


class Remembering(Provider):
    """A provider that keeps its latest inferences: explorers often ask for the same utterance."""

    def __init__(self, provider: Provider):
        self.name = provider.name
        self.fingerprint = provider.fingerprint
        self._infer = lru_cache(KEPT_INFERENCES)(lambda text: provider.infer([text], False)[0])

    def infer(self, texts: Sequence[str], progress: bool = False) -> list[Inference]:
        """The provider's inferences for each text."""
        return [self._infer(text) for text in texts]


class Voice:
    """A run that is ready to read and to answer, with its provider of commonsense inferences."""

    def __init__(self, run: Run):
        sources = None
        with suppress(CtsmError):
            sources = find_sources()
        provider, note = run.provider(sources)
        provider.infer(["hello"], progress=False)  # reads large tables now, not at the first answer
        run.model.eval()
        self.run = run
        self.name = run.folder.name  # which the menus show
        self.provider = Remembering(provider)
        # Facts that the user should know, such as missing commonsense tables.
        self.notes = [text for text in (run.note, note) if text]

    def batch(self, turns: Sequence[str]) -> Batch:
        """A batch of turns, the speaker's first. "" leaves one out; others keep their speakers."""
        cleaned = [clean_turn(turn) for turn in turns]
        spoken = [turn for turn in cleaned if tokenize(turn)]
        if not spoken:
            raise DataError("There is nothing to read: no turn holds a word. Type one turn a line.")
        inferences = self.provider.infer(spoken[-1:])
        longest = self.run.config.max_context
        return context_batch([cleaned], inferences, self.run.vocabulary, longest)


def runs_beside(run: Run) -> dict[str, Path]:
    """Find the run folders beside a run and in the project's `runs/`; return them by name."""
    places = [run.folder.resolve().parent, *([PROJECT / "runs"] if PROJECT else [])]
    found = {run.folder.name: run.folder}
    for path in (path.parent for place in places for path in sorted(place.glob("*/run.json"))):
        if path.resolve() != run.folder.resolve():  # a link to the same run is no second one
            found.setdefault(path.name, path)
    return found


def one_line(text: str) -> str:
    """A typed turn on one line. Raises `RunError` if it is longer than a model could ever read."""
    if len(text) > LONGEST_TURN:
        raise RunError(f"This turn has {len(text):,} characters. Take at most {LONGEST_TURN:,}.")
    return " ".join(text.split())


def typed_turns(text: str) -> list[str]:
    """Typed text as turns: one turn a line, the speaker's first. An empty line leaves one out."""
    return [one_line(line) for line in text.replace("\r\n", "\n").rstrip("\n").split("\n")]


@dataclass(frozen=True)
class Reading:
    """A context as a run reads it. Without guidance there is no "teacher"."""

    tokens: list[str]  # L, as typed, CLS first; the beginning of a long context is cut off
    known: list[bool]  # L: the run reads tokens outside its vocabulary as <unk>
    by_speaker: list[bool]  # L
    inclination: np.ndarray | None  # L 32: V_cos, Eq. (7); None without state embedding
    intensity: np.ndarray  # L: emotion intensity
    pooling: dict[str, np.ndarray]  # L: the attention pooling S of "student" and "teacher"
    probabilities: dict[str, np.ndarray]  # 32: the emotions that these two predict
    cut: int  # tokens cut off at the beginning


@torch.no_grad()
def read_context(voice: Voice, turns: Sequence[str]) -> Reading:
    """Read turns as for an answer (see `Voice.batch`), and once more by the teacher's path.

    Raises `DataError` where no turn holds a word, and `RunError` for a run of a baseline.
    """
    model = voice.run.ctsm()
    batch = voice.batch(turns)
    read = model.read(batch)
    logits = {"student": model.remember(batch, read).emotion_logits}
    pooling = {"student": read.pooling}
    if model.config.guidance:
        logits["teacher"], pooling["teacher"] = model.teacher_path(read)
    typed = [token for turn in turns for token in tokenize(clean_turn(turn))]
    cut = len(typed) - (batch.context.shape[1] - 1)
    return Reading(
        tokens=[CLS_NAME, *typed[cut:]],
        known=[True, *(token in voice.run.vocabulary for token in typed[cut:])],
        by_speaker=(batch.speaker[0] == USR).tolist(),
        inclination=None if read.V_cos is None else read.V_cos[0].numpy(),
        intensity=read.intensity[0].numpy(),
        pooling={name: weights[0].float().numpy() for name, weights in pooling.items()},
        probabilities={n: row[0].float().softmax(dim=-1).numpy() for n, row in logits.items()},
        cut=cut,
    )


def picked_dialogue(corpus: Corpus, emotion: str, random: Random) -> tuple[list[str], str] | None:
    """A random test context with this label, or "any", and its label; None where there is none."""
    split = corpus.splits["test"]
    labels = [EMOTIONS[k] for k in split.pairs[:, 3]]
    fitting = [pair for pair, label in enumerate(labels) if emotion in ("any", label)]
    if not fitting:
        return None
    pair = random.choice(fitting)
    return split.context_texts(pair), labels[pair]


def new_tokens(before: Reading, after: Reading) -> list[bool]:
    """[L of after] whether a token was not there before."""
    matcher = difflib.SequenceMatcher(a=before.tokens, b=after.tokens, autojunk=False)
    old = {block.b + k for block in matcher.get_matching_blocks() for k in range(block.size)}
    return [place not in old for place in range(len(after.tokens))]


def moved(before: Reading, after: Reading, who: str = "student") -> float:
    """The probability that moved from some emotions to others, 0 to 1 (total variation)."""
    return float(np.abs(before.probabilities[who] - after.probabilities[who]).sum() / 2)


def likeliest(readings: Sequence[Reading], count: int) -> list[int]:
    """The emotions that the student finds likeliest in any of the readings, the likeliest first."""
    highest = np.max([reading.probabilities["student"] for reading in readings], axis=0)
    return np.argsort(-highest, kind="stable")[:count].tolist()


def most_changed(before: Reading, after: Reading, count: int) -> list[int]:
    """The emotions whose probability, predicted by the student, changed most."""
    change = after.probabilities["student"] - before.probabilities["student"]
    return np.argsort(-np.abs(change), kind="stable")[:count].tolist()


@dataclass(frozen=True)
class Token:
    """One token of an answer. Its probability is `generated + copied`."""

    word: str
    generated: float  # alpha times the probability in the vocabulary's softmax
    copied: float  # (1 - alpha) times the copy weights of the word's positions in the context
    alpha: float  # the gate: the probability of generating rather than copying
    source: int | None  # the context position, from 1, with the largest part of `copied`

    @property
    def copied_share(self) -> float:
        """The share of the word's probability that came from the context, 0 to 1."""
        total = self.generated + self.copied
        return self.copied / total if total > 0 else 0.0


@dataclass(frozen=True)
class Answered:
    """An answer to a turn, its decoding, its tokens (EOS last, if it was reached), the seconds."""

    said: str
    response: Response
    how: Decoding
    tokens: list[Token]
    seconds: float

    @property
    def copied(self) -> list[Token]:
        """The tokens that were copied rather than generated."""
        return [token for token in self.tokens if token.copied_share >= COPIED]

    def asdict(self) -> dict[str, Any]:
        """The answer as JSON."""
        tokens = [asdict(token) for token in self.tokens]
        return self.response.asdict() | {"decoding": asdict(self.how), "tokens": tokens}


@dataclass
class Column:
    """A run that takes part in a conversation, and its decoding."""

    voice: Voice
    how: Decoding

    @property
    def name(self) -> str:
        """The run and the method, since two columns may be one run with two methods."""
        return f"{self.voice.name}, {self.how.method}"


@dataclass
class Conversation:
    """A conversation with one run or with two, each of which remembers its own answers."""

    columns: list[Column]
    exchanges: list[list[Answered]] = field(default_factory=list)  # each column's answer to a turn

    def say(self, text: str) -> list[Answered]:
        """Say something and let every column answer. After an error nothing has been added."""
        self.exchanges.append(self._exchange(one_line(text), self.exchanges))
        return self.exchanges[-1]

    def again(self) -> None:
        """Answer the last turn, if there is one, again with the present decoding."""
        if self.exchanges:
            self.exchanges[-1] = self._exchange(self.exchanges[-1][0].said, self.exchanges[:-1])

    def undo(self) -> str:
        """Remove the last turn and its answers. Return the turn, "" where there is none."""
        return self.exchanges.pop()[0].said if self.exchanges else ""

    def _exchange(self, said: str, earlier: list[list[Answered]]) -> list[Answered]:
        answers = []
        for number, column in enumerate(self.columns):
            own = (answers[number] for answers in earlier)
            turns = [turn for found in own for turn in (found.said, found.response.text)]
            answers.append(answer(column.voice, [*turns, said], column.how))
        return answers

    def asdict(self) -> dict[str, Any]:
        """The conversation as JSON, with the decoding and every token of each answer."""
        runs = [{"name": c.voice.name} | c.voice.run.about("cpu") for c in self.columns]
        exchanges = [
            {"said": answers[0].said, "answers": [found.asdict() for found in answers]}
            for answers in self.exchanges
        ]
        return {"runs": runs, "exchanges": exchanges}


def answer(voice: Voice, turns: Sequence[str], how: Decoding) -> Answered:
    """Answer turns, the speaker's first, and trace each token of the answer.

    Raises `DataError` where the last turn holds no word, `RunError` where the model cannot answer.
    """
    begun = time.monotonic()
    run = voice.run
    if not run.model.predicts_words:
        raise RunError(f"{voice.name} is a run of {run.config.model}, which gives no answers.")
    response = run.respond([turns], voice.provider, how)[0]
    ids = run.vocabulary.encode(response.words)
    if len(ids) < how.max_length:
        ids.append(EOS)
    tokens = trace(run.model, voice.batch(turns), ids, run.vocabulary.words)
    return Answered(turns[-1], response, how, tokens=tokens, seconds=time.monotonic() - begun)


@torch.no_grad()
def trace(model: Any, batch: Batch, ids: Sequence[int], words: Sequence[str]) -> list[Token]:
    """The tokens of an answer (their ids [T]) to the one context of a batch.

    Paper: Sec. 3.6.1, `P = alpha softmax(W o) + (1 - alpha) copy`.
    """
    target = torch.tensor([list(ids)])
    previous = model.embed.look_up({"previous": previous_words(target)})["previous"]
    taught = model.decoder.teach(model.embed, previous, model.start(model.encode(batch)), target)
    weights = taught.copy.float() * (batch.context == target.T)  # T L
    alphas = taught.scores.alpha
    totals = taught.scores.log_prob.exp().double()
    # Rounding must not make the copied part larger than the whole.
    copied = torch.minimum(((1 - alphas) * weights.sum(dim=1)).double(), totals)
    sources = weights.argmax(dim=1).tolist()
    parts = torch.stack([totals - copied, copied, alphas.double()], dim=1).tolist()  # T 3
    return [
        Token(words[i], made, copy, alpha=alpha, source=source if copy > 0 else None)
        for i, (made, copy, alpha), source in zip(ids, parts, sources, strict=True)
    ]
