"""Talking to runs: what each answers, word by word how likely that was, and which words it copied.

Paper: Sec. 3.6.1. Shapes: T answer tokens with EOS, L context tokens, V vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ctsm_lib.batches import Batch, context_batch
from ctsm_lib.corpus import EOS
from ctsm_lib.decoding import Decoding
from ctsm_lib.errors import RunError
from ctsm_lib.files import write_json
from ctsm_lib.model import CTSM
from ctsm_lib.model.generation import previous_words
from ctsm_lib.runs import Response, clean_turn
from ctsm_workbench.baselines.base import Baseline
from ctsm_workbench.baselines.tfidf import TfIdf
from ctsm_workbench.explorers.shared import Voice, finish, label, paragraph, shown, turn_of
from ctsm_workbench.pictures.house import BLUE, INK, ORANGE

if TYPE_CHECKING:
    import plotly.graph_objects as go

COPIED = 0.5  # of a word's probability: from here it counts as copied


@dataclass(frozen=True)
class Said:
    """One token of an answer. Its probability is `generated + copied`.

    Attributes:
        generated: alpha times the probability of the word in the vocabulary's softmax.
        copied: (1 - alpha) times the copy weights of the word's places in the context.
        alpha: the gate: probability of generating rather than copying.
        source: the place of the context, counted from 1, that gave most of `copied`; None where there is none.
    """

    word: str
    generated: float
    copied: float
    alpha: float
    source: int | None

    @property
    def copied_share(self) -> float:
        """Which part of the word's probability came from the context, 0 to 1."""
        total = self.generated + self.copied
        return self.copied / total if total > 0 else 0.0


@dataclass(frozen=True)
class Answered:
    """An answer with its tokens (EOS last, where it was reached) and the seconds it took."""

    response: Response
    tokens: list[Said]
    seconds: float


@dataclass
class Column:
    """Who answers, and how."""

    voice: Voice
    how: Decoding

    @property
    def name(self) -> str:
        """The run and the method: two columns may be one run in two manners."""
        return f"{self.voice.name}, {self.how.method}"


@dataclass
class Exchange:
    """What was said to all columns, and what each answered."""

    said: str
    answers: list[Answered]
    manners: list[Decoding]


@dataclass
class Conversation:
    """A talk with one run or two, each of which goes by its own answers."""

    columns: list[Column]
    exchanges: list[Exchange] = field(default_factory=list)

    def turns(self, column: int) -> list[str]:
        """What a column has heard and said so far."""
        return [turn for e in self.exchanges for turn in (e.said, e.answers[column].response.text)]

    def say(self, text: str) -> Exchange:
        """Say something; every column answers.

        Raises:
            DataError: it holds no word. RunError: it is too long, or a run gives no answers. Then nothing is added.
        """
        said = turn_of(text)
        answers = [
            answer(column.voice, [*self.turns(number), said], column.how)
            for number, column in enumerate(self.columns)
        ]
        self.exchanges.append(Exchange(said, answers, [column.how for column in self.columns]))
        return self.exchanges[-1]

    def again(self) -> Exchange | None:
        """Answer the last turn once more, in the manner that is set now; None where nothing was said."""
        if not self.exchanges:
            return None
        last = self.exchanges.pop()
        try:
            return self.say(last.said)
        except Exception:
            self.exchanges.append(last)
            raise

    def undo(self) -> str:
        """Take the last turn and its answers back; returns the turn, "" where there is none."""
        return self.exchanges.pop().said if self.exchanges else ""

    def asdict(self) -> dict[str, Any]:
        """The talk as JSON: who answered, in which manner, every token with how it came about."""
        return {
            "runs": [{"name": c.voice.name} | c.voice.run.about("cpu") for c in self.columns],
            "exchanges": [
                {
                    "said": exchange.said,
                    "answers": [
                        found.response.asdict()
                        | {"decoding": asdict(how), "tokens": [asdict(t) for t in found.tokens]}
                        for found, how in zip(exchange.answers, exchange.manners, strict=True)
                    ],
                }
                for exchange in self.exchanges
            ],
        }

    def save(self, path: Path) -> None:
        """Write `asdict` as a file.

        Raises:
            RunError: it cannot be written.
        """
        write_json(path, self.asdict())


def answer(voice: Voice, turns: Sequence[str], how: Decoding) -> Answered:
    """Answer a conversation, and look back at each token of the answer.

    Args:
        turns: the speaker's first.

    Raises:
        DataError: the last turn holds no word. RunError: the model gives no answers.
    """
    run, begun = voice.run, time.monotonic()
    if isinstance(run.model, TfIdf):
        raise RunError(
            f"{voice.name} is a run of {run.config.model}, which names emotions but gives no answers."
        )
    response = run.respond([turns], voice.provider, how)[0]
    cleaned = [clean_turn(turn) for turn in turns]
    batch = context_batch(
        [cleaned],
        voice.provider.infer([cleaned[-1]], progress=False),
        run.vocabulary,
        run.config.max_context,
    )
    ids = run.vocabulary.encode(response.words)
    ended = len(ids) < how.max_length
    tokens = trace(run.model, batch, [*ids, EOS] if ended else ids, run.vocabulary.words)
    return Answered(response, tokens, time.monotonic() - begun)


