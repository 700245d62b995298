"""The reports in words, as HTML. Nothing that was typed or read acts as markup."""

from __future__ import annotations

import base64
import html
import json
from typing import Any

import numpy as np

from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.polarity import NO_STATE
from ctsm_workbench.explorers.answer import Conversation
from ctsm_workbench.explorers.context import Reading, likeliest, moved, new_tokens
from ctsm_workbench.explorers.word import STATES, WordReport

POLARITIES = {1: "positive", 0: "negative", NO_STATE: "unknown: no vector"}
LONGEST_LABEL = 24  # characters


def shown(text: object) -> str:
    """Text as HTML and plotly show it: markup in it has no effect."""
    return html.escape(str(text), quote=True)


def label(word: str) -> str:
    """A word as a label in a figure, cut to `LONGEST_LABEL`."""
    return shown(word if len(word) <= LONGEST_LABEL else word[: LONGEST_LABEL - 1] + "…")


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text; `kind` is its class."""
    return f'<p class="{kind}">{shown(text)}</p>' if kind else f"<p>{shown(text)}</p>"


def word_text(report: WordReport) -> str:
    """The polarities of a word, or words that are spelled alike."""
    if not report.known:
        rated = "The lexicon rates it" if report.rated else "The lexicon does not rate it either"
        similar = f" Similar spellings: {', '.join(report.similar)}." if report.similar else ""
        text = f"The dialogues never use “{report.word}”: a model reads it as <unk>. {rated}."
        return paragraph(text + similar, "warn")
    unrated = "" if report.rated else " (not rated, so negative by the paper's rule)"
    lines = []
    for key, name in STATES.items():
        _, _, state = report.states[key]
        agree = " — they agree" if state == report.trait else " — they differ"
        compared = "" if state == NO_STATE else agree
        trait = f"trait: {POLARITIES[report.trait]}{unrated}"
        lines.append(paragraph(f"{trait}; {name}: {POLARITIES[state]}{compared}."))
    return "".join(lines)


def occurrence_text(report: WordReport) -> str:
    """The number of occurrences of a word, their labels, and quotations."""
    if not report.known:
        return ""
    labels = ", ".join(f"{emotion} {count:,}" for emotion, count in report.labels)
    most = f", most often in those labelled: {labels}." if labels else "."
    often = f"occurs {report.count:,} times" if report.count else "never occurs"
    rows = [
        f'<tr><td class="faint">{shown(q.emotion)}, {q.who}</td>'
        f"<td>{shown(q.before)} <mark>{shown(report.word)}</mark> {shown(q.after)}</td></tr>"
        for q in report.quotations
    ]
    table = f"<table>{''.join(rows)}</table>" if rows else ""
    return paragraph(f"“{report.word}” {often} in the training dialogues{most}") + table


def context_text(before: Reading, after: Reading | None = None, gold: str = "") -> str:
    """The predicted emotions, the dialogue's gold label, the change, and warnings."""
    first = before.probabilities["student"]
    top = ", ".join(f"{EMOTIONS[k]} {first[k]:.0%}" for k in likeliest([before], 3))
    own = f" The dialogue's label: {gold}." if gold else ""
    lines = [paragraph(f"The student predicts {top}.{own}")]
    if after is not None:
        lines += _change_text(before, after)
    readings = [before] if after is None else [before, after]
    for reading in readings:
        if reading.cut:
            cut = f"The first {reading.cut:,} tokens are cut off: the context is too long."
            lines.append(paragraph(cut, "warn"))
    marks = [
        mark for reading in readings for mark in zip(reading.tokens, reading.known, strict=True)
    ]
    if unknown := sorted({token for token, known in marks if not known}):
        listed = ", ".join(unknown[:10])
        lines.append(paragraph(f"Read as <unk>, marked by “?”: {listed}.", "warn"))
    if before.inclination is None:
        missing = "This run was trained without state embedding, so there is no inclination."
        lines.append(paragraph(missing, "warn"))
    return "".join(lines)


def _change_text(before: Reading, after: Reading) -> list[str]:
    first = before.probabilities["student"]
    second = after.probabilities["student"]
    order = np.argsort(-np.abs(second - first), kind="stable")[:4]
    changes = ", ".join(f"{EMOTIONS[k]} {first[k]:.1%} → {second[k]:.1%}" for k in order)
    text = f"After the change {moved(before, after):.1%} of the probability has moved: {changes}."
    if "teacher" in before.probabilities:
        text += f" For the teacher it is {moved(before, after, 'teacher'):.1%}."
    lines = [paragraph(text)]
    marks = zip(after.tokens, new_tokens(before, after), strict=True)
    if words := [token for token, new in marks if new]:
        more = ", ..." if len(words) > 12 else ""
        lines.append(paragraph(f"New (bold): {', '.join(words[:12])}{more}."))
    return lines


def transcript(talk: Conversation, column: int) -> str:
    """One column's conversation; in the last answer, copied words are tinted."""
    rows = []
    for exchange in talk.exchanges:
        text = exchange.answers[column].response.text
        rows.append(f'<div class="turn me">{shown(exchange.said)}</div>')
        rows.append(f'<div class="turn">{shown(text) or "(no words)"}</div>')
    if talk.exchanges:
        found = talk.exchanges[-1].answers[column]
        words = []
        for token in found.tokens[: len(found.response.words)]:
            tint = f"background: rgba(196, 95, 10, {0.55 * token.copied_share:.2f})"
            words.append(f'<span class="copied" style="{tint}">{shown(token.word)}</span>')
        tinted = f"word by word, darker where more is copied: {' '.join(words)}"
        copied = ", ".join(f"{t.word} ({t.copied_share:.0%})" for t in found.copied) or "nothing"
        rows.append(f'<p class="faint">{tinted}</p>')
        rows.append(paragraph(f"copied rather than generated: {copied}", "faint"))
        rows.append(paragraph(f"answered in {found.seconds:.2f} s", "faint"))
    return "".join(rows)


def save_link(value: dict[str, Any]) -> str:
    """A link with which the browser saves a value as a JSON file."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    packed = base64.b64encode(text.encode("utf-8")).decode("ascii")
    address = f"data:application/json;base64,{packed}"
    return f'<a download="conversation.json" href="{address}">save as JSON</a>'
