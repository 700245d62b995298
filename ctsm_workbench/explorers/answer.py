"""Conversations with runs: their answers, the probability of each word, and the copied words.

Paper: Sec. 3.6.1. Shapes: T answer tokens with EOS, L context tokens.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from ctsm_lib.batches import Batch
from ctsm_lib.corpus import EOS
from ctsm_lib.decoding import Decoding
from ctsm_lib.errors import RunError
from ctsm_lib.model.generation import previous_words
from ctsm_lib.runs import Response
from ctsm_workbench.explorers.context import Voice, one_line

COPIED = 0.5  # a word counts as copied from this share of its probability on


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
    """An answer with its decoding, its tokens (EOS last, where it was reached) and the seconds."""

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
class Exchange:
    """A turn of the user, and each column's answer."""

    said: str
    answers: list[Answered]


@dataclass
class Conversation:
    """A conversation with one run or with two, each of which remembers its own answers."""

    columns: list[Column]
    exchanges: list[Exchange] = field(default_factory=list)

    def say(self, text: str) -> Exchange:
        """Say something and let every column answer. After an error nothing has been added.

        Errors are those of `one_line` and `answer`.
        """
        self.exchanges.append(self._exchange(one_line(text), self.exchanges))
        return self.exchanges[-1]

    def again(self) -> None:
        """Answer the last turn, if there is one, again with the present decoding."""
        if self.exchanges:
            self.exchanges[-1] = self._exchange(self.exchanges[-1].said, self.exchanges[:-1])

    def undo(self) -> str:
        """Remove the last turn and its answers. Return the turn, "" where there is none."""
        return self.exchanges.pop().said if self.exchanges else ""

    def _exchange(self, said: str, earlier: Sequence[Exchange]) -> Exchange:
        answers = []
        for number, column in enumerate(self.columns):
            turns = [turn for e in earlier for turn in (e.said, e.answers[number].response.text)]
            answers.append(answer(column.voice, [*turns, said], column.how))
        return Exchange(said, answers)

    def asdict(self) -> dict[str, Any]:
        """The conversation as JSON, with the decoding and every token of each answer."""
        runs = [{"name": c.voice.name} | c.voice.run.about("cpu") for c in self.columns]
        exchanges = [
            {"said": exchange.said, "answers": [found.asdict() for found in exchange.answers]}
            for exchange in self.exchanges
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
    return Answered(response, how, tokens, time.monotonic() - begun)


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