@torch.no_grad()
def trace(
    model: CTSM | Baseline, batch: Batch, ids: Sequence[int], words: Sequence[str]
) -> list[Said]:
    """How likely each token of an answer was, given those before it, and where that likelihood came from.

    Args:
        batch: one context.
        ids: [T] the answer.
        words: [V] the vocabulary.

    Paper: Sec. 3.6.1, `P = alpha softmax(W o) + (1 - alpha) copy`.
    """
    was_training = model.training
    model.eval()
    target = torch.tensor([list(ids)])
    previous = model.embed.look_up({"previous": previous_words(target)})["previous"]
    taught = model.decoder.teach(model.embed, previous, model.start(model.encode(batch)), target)
    model.train(was_training)
    assert taught.copy is not None
    weights = taught.copy.float() * (batch.context == target.T)  # T L
    copied = (1 - taught.alpha) * weights.sum(dim=1)
    rows = zip(
        ids,
        taught.log_prob.exp().tolist(),
        copied.tolist(),
        taught.alpha.tolist(),
        weights.argmax(1).tolist(),
        strict=True,
    )
    return [
        Said(
            words[word],
            max(total - part, 0.0),
            min(part, total),
            alpha,
            place if part > 0 else None,
        )
        for word, total, part, alpha, place in rows
    ]


# -------------------------------------------------------------------------------------------------------------- figures


def answer_figures(found: Answered, name: str) -> list[go.Figure]:
    """Where each word came from, and the emotions that were heard."""
    figures = [_token_figure(found, name)] if found.tokens else []
    return [*figures, _emotion_figure(found, name)] if found.response.emotions else figures


def _token_figure(found: Answered, name: str) -> go.Figure:
    import plotly.graph_objects as go

    tokens = found.tokens
    places, tips = list(range(len(tokens))), [_tip(token) for token in tokens]
    figure = go.Figure()
    for part, colour in (("generated", BLUE), ("copied", ORANGE)):
        heights = [getattr(token, part) for token in tokens]
        figure.add_bar(
            x=places, y=heights, name=part, marker_color=colour, hovertext=tips, hoverinfo="text"
        )
    figure.add_scatter(
        x=places, y=[token.alpha for token in tokens], name="alpha", mode="markers", hoverinfo="skip",
        marker={"symbol": "line-ew-open", "size": 14, "color": INK, "line": {"width": 3}},
    )  # fmt: skip
    figure.update_xaxes(
        tickvals=places, ticktext=[_word(token) for token in tokens], tickangle=-60, ticks=""
    )
    figure.update_yaxes(range=[0, 1.03], title="probability of the word")
    copied = [token.word for token in tokens if token.copied_share >= COPIED]
    alt = f"Words of the answer of {name}. Copied: {', '.join(copied) or 'none'}"
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    title = f"Generate or copy?<br><sup>{shown(name)}</sup>"
    return finish(figure, title, alt, 360, legend=legend, barmode="stack").update_layout(
        margin_t=80
    )


def _word(token: Said) -> str:
    return "(end)" if token.word == "<eos>" else label(token.word)


def _tip(token: Said) -> str:
    lines = [f"{_word(token)}: {token.generated + token.copied:.3f}", f"alpha {token.alpha:.3f}"]
    lines.append(
        f"copied {token.copied_share:.0%}"
        + (f", most from place {token.source}" if token.source else "")
    )
    return "<br>".join(lines)


def _emotion_figure(found: Answered, name: str) -> go.Figure:
    import plotly.graph_objects as go

    names = list(found.response.emotions)[:8]
    values = [found.response.emotions[emotion] for emotion in names]
    bar = go.Bar(
        y=names,
        x=values,
        orientation="h",
        marker_color=BLUE,
        hovertemplate="%{y} %{x:.3f}<extra></extra>",
    )
    figure = (
        go.Figure(bar).update_yaxes(autorange="reversed", ticks="").update_xaxes(rangemode="tozero")
    )
    alt = "Heard: " + ", ".join(
        f"{emotion} {value:.2f}" for emotion, value in zip(names, values, strict=True)
    )
    return finish(figure, f"What it hears<br><sup>{shown(name)}</sup>", alt, 300).update_xaxes(
        title="probability"
    )


def transcript(talk: Conversation, column: int) -> str:
    """A column's talk as HTML; words that were copied rather than generated are tinted. Nothing typed is markup."""
    rows = []
    for exchange in talk.exchanges:
        found = exchange.answers[column]
        rows.append(f'<div class="turn me">{shown(exchange.said)}</div>')
        rows.append(f'<div class="turn">{shown(found.response.text) or "(it says nothing)"}</div>')
    if talk.exchanges:
        found = talk.exchanges[-1].answers[column]
        words = []
        for token in found.tokens[: len(found.response.words)]:
            tint = f"background: rgba(196, 95, 10, {0.55 * token.copied_share:.2f})"
            words.append(f'<span class="copied" style="{tint}">{shown(token.word)}</span>')
        rows.append(
            f'<p class="faint">word by word, the more copied the darker: {" ".join(words)}</p>'
        )
        copied = [
            f"{t.word} ({t.copied_share:.0%})" for t in found.tokens if t.copied_share >= COPIED
        ]
        rows.append(
            paragraph(f"copied rather than generated: {', '.join(copied) or 'nothing'}", "faint")
        )
        rows.append(paragraph(f"answered in {found.seconds:.2f} s", "faint"))
    return "".join(rows)
