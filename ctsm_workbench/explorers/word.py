"""What is known of one word: trait, intensity, rarity, both polarities, neighbours, and where people say it.

Paper: Sec. 3.4.1 and 5.4. Shapes: V words of the vocabulary, d dimensions, n = V without the special tokens.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ctsm_lib.corpus import EMOTIONS, SPECIALS, USR, tokenize
from ctsm_lib.errors import DataError
from ctsm_lib.lexicon import NEUTRAL_VAD, intensity
from ctsm_lib.polarity import NO_STATE, TIE, lengths_of, trait_polarity
from ctsm_lib.prepare import Prepared
from ctsm_workbench.explorers.shared import finish, label, paragraph, shown
from ctsm_workbench.pictures.house import BLUE, INK, ORANGE
from ctsm_workbench.study.polarity.discrepant import words_around
from ctsm_workbench.study.polarity.standards import word_scores

if TYPE_CHECKING:
    import plotly.graph_objects as go

TRAITS = ("valence", "arousal", "dominance")
STATES = {
    "state": "state, the paper's centroids",
    "state, rated centroids": "state, centroids of rated words",
}
NEAREST, QUOTED = 8, 5
SIDES = {1: "positive", 0: "negative", NO_STATE: "unknown: no vector"}


@dataclass(frozen=True)
class Quotation:
    """An occurrence in a training dialogue with a few words on either side."""

    emotion: str
    who: str
    before: str
    after: str


@dataclass(frozen=True)
class WordReport:
    """What is known of a word.

    Attributes:
        known: whether the vocabulary has it; without that there is a rating at most.
        vad: the rating in [0, 1]; the neutral one where it is not `rated`.
        trait: 1 positive, 0 negative. Unrated words are negative by the paper's rule.
        states: by a key of `STATES` the margin (cosine to the positive less cosine to the negative centroid), that
            margin over the largest one of all words, and 1, 0 or `NO_STATE`.
        nearest: words with cosine and trait (None: not rated).
        labels: the emotions of the dialogues that it occurs in most, with the number of occurrences.
        similar: words of the vocabulary that are spelled alike, where it is not known.
    """

    word: str
    known: bool
    rated: bool
    vad: tuple[float, float, float]
    intensity: float
    idf: float
    count: int
    trait: int
    states: dict[str, tuple[float, float, int]]
    nearest: list[tuple[str, float, int | None]]
    labels: list[tuple[str, int]]
    quotations: list[Quotation]
    similar: list[str]


class Words:
    """Everything about words that takes longer than a keystroke, computed once."""

    def __init__(self, prepared: Prepared):
        self.prepared, first = prepared, len(SPECIALS)
        self.words = prepared.corpus.vocabulary.words[first:]
        self.vad, _ = (
            array[first:] for array in prepared.lexicon.table(prepared.corpus.vocabulary)
        )
        self.scores, self.rated, self.has_vector = word_scores(prepared)
        self.trait = trait_polarity(self.scores["trait"]) * self.rated
        matrix = np.asarray(prepared.vectors.matrix[first:], dtype=np.float32)
        self._unit = matrix / np.maximum(lengths_of(matrix), 1e-30)[:, None].astype(np.float32)
        used = {"state": self.has_vector, "state, rated centroids": self.has_vector & self.rated}
        self._largest = {
            name: float(np.nanmax(np.abs(self.scores[name][part]))) for name, part in used.items()
        }
        split = prepared.corpus.splits["train"]
        self._tokens = np.asarray(split.tokens)
        turns = np.repeat(np.arange(len(split.labels)), np.diff(split.dialogue_offsets))
        self._dialogue_of_turn = turns
        self._initials: dict[str, list[str]] = {}
        for word in self.words:
            self._initials.setdefault(word[:1], []).append(word)

    def look_up(self, text: str, seed: int = 0) -> WordReport:
        """A word's report; of several words the first is taken.

        Args:
            seed: chooses the quotations.

        Raises:
            DataError: the text holds no word.
        """
        tokens = tokenize(text[:200])
        if not tokens:
            raise DataError("Type a word.")
        word, corpus, lexicon = tokens[0], self.prepared.corpus, self.prepared.lexicon
        i = corpus.vocabulary.index.get(word, -1) - len(SPECIALS)
        rating = lexicon.ratings.get(word)
        vad = rating or NEUTRAL_VAD["standard"]
        strength = float(intensity(np.array([vad]), np.array([rating is not None]))[0])
        trait = int(trait_polarity(np.array([vad[0]]))[0]) if rating else 0
        rows = (float(vad[0]), float(vad[1]), float(vad[2]))
        if i < 0:
            near = difflib.get_close_matches(
                word, self._initials.get(word[:1], []), n=5, cutoff=0.7
            )
            return WordReport(
                word, False, rating is not None, rows, strength, 1.0, 0, trait, {}, [], [], [], near
            )
        states = {}
        for name in STATES:
            margin = float(self.scores[name][i])
            side = NO_STATE if not self.has_vector[i] else int(margin > TIE)
            states[name] = (margin, margin / self._largest[name], side)
        labels, quotations = self._occurrences(i + len(SPECIALS), seed)
        count, idf = int(corpus.counts[i + len(SPECIALS)]), float(corpus.idf[i + len(SPECIALS)])
        known = (word, True, rating is not None, rows, strength, idf, count, trait, states)
        return WordReport(*known, self._nearest(i), labels, quotations, [])

    def _nearest(self, i: int) -> list[tuple[str, float, int | None]]:
        if not self.has_vector[i]:
            return []
        cosines = self._unit @ self._unit[i]
        cosines[~self.has_vector] = -2
        cosines[i] = -2
        count = min(NEAREST, int(self.has_vector.sum()) - 1)
        top = np.argpartition(-cosines, count - 1)[:count] if count > 0 else np.zeros(0, dtype=int)
        top = top[np.argsort(-cosines[top], kind="stable")]
        return [
            (self.words[k], float(cosines[k]), int(self.trait[k]) if self.rated[k] else None)
            for k in top
        ]

    def _occurrences(self, word: int, seed: int) -> tuple[list[tuple[str, int]], list[Quotation]]:
        split = self.prepared.corpus.splits["train"]
        places = np.flatnonzero(self._tokens == word)
        if not len(places):
            return [], []
        turns = np.searchsorted(split.turn_offsets, places, side="right") - 1
        labels = np.asarray(split.labels)[self._dialogue_of_turn[turns]]
        counts = np.bincount(labels, minlength=len(EMOTIONS))
        most = [
            (EMOTIONS[k], int(counts[k]))
            for k in np.argsort(-counts, kind="stable")[:5]
            if counts[k]
        ]
        chosen = np.random.default_rng([seed, word]).permutation(len(places))[:QUOTED]
        quotations = []
        for k in chosen:
            who = "speaker" if split.speaker[places[k]] == USR else "listener"
            before, after = words_around(self.prepared.corpus, int(places[k]), around=6)
            quotations.append(Quotation(EMOTIONS[labels[k]], who, before, after))
        return most, quotations


def word_figures(report: WordReport) -> list[go.Figure]:
    """Bars of what a word carries, of its polarities, and of its nearest words."""
    figures = [_trait_figure(report)]
    if report.known:
        figures.append(_polarity_figure(report))
    if report.nearest:
        figures.append(_nearest_figure(report))
    return figures


def _bars(
    names: list[str], values: list[float], colours: list[str], texts: list[str], tips: list[str]
) -> go.Figure:
    import plotly.graph_objects as go

    bar = go.Bar(
        y=names, x=values, orientation="h", marker_color=colours, text=texts, textposition="auto",
        hovertext=tips, hoverinfo="text", insidetextanchor="end", cliponaxis=False, textangle=0, constraintext="none",
        textfont_size=11,
    )  # fmt: skip
    return go.Figure(bar).update_yaxes(autorange="reversed", ticks="")


def _trait_figure(report: WordReport) -> go.Figure:
    names = [*TRAITS, "intensity", "IDF"]
    values = [*report.vad, report.intensity, report.idf]
    of_rating = BLUE if report.rated else INK
    colours = [*[of_rating] * 4, ORANGE]
    figure = _bars(
        names, values, colours, [f"{value:.2f}" for value in values], [f"{v:.3f}" for v in values]
    )
    title = f"What “{label(report.word)}” carries" + (
        "" if report.rated else " (not rated: neutral)"
    )
    said = ", ".join(f"{name} {value:.2f}" for name, value in zip(names, values, strict=True))
    return finish(figure, title, f"{report.word}: {said}", 250).update_xaxes(
        range=[min(0, *values), 1.05]
    )


def _polarity_figure(report: WordReport) -> go.Figure:
    names, values, tips = (
        ["trait"],
        [2 * report.vad[0] - 1 if report.rated else 0.0],
        [f"valence {report.vad[0]:.3f}"],
    )
    for key, name in STATES.items():
        margin, share, side = report.states[key]
        names.append(name.replace(", ", ",<br>"))
        values.append(0.0 if side == NO_STATE else share)
        tips.append(
            SIDES[side] if side == NO_STATE else f"margin {margin:+.4f}<br>1: as far as any word"
        )
    colours = [BLUE if value > 0 else ORANGE for value in values]
    figure = _bars(names, values, colours, [f"{value:+.2f}" for value in values], tips)
    figure.update_xaxes(
        range=[-1.15, 1.15],
        zeroline=True,
        title={"text": "negative ← → positive", "font": {"size": 12}},
    )
    said = "; ".join(
        f"{name.replace('<br>', ' ')} {value:+.2f}"
        for name, value in zip(names, values, strict=True)
    )
    return finish(figure, "Polarity both ways", f"Polarity of {report.word}: {said}", 250)


def _nearest_figure(report: WordReport) -> go.Figure:
    names, values, traits = zip(*report.nearest, strict=True)
    colours = [INK if trait is None else BLUE if trait else ORANGE for trait in traits]
    tips = [
        f"cosine {value:.3f}, {'not rated' if t is None else SIDES[t]}"
        for value, t in zip(values, traits, strict=True)
    ]
    # Labels may repeat once they are cut, so places carry the bars and names are their labels.
    figure = _bars(
        list(range(len(names))),  # type: ignore[arg-type]
        list(values),
        colours,
        [f"{v:.2f}" for v in values],
        tips,
    )
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=[label(name) for name in names])
    title = "Nearest words<br><sup>blue: positive trait, orange: negative, grey: not rated</sup>"
    alt = f"Nearest to {report.word}: " + ", ".join(
        f"{n} {v:.2f}" for n, v in zip(names, values, strict=True)
    )
    return finish(figure, title, alt, 250).update_xaxes(
        range=[min(0.0, *values), 1.0], title={"text": "cosine", "font": {"size": 12}}
    )


def word_text(report: WordReport) -> str:
    """The report in words, as HTML in which nothing that was typed or read is markup."""
    lines = []
    if not report.known:
        similar = f" Spelled alike: {', '.join(report.similar)}." if report.similar else ""
        rated = "The lexicon rates it" if report.rated else "Nor does the lexicon rate it"
        lines.append(
            paragraph(
                f"The dialogues never use “{report.word}”: a model reads it as <unk>. {rated}.{similar}",
                "warn",
            )
        )
        return "".join(lines)
    for key, name in STATES.items():
        side = report.states[key][2]
        differ = (
            ""
            if side == NO_STATE
            else " — they differ"
            if side != report.trait
            else " — they agree"
        )
        trait = SIDES[report.trait] + (
            "" if report.rated else " (not rated, so by the paper's rule)"
        )
        lines.append(paragraph(f"trait {trait}; {name}: {SIDES[side]}{differ}."))
    return "".join(lines)


def occurrence_text(report: WordReport) -> str:
    """How often and where the word is said, as HTML in which nothing that was typed or read is markup."""
    if not report.known:
        return ""
    said = ", ".join(f"{emotion} {count:,}" for emotion, count in report.labels)
    often = f"is said {report.count:,} times" if report.count else "is never said"
    most = f", most in those about: {said}." if said else "."
    often = f"“{report.word}” {often} in the training dialogues{most}"
    rows = [
        f'<tr><td class="faint">{shown(q.emotion)}, {q.who}</td><td>{shown(q.before)} <mark>{shown(report.word)}</mark> '
        f"{shown(q.after)}</td></tr>"
        for q in report.quotations
    ]
    return paragraph(often) + (f"<table>{''.join(rows)}</table>" if rows else "")
