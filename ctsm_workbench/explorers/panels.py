"""The explorers as ipywidgets. What they show is computed in `word`, `context` and `answer`; here are controls only.

Whatever goes wrong while somebody plays is a sentence in the explorer, never a traceback in a log that nobody sees.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.decoding import Decoding
from ctsm_lib.errors import ConfigError, CtsmError
from ctsm_lib.prepare import Prepared
from ctsm_workbench.explorers.answer import Column, Conversation, answer_figures, transcript
from ctsm_workbench.explorers.context import (
    Reading,
    context_figures,
    context_text,
    dialogue_turns,
    read_context,
    turns_of,
    without_turn,
)
from ctsm_workbench.explorers.shared import (
    Voice,
    as_json,
    figures_widget,
    paragraph,
    runs_beside,
    turn_of,
    voice,
)
from ctsm_workbench.explorers.word import Words, occurrence_text, word_figures, word_text

try:
    import ipywidgets as ipw
except ImportError:
    raise ConfigError("The explorers need ipywidgets: pip install 'ctsm-lab[notebooks]'.") from None

FIRST_TURN = "My sister moved to another country last week and the house is so quiet now."
ROW = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-end", "width": "auto"}


def _row(*parts: Any) -> Any:
    return ipw.Box(list(parts), layout=ROW)


def _button(name: str) -> Any:
    return ipw.Button(
        description=name, layout=ipw.Layout(width="auto", margin="0 0.6rem 0.45rem 0")
    )


def _field(kind: Any, name: str, width: str = "22rem", **more: Any) -> Any:
    """A control with its name above it, which is narrow where the window is."""
    control = kind(layout=ipw.Layout(width="auto"), **more)
    # The name is ours, not a visitor's: it is the only text here that is not escaped.
    title = ipw.Label(name, layout=ipw.Layout(margin="0"))
    box = ipw.VBox(
        [title, control],
        layout=ipw.Layout(width=width, max_width="100%", margin="0 0.6rem 0.3rem 0"),
    )
    box.control = control
    return box


class Panel:
    """A column of controls, text and figures; `view` is the widget."""

    def __init__(self, *controls: Any):
        self.said, self.figures, self.below = ipw.HTML(), figures_widget(), ipw.HTML()
        self.view = ipw.VBox(
            [*controls, self.said, self.figures, self.below], layout=ipw.Layout(width="auto")
        )
        self.view.add_class("ctsm-explorer")
        self.view.panel = self  # whoever keeps the widget keeps what it does

    def guarded(self, what: Callable[[], None]) -> None:
        """Do something; what the user can mend is said in the panel."""
        try:
            what()
        except CtsmError as error:
            self.said.value = paragraph(str(error), "warn")
            self.figures.figures, self.below.value = [], ""

    def on(self, control: Any, what: Callable[[], None], name: str = "value") -> None:
        """Do something whenever a control changes."""
        control.observe(lambda _: self.guarded(what), names=name)

    def draw(self, figures: Sequence[Any]) -> None:
        """Show figures."""
        self.figures.figures = [as_json(figure) for figure in figures]


class WordPanel(Panel):
    """The word explorer."""

    def __init__(self, words: Words, start: str = "excited"):
        self.words, self.seed = words, 0
        field = _field(
            ipw.Text, "Type a word, then press Enter", value=start, continuous_update=False
        )
        self.text, more = field.control, _button("other occurrences")
        super().__init__(_row(field, more))
        self.on(self.text, self.show)
        more.on_click(lambda _: self.guarded(self.other))
        self.guarded(self.show)

    def other(self) -> None:
        """Other quotations of the same word."""
        self.seed += 1
        self.show()

    def show(self) -> None:
        """Look the typed word up."""
        report = self.words.look_up(self.text.value, self.seed)
        self.said.value, self.below.value = word_text(report), occurrence_text(report)
        self.draw(word_figures(report))


class ContextPanel(Panel):
    """The context explorer: what a run reads, before and after a change."""

    def __init__(self, voice: Voice, prepared: Prepared, start: Sequence[str] = (FIRST_TURN,)):
        self.voice, self.prepared, self.told, self.random = (
            voice,
            prepared,
            "",
            np.random.default_rng(0),
        )
        labels = ["any", *EMOTIONS]
        emotion = _field(
            ipw.Dropdown, "Pick a dialogue about", "12rem", options=labels, value="any"
        )
        pick = _button("pick one")
        columns: Any = _field(
            ipw.Dropdown, "Emotions in the map", "14rem", options=["likeliest 12", "all 32"]
        )
        lines = {"rows": 5, "continuous_update": False, "value": "\n".join(start)}
        before = _field(
            ipw.Textarea, "Before: one turn a line, the speaker's first", "30rem", **lines
        )
        after = _field(ipw.Textarea, "After: edit a word here, or empty a line", "30rem", **lines)
        leave = _field(ipw.Dropdown, "Leave out a turn", "16rem", options=[("none", -1)])
        same = _button("after = before")
        self.emotion, self.every, self.leave = emotion.control, columns.control, leave.control
        self.before, self.after = before.control, after.control
        super().__init__(_row(emotion, pick, columns), _row(before, after), _row(leave, same))
        self._busy = False
        pick.on_click(lambda _: self.guarded(self.pick))
        same.on_click(lambda _: self.guarded(self.reset))
        self.on(self.before, self.retype)
        for control in (self.after, self.every):
            self.on(control, self.show)
        self.on(self.leave, self.leave_out)
        self.guarded(self.reset)

    def pick(self) -> None:
        """A random context of the test dialogues with the chosen label."""
        split = self.prepared.corpus.splits["test"]
        labels = split.pairs[:, 3]
        wanted = self.emotion.value
        fitting = (
            np.flatnonzero(labels == EMOTIONS.index(wanted))
            if wanted != "any"
            else np.arange(len(labels))
        )
        if not len(fitting):
            self.said.value = paragraph(f"No test dialogue is about {wanted}.", "warn")
            return
        turns, label = dialogue_turns(
            self.prepared.corpus, "test", int(self.random.choice(fitting))
        )
        self._quietly(self.before, "\n".join(turn.replace("\n", " ") for turn in turns))
        self.told = label
        self.reset()

    def retype(self) -> None:
        """Somebody typed a dialogue of their own."""
        if not self._busy:
            self.told = ""
            self.reset()

    def reset(self) -> None:
        """Both texts alike."""
        turns = turns_of(self.before.value)
        for control in (self.before, self.after):
            self._quietly(control, "\n".join(turns))
        self._quietly(
            self.leave,
            -1,
            [("none", -1), *((f"turn {n}", n - 1) for n in range(1, len(turns) + 1))],
        )
        self.show()

    def leave_out(self) -> None:
        """Empty the line of the turn that is to be left out."""
        if self._busy:
            return
        turns = turns_of(self.before.value)
        changed = turns if self.leave.value < 0 else without_turn(turns, self.leave.value)
        self._quietly(self.after, "\n".join(changed))
        self.show()

    def _quietly(self, control: Any, value: Any, options: Any = None) -> None:
        self._busy = True
        try:
            if options is not None:
                control.options = options
            control.value = value
        finally:
            self._busy = False

    def show(self) -> None:
        """Read both texts."""
        if self._busy:
            return
        before = read_context(self.voice, turns_of(self.before.value))
        changed = _typed(self.after.value)
        after: Reading | None = (
            read_context(self.voice, changed) if changed != list(before.turns) else None
        )
        self.said.value = context_text(before, after, self.told)
        self.draw(context_figures(before, after, every=self.every.value == "all 32"))


def _typed(text: str) -> list[str]:
    """As `turns_of`, but a first turn may be left out, too."""
    return [turn_of(line) for line in text.replace("\r\n", "\n").rstrip("\n").split("\n")]


class MannerControls:
    """Which run answers, and how."""

    def __init__(self, name: str, folders: Sequence[str], chosen: str, none: bool):
        options = (
            [("nobody", ""), *((folder, folder) for folder in folders)] if none else list(folders)
        )
        run = _field(ipw.Dropdown, name, "18rem", options=options, value="" if none else chosen)
        method = _field(ipw.Dropdown, "Method", "9rem", options=["greedy", "beam", "nucleus"])

        def slider(title: str, kind: Any, value: Any, low: Any, high: Any, step: Any) -> Any:
            limits = {"min": low, "max": high, "step": step, "continuous_update": False}
            return _field(kind, title, "15rem", value=value, **limits)

        self.fields = {
            "beams": slider("beams", ipw.IntSlider, 3, 1, 8, 1),
            "top_p": slider("top p", ipw.FloatSlider, 0.9, 0.05, 1.0, 0.05),
            "temperature": slider("temperature", ipw.FloatSlider, 1.0, 0.2, 2.0, 0.1),
            "seed": slider("seed", ipw.IntSlider, 0, 0, 50, 1),
            "unigram_penalty": slider("rarer words", ipw.FloatSlider, 0.0, 0.0, 0.6, 0.1),
            "block_ngrams": slider("no n-gram twice (0: off)", ipw.IntSlider, 0, 0, 4, 1),
        }
        self.run, self.method = run.control, method.control
        self.view = _row(run, method, *self.fields.values())
        self.method.observe(lambda _: self._arrange(), names="value")
        self.run.observe(lambda _: self._arrange(), names="value")
        self._arrange()

    def _arrange(self) -> None:
        """Only what the method listens to."""
        used = {"beam": {"beams"}, "nucleus": {"top_p", "temperature", "seed"}}.get(
            self.method.value, set()
        )
        for name, field in self.fields.items():
            visible = self.run.value != "" and (
                name in used or name in ("unigram_penalty", "block_ngrams")
            )
            field.layout.display = "" if visible else "none"

    def decoding(self, longest: int) -> Decoding:
        """The manner that is set."""
        values = {name: field.control.value for name, field in self.fields.items()}
        return Decoding(method=self.method.value, max_length=longest, **values)


class AnswerPanel(Panel):
    """The answer explorer: a talk with one run, or with two beside each other."""

    def __init__(self, voices: Sequence[Voice], start: str = FIRST_TURN):
        self.voices, first = {voice.name: voice for voice in voices}, voices[0]
        self.folders = {voice.name: voice.run.folder for voice in voices} | runs_beside(first.run)
        names = list(self.folders)
        self.left = MannerControls("Who answers", names, first.name, none=False)
        self.right = MannerControls("Beside it", names, first.name, none=True)
        if len(voices) > 1:
            self.right.run.value = voices[1].name
        say = _field(ipw.Text, "Say something, then press Enter", "36rem", value=start)
        self.text = say.control
        buttons = {
            "say": self.say,
            "answer again": self.again,
            "undo": self.undo,
            "begin anew": self.anew,
        }
        row = [say]
        for name, what in buttons.items():
            button = _button(name)
            button.on_click(lambda _, what=what: self.guarded(what))
            row.append(button)
        self.file = ipw.HTML(layout=ipw.Layout(margin="0 0 0.4rem 0"))
        self.talks = ipw.Box(layout=ipw.Layout(**(ROW | {"align_items": "flex-start"})))
        super().__init__(self.left.view, self.right.view, _row(*row, self.file), self.talks)
        for side in (self.left, self.right):
            self.on(side.run, self.anew)
        # Only Enter speaks: a change of the value is also seen when the field is left.
        self.text.on_msg(
            lambda _, message, __: (
                self.guarded(self.say) if message.get("event") == "submit" else None
            )
        )
        self.guarded(self.anew)

    def _voice(self, name: str) -> Voice:
        if name not in self.voices:
            self.voices[name] = voice(self.folders[name])
        return self.voices[name]

    def anew(self) -> None:
        """A new talk with whoever is chosen now."""
        sides = [side for side in (self.left, self.right) if side.run.value]
        columns = [
            Column(v := self._voice(s.run.value), s.decoding(v.run.config.max_response))
            for s in sides
        ]
        self.sides, self.talk = sides, Conversation(columns)
        self.show()

    def _manners(self) -> None:
        for side, column in zip(self.sides, self.talk.columns, strict=True):
            column.how = side.decoding(column.voice.run.config.max_response)

    def say(self) -> None:
        """Say what was typed."""
        if not (said := self.text.value):
            return
        self._manners()
        self.talk.say(said)
        self.text.value = ""
        self.show()

    def again(self) -> None:
        """Answer the last turn in the manner that is set now."""
        self._manners()
        self.talk.again()
        self.show()

    def undo(self) -> None:
        """Take the last turn back, into the field."""
        self.text.value = self.talk.undo() or self.text.value
        self.show()

    def show(self) -> None:
        """The talk of each column, and how the last answers came about."""
        columns, figures = [], []
        for number, column in enumerate(self.talk.columns):
            about = paragraph(f"{column.name}: {column.voice.describe()}", "faint")
            text = ipw.HTML(about + transcript(self.talk, number))
            text.layout = ipw.Layout(flex="1 1 22rem", min_width="0", margin="0 0.6rem 0 0")
            columns.append(text)
            if self.talk.exchanges:
                figures += answer_figures(self.talk.exchanges[-1].answers[number], column.name)
        for old in self.talks.children:
            old.close()
        self.talks.children = columns
        self.said.value = ""
        self.file.value = save_link(self.talk.asdict()) if self.talk.exchanges else ""
        self.draw(figures)


def save_link(value: dict[str, Any]) -> str:
    """A link by which the browser keeps a value as a JSON file; the file goes to whoever looks at the page."""
    packed = base64.b64encode(
        json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8")
    ).decode("ascii")
    return f'<a download="conversation.json" href="data:application/json;base64,{packed}">save as JSON</a>'


def tabs(parts: dict[str, Any]) -> Any:
    """Panels behind tabs, by name."""
    view = ipw.Tab([part.view for part in parts.values()], layout=ipw.Layout(width="auto"))
    view.titles = list(parts)
    view.panels = list(parts.values())
    return view
