"""What a run makes of a dialogue, token by token, and what changes when a word is edited or a turn left out.

Paper: Sec. 3.4.2 and 3.5. Shapes: L context tokens with CLS, 32 emotions.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ctsm_lib.batches import context_batch
from ctsm_lib.corpus import EMOTIONS, USR, Corpus, tokenize
from ctsm_lib.errors import DataError, RunError
from ctsm_lib.model import CTSM
from ctsm_lib.model.emotion import LABELS
from ctsm_lib.runs import clean_turn
from ctsm_workbench.explorers.shared import Voice, finish, label, paragraph, turn_of
from ctsm_workbench.pictures.house import BLUE, INK, ORANGE

if TYPE_CHECKING:
    import plotly.graph_objects as go

CLS_NAME = "⟨CLS⟩"
SHOWN_EMOTIONS, CHANGES = 8, 4


@dataclass(frozen=True)
class Reading:
    """A context as a run reads it.

    Attributes:
        turns: as typed, "" for a turn that is left out: those after it keep their speakers.
        tokens: [L] as they were typed, CLS first; the beginning of an overlong context is cut off.
        known: [L] whether the run knows the word; it reads the others as <unk>.
        by_speaker: [L] whether the speaker said it.
        inclination: [L, 32] V_cos, Eq. (7); None where the run has no state embedding.
        intensity: [L] emotion intensity.
        pooling: [L] the attention pooling S of "student" and "teacher"; without guidance there is no teacher.
        probabilities: [32] by the same names.
        inferences: how many phrases of commonsense were read with it.
        cut: tokens that were left out at the beginning.
    """

    turns: tuple[str, ...]
    tokens: list[str]
    known: list[bool]
    by_speaker: list[bool]
    inclination: np.ndarray | None
    intensity: np.ndarray
    pooling: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]
    inferences: int
    cut: int


def dialogue_turns(corpus: Corpus, split: str, pair: int) -> tuple[list[str], str]:
    """The context of a pair as typed text, and its emotion label."""
    part = corpus.splits[split]
    return part.context_texts(pair), EMOTIONS[part.pairs[pair, 3]]


def turns_of(text: str) -> list[str]:
    """Typed text as turns: one a line, the speaker's first; an empty line in between is a turn left out.

    Raises:
        DataError: there is no word. RunError: a turn is too long.
    """
    turns = [turn_of(line) for line in text.replace("\r\n", "\n").strip("\n").split("\n")]
    if not any(tokenize(clean_turn(turn)) for turn in turns):
        raise DataError("Type what a speaker says, one turn a line.")
    return turns


@torch.no_grad()
def read_context(voice: Voice, turns: Sequence[str]) -> Reading:
    """Read a context as the model does when it answers, and once more by the teacher's path.

    Args:
        turns: the speaker's first; "" leaves one out.

    Raises:
        DataError: no turn holds a word. RunError: the run is of a baseline.
    """
    run, model = voice.run, voice.run.ctsm()
    cleaned = [clean_turn(turn) for turn in turns]
    spoken = [turn for turn in cleaned if tokenize(turn)]
    if not spoken:
        raise DataError("There is nothing to read: no turn holds a word.")
    inferences = voice.provider.infer([spoken[-1]], progress=False)
    batch = context_batch([cleaned], inferences, run.vocabulary, run.config.max_context)
    was_training = model.training
    model.eval()
    read, memory = model.read(batch), model.encode(batch)
    pooling: dict[str, torch.Tensor | None] = {"student": memory.pooling}
    logits = {"student": memory.emotion_logits}
    if (teacher := teacher_path(model, read)) is not None:
        logits["teacher"], pooling["teacher"] = teacher
    model.train(was_training)
    inclination = None
    if model.emotion.inclination is not None:
        first = model.emotion.trait_width
        inclination = read["V_ts"][0, :, first : first + LABELS].numpy()
    typed = [token for turn in cleaned for token in tokenize(turn)]
    length = batch.context.shape[1]
    tokens = typed[len(typed) - (length - 1) :]
    return Reading(
        tuple(turns),
        [CLS_NAME, *tokens],
        [True, *(token in run.vocabulary for token in tokens)],
        (batch.speaker[0] == USR).tolist(),
        inclination,
        read["intensity"][0].numpy(),
        {
            name: weights[0].float().numpy()
            for name, weights in pooling.items()
            if weights is not None
        },
        {name: values[0].float().softmax(dim=-1).numpy() for name, values in logits.items()},
        sum(len(phrases) for phrases in inferences[0].values()),
        len(typed) - len(tokens),
    )


def teacher_path(
    model: CTSM, read: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The teacher's emotion logits [B, 32] and pooling weights [B, L], which answering never needs; None without one.

    Args:
        read: what `model.read` gave.

    Paper: Eq. (10) to (14).
    """
    if not model.config.guidance:
        return None
    enriched = model.teacher_fusion(read["H_C"], read["K"], read["mask"])
    seen = torch.cat([enriched, read["V_ts"].to(enriched.dtype)], dim=-1)
    return model.teacher(seen, read["intensity"], read["mask"])


def without_turn(turns: Sequence[str], number: int) -> list[str]:
    """The turns with one left out; the others keep their speakers.

    Raises:
        RunError: there is no such turn.
    """
    if not 0 <= number < len(turns):
        raise RunError(f"There is no turn {number + 1}; there are {len(turns)}.")
    return [turn if place != number else "" for place, turn in enumerate(turns)]


def new_tokens(before: Reading, after: Reading) -> list[bool]:
    """[L of after] whether a token was not there before."""
    matcher = difflib.SequenceMatcher(a=before.tokens, b=after.tokens, autojunk=False)
    new = [False] * len(after.tokens)
    for kind, _, _, begin, end in matcher.get_opcodes():
        if kind in ("insert", "replace"):
            new[begin:end] = [True] * (end - begin)
    return new


def moved(before: Reading, after: Reading, who: str = "student") -> float:
    """How much probability moved from some emotions to others, 0 to 1 (total variation)."""
    return float(np.abs(before.probabilities[who] - after.probabilities[who]).sum() / 2)


def likeliest(readings: Sequence[Reading], count: int = SHOWN_EMOTIONS) -> list[int]:
    """The emotions that the student finds likeliest in any of the readings, the likeliest first."""
    highest = np.max([reading.probabilities["student"] for reading in readings], axis=0)
    return np.argsort(-highest, kind="stable")[:count].tolist()


# -------------------------------------------------------------------------------------------------------------- figures


def context_figures(
    before: Reading, after: Reading | None = None, every: bool = False
) -> list[go.Figure]:
    """What is heard, before and after beside each other, and the tokens of each.

    Args:
        every: all 32 emotions in the heat map, else those that are likeliest.
    """
    readings = [before] if after is None else [before, after]
    shown_emotions = list(range(LABELS)) if every else likeliest(readings, 12)
    parts = [reading.inclination for reading in readings if reading.inclination is not None]
    largest = max((float(np.abs(part[:, shown_emotions]).max()) for part in parts), default=1.0)
    most = max(float(weights.max()) for reading in readings for weights in reading.pooling.values())
    strong = max(0.1, *(float(reading.intensity.max()) for reading in readings))
    new = [[False] * len(before.tokens)] + (
        [new_tokens(before, after)] if after is not None else []
    )
    names = (
        ["Token by token"] if after is None else ["Before, token by token", "After, token by token"]
    )
    figures = [_heard_figure(readings)]
    for reading, marks, name in zip(readings, new, names, strict=True):
        figures.append(_token_figure(reading, marks, name, shown_emotions, (strong, most, largest)))
    return figures


def _heard_figure(readings: list[Reading]) -> go.Figure:
    import plotly.graph_objects as go

    emotions = likeliest(readings)
    names = [EMOTIONS[k] for k in emotions]
    figure = go.Figure()
    for when, reading, colour in zip(("before", "after"), readings, (BLUE, ORANGE), strict=False):
        title = f"student, {when}" if len(readings) > 1 else "student"
        values = reading.probabilities["student"][emotions].tolist()
        figure.add_bar(y=names, x=values, orientation="h", name=title, marker_color=colour)
        if "teacher" in reading.probabilities:
            values = reading.probabilities["teacher"][emotions].tolist()
            symbol = "diamond-open" if when == "before" else "circle-open"
            figure.add_scatter(
                y=names, x=values, mode="markers", name=title.replace("student", "teacher"),
                marker={"symbol": symbol, "color": INK, "size": 9, "line": {"width": 2}},
            )  # fmt: skip
    figure.update_traces(hovertemplate="%{y} %{x:.3f}<extra></extra>")
    figure.update_yaxes(autorange="reversed", ticks="")
    figure.update_xaxes(rangemode="tozero", title="probability")
    alt = "Heard: " + ", ".join(
        f"{EMOTIONS[k]} {readings[-1].probabilities['student'][k]:.2f}" for k in emotions
    )
    legend = {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0}
    finish(figure, "What is heard", alt, 400, legend=legend)
    return figure.update_layout(bargap=0.25)


def _token_figure(
    reading: Reading,
    new: list[bool],
    title: str,
    emotions: list[int],
    ranges: tuple[float, float, float],
) -> go.Figure:
    from plotly.subplots import make_subplots

    strong, most, largest = ranges
    places = list(range(len(reading.tokens)))
    columns = make_subplots(
        1, 3, shared_yaxes=True, column_widths=[0.16, 0.2, 0.64], horizontal_spacing=0.02
    )
    figure: go.Figure = columns
    tips = [_tip(reading, place) for place in places]
    flat: dict[str, Any] = {
        "y": places,
        "orientation": "h",
        "hovertext": tips,
        "hoverinfo": "text",
        "showlegend": False,
    }
    figure.add_bar(
        x=reading.intensity.tolist(), marker_color=INK, name="intensity", **flat, row=1, col=1
    )
    for name, colour in (("teacher", ORANGE), ("student", BLUE)):
        if name in reading.pooling:
            bars = flat | {"showlegend": True}
            figure.add_bar(
                x=reading.pooling[name].tolist(),
                marker_color=colour,
                name=f"pooling, {name}",
                **bars,
                row=1,
                col=2,
            )
    if reading.inclination is not None:
        values = reading.inclination[:, emotions]
        names = [EMOTIONS[k] for k in emotions]
        texts = [[f"{label(token)} · {name}" for name in names] for token in reading.tokens]
        figure.add_heatmap(
            z=values.tolist(), y=places, x=list(range(len(names))), zmid=0, zmin=-largest, zmax=largest, xgap=1, ygap=1,
            colorscale=[[0, BLUE], [0.5, "#f4f4f4"], [1, ORANGE]], showscale=False, customdata=texts,
            hovertemplate="%{customdata}: V_cos %{z:.3f}<extra></extra>", row=1, col=3,
        )  # fmt: skip
        figure.update_xaxes(
            tickvals=list(range(len(names))), ticktext=names, tickangle=-90, row=1, col=3
        )
    labels = [_token_label(reading, place, new[place]) for place in places]
    figure.update_yaxes(
        range=[len(places) - 0.5, -0.5], tickvals=places, ticktext=labels, ticks="", showgrid=False
    )
    figure.update_xaxes(ticks="", tickfont_size=10, side="top", title_standoff=4)
    figure.update_xaxes(
        range=[min(0.0, float(reading.intensity.min())), strong * 1.05], row=1, col=1
    )
    figure.update_xaxes(range=[0, most * 1.05], row=1, col=2)
    for column, name in enumerate(("intensity", "pooling"), start=1):
        figure.update_xaxes(
            title={"text": name, "font": {"size": 11}}, nticks=2, tickangle=0, row=1, col=column
        )
    figure.update_xaxes(
        title={"text": "V_cos: orange towards, blue away", "font": {"size": 11}}, row=1, col=3
    )
    strongest = np.argsort(-reading.pooling["student"])[:5].tolist()
    alt = f"{title}. The student looks most at: " + ", ".join(reading.tokens[k] for k in strongest)
    legend = {
        "orientation": "h",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "x": 1,
        "xanchor": "right",
    }
    height = 170 + 18 * max(len(places), 4)
    finish(figure, title, alt, height, legend=legend, barmode="group", bargap=0.1)
    return figure.update_layout(margin_t=120)


def _token_label(reading: Reading, place: int, new: bool) -> str:
    word = label(reading.tokens[place]) + ("" if reading.known[place] else " ?")
    return f"<b>{word}</b>" if new else word


def _tip(reading: Reading, place: int) -> str:
    who = (
        "speaker" if reading.by_speaker[place] else "listener" if place else "stands for the whole"
    )
    lines = [f"{label(reading.tokens[place])}, {who}", f"intensity {reading.intensity[place]:.3f}"]
    lines += [f"pooling, {name} {weights[place]:.3f}" for name, weights in reading.pooling.items()]
    return "<br>".join(
        lines if reading.known[place] else [*lines, "not in the vocabulary: read as &lt;unk&gt;"]
    )


def context_text(before: Reading, after: Reading | None = None, told: str = "") -> str:
    """What is heard in words, as HTML in which nothing that was typed is markup.

    Args:
        told: the dialogue's own label, if it has one.
    """
    first = before.probabilities["student"]
    top = ", ".join(f"{EMOTIONS[k]} {first[k]:.0%}" for k in likeliest([before], 3))
    lines = [
        paragraph(f"The student hears {top}." + (f" The dialogue's label: {told}." if told else ""))
    ]
    if after is not None:
        change = after.probabilities["student"] - first
        order = np.argsort(-np.abs(change), kind="stable")[:CHANGES]
        changes = ", ".join(
            f"{EMOTIONS[k]} {first[k]:.1%} → {first[k] + change[k]:.1%}" for k in order
        )
        said = (
            f"After the change {moved(before, after):.1%} of the probability has moved: {changes}."
        )
        if "teacher" in before.probabilities and "teacher" in after.probabilities:
            said += f" For the teacher it is {moved(before, after, 'teacher'):.1%}."
        lines.append(paragraph(said))
        if any(new := new_tokens(before, after)):
            words = [token for token, is_new in zip(after.tokens, new, strict=True) if is_new]
            lines.append(
                paragraph(
                    f"New (bold): {', '.join(words[:12])}{', ...' if len(words) > 12 else ''}."
                )
            )
    for reading in (before, after):
        if reading is not None and reading.cut:
            lines.append(
                paragraph(
                    f"The first {reading.cut:,} tokens are cut off: the context is too long.",
                    "warn",
                )
            )
    unknown = {
        t
        for r in (before, after)
        if r
        for t, known in zip(r.tokens, r.known, strict=True)
        if not known
    }
    if unknown:
        lines.append(
            paragraph(f"Read as <unk>, marked by “?”: {', '.join(sorted(unknown)[:10])}.", "warn")
        )
    if before.inclination is None:
        lines.append(
            paragraph(
                "This run was trained without state embedding: there is no inclination to show.",
                "warn",
            )
        )
    return "".join(lines)
