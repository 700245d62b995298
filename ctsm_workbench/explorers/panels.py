"""The three explorers as panels of controls, texts and figures.

plotly's own `FigureWidget` is not used: each of its figures sends a 5 MB script to the browser,
and a page that connects after its kernel has drawn, as Voila's does, shows empty axes.
"""

import gzip
import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from plotly.offline import get_plotlyjs

from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.decoding import Decoding
from ctsm_lib.errors import CtsmError
from ctsm_lib.prepare import Prepared
from ctsm_lib.runs import load_run
from ctsm_workbench.explorers import conversations, figures
from ctsm_workbench.explorers.conversations import Column, Conversation, Voice, typed_turns
from ctsm_workbench.explorers.figures import in_words
from ctsm_workbench.explorers.word import Words
from ctsm_workbench.extras import needed_by

with needed_by("An explorer"):
    import anywidget
    import ipywidgets as ipw
    import traitlets

FIRST_TURN = "My sister moved to another country last week and the house is so quiet now."
ROW = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-end", "width": "auto"}
HERE = Path(__file__).parent
CONTROLS = json.loads((HERE / "controls.json").read_text(encoding="utf-8"))


class Library(ipw.Widget):
    """Holds the compressed plotly.js, so that a page receives it once for all its figures."""

    packed: Any = traitlets.Bytes().tag(sync=True)


@cache  # made when the first figure is shown
def the_library() -> Library:
    """The library that all figures share."""
    return Library(packed=gzip.compress(get_plotlyjs().encode("utf-8"), mtime=0))


class Figures(anywidget.AnyWidget):
    """Draws figures beside each other, or one below the other where the window is narrow."""

    _esm = HERE / "figures.js"
    _css = HERE / "figures.css"
    library: Any = traitlets.Instance(Library).tag(sync=True, **ipw.widget_serialization)
    figures: Any = traitlets.List().tag(sync=True)


def row(*parts: Any, **layout: str) -> Any:
    """Widgets beside each other, or below each other where the window is narrow."""
    return ipw.Box(list(parts), layout=ROW | layout)


def field(name: str, **options: Any) -> tuple[Any, Any]:
    """A box with a control of `controls.json` below its title, and the control itself."""
    options = CONTROLS[name] | options
    options.pop("methods", None)
    # Labels are not escaped, so a title must never be a visitor's text.
    title = ipw.Label(options.pop("title"), layout={"margin": "0"})
    layout = {"width": options.pop("width"), "max_width": "100%", "margin": "0 0.6rem 0.3rem 0"}
    control = getattr(ipw, options.pop("kind"))(layout={"width": "auto"}, **options)
    return ipw.VBox([title, control], layout=layout), control


class Panel(ipw.VBox):
    """A column of controls, text and figures. It shows errors, since nobody sees a server's log."""

    quiet = False  # while the panel itself changes its controls

    def __init__(self, *controls: Any):
        self.message = ipw.HTML()
        self.figures = Figures(library=the_library())
        self.below = ipw.HTML()
        parts = [*controls, self.message, self.figures, self.below]
        super().__init__(parts, layout={"width": "auto"})
        self.add_class("ctsm-explorer")

    def guarded(self, action: Callable[[], None]) -> None:
        """Do something, and show an error that the user can correct."""
        try:
            action()
        except CtsmError as error:
            self.tell(in_words("warning", str(error)), [])

    def tell(self, text: str, drawn: Sequence[dict], below: str = "") -> None:
        """Show HTML above and below figures, in place of what is there."""
        self.message.value = text
        self.below.value = below
        self.figures.figures = drawn

    def on_change(self, action: Callable[[], None], *controls: Any) -> None:
        """Do something whenever the user changes the value of a control."""
        for control in controls:
            control.observe(lambda _: None if self.quiet else self.guarded(action), names="value")

    def button(self, name: str, action: Callable[[], None]) -> Any:
        """A button that does something."""
        margin = "0 0.6rem 0.45rem 0"
        made = ipw.Button(description=name, layout={"width": "auto", "margin": margin})
        made.on_click(lambda _: self.guarded(action))
        return made


class WordPanel(Panel):
    """The word explorer."""

    def __init__(self, words: Words, start: str = "excited"):
        self.words = words
        self.seed = 0
        word, self.text = field("word", value=start)
        super().__init__(row(word, self.button("other occurrences", self.other)))
        self.on_change(self.show, self.text)
        self.guarded(self.show)

    def other(self) -> None:
        """Show other quotations of the same word."""
        self.seed += 1
        self.show()

    def show(self) -> None:
        """Look the typed word up."""
        report = self.words.look_up(self.text.value, self.seed)
        below = in_words("occurrences", report)
        self.tell(in_words("word", report), figures.word_figures(report), below)


class ContextPanel(Panel):
    """The context explorer: what a run reads, before and after a change."""

    def __init__(self, voice: Voice, prepared: Prepared, start: Sequence[str] = ()):
        voice.run.ctsm()  # a baseline is refused here
        self.voice = voice
        self.corpus = prepared.corpus
        self.labels: dict[str, str] = {}  # of the picked dialogue, by its text
        self.random = Random(0)
        emotion, self.emotion = field("emotion", options=["any", *EMOTIONS])
        emotions, self.map = field("map")
        before, self.before = field("before", value="\n".join(start or [FIRST_TURN]))
        after, self.after = field("after")
        leave, self.leave = field("leave")
        super().__init__(
            row(emotion, self.button("pick one", self.pick), emotions),
            row(before, after),
            row(leave, self.button("after = before", self.reset)),
        )
        self.on_change(self.reset, self.before)
        self.on_change(self.leave_out, self.leave)
        self.on_change(self.show, self.after, self.map)
        self.guarded(self.reset)

    def _set(self, *changes: tuple[Any, Any]) -> None:
        self.quiet = True
        for control, value in changes:
            control.value = value
        self.quiet = False

    def pick(self) -> None:
        """Show a random context of the test dialogues with the chosen label."""
        picked = conversations.picked_dialogue(self.corpus, self.emotion.value, self.random)
        if picked is None:
            text = f"No test dialogue is about {self.emotion.value}."
            self.message.value = in_words("warning", text)
            return
        turns, label = picked
        text = "\n".join(map(conversations.one_line, turns))
        self.labels = {text: label}
        self._set((self.before, text))
        self.reset()

    def reset(self) -> None:
        """Make both texts the same."""
        turns = typed_turns(self.before.value.lstrip("\r\n"))
        self._set((self.leave, -1), (self.before, "\n".join(turns)))
        self.leave.options = [("none", -1), *((f"turn {n + 1}", n) for n in range(len(turns)))]
        self.leave_out()

    def leave_out(self) -> None:
        """Empty the line of the turn that is to be left out, if any."""
        turns = enumerate(typed_turns(self.before.value))
        changed = ["" if number == self.leave.value else turn for number, turn in turns]
        self._set((self.after, "\n".join(changed)))
        self.show()

    def show(self) -> None:
        """Read both texts."""
        turns = typed_turns(self.before.value)
        changed = typed_turns(self.after.value)
        before = conversations.read_context(self.voice, turns)
        after = conversations.read_context(self.voice, changed) if changed != turns else None
        drawn = figures.context_figures(before, after, self.map.value)
        gold = self.labels.get(self.before.value, "")
        self.tell(in_words("context", before, after, gold), drawn)


class DecodingControls(ipw.Box):
    """Controls that choose a run and its decoding."""

    def __init__(self, name: str, runs: Sequence[tuple[str, str]], chosen: str):
        run, self.run = field(name, options=runs, value=chosen)
        method, self.method = field("method")
        self.fields = {name: field(name) for name in CONTROLS if "methods" in CONTROLS[name]}
        super().__init__([run, method, *(box for box, _ in self.fields.values())], layout=ROW)
        for control in (self.method, self.run):
            control.observe(self._arrange, names="value")
        self._arrange()

    def _arrange(self, _: Any = None) -> None:
        """Show only the settings that the method uses."""
        for name, (box, _) in self.fields.items():
            visible = self.run.value and self.method.value in CONTROLS[name]["methods"]
            box.layout.display = "" if visible else "none"

    def column(self, voice: Voice) -> Column:
        """A voice with the decoding that is set."""
        values = {name: control.value for name, (_, control) in self.fields.items()}
        longest = voice.run.config.max_response
        return Column(voice, Decoding(method=self.method.value, max_length=longest, **values))


class AnswerPanel(Panel):
    """The answer explorer: a conversation with one run, or with two side by side."""

    def __init__(self, voices: Sequence[Voice], start: str = FIRST_TURN):
        self.voices = {voice.name: voice for voice in voices}
        self.folders = conversations.runs_beside(voices[0].run)
        names = [(name, name) for name in dict.fromkeys([*self.voices, *self.folders])]
        second = voices[1].name if len(voices) > 1 else ""
        self.left = DecodingControls("left", names, voices[0].name)
        self.right = DecodingControls("right", [("none", ""), *names], second)
        said, self.text = field("say", value=start)
        self.file = ipw.HTML(layout={"margin": "0 0 0.4rem 0"})
        self.talks = row(align_items="flex-start")
        actions = {"say": self.say, "answer again": self.again, "undo": self.undo}
        actions |= {"start over": self.start_over}
        typing = row(said, *(self.button(*action) for action in actions.items()), self.file)
        super().__init__(self.left, self.right, typing, self.talks)
        self.on_change(self.start_over, self.left.run, self.right.run)
        self.text.on_msg(self._entered)
        self.guarded(self.start_over)

    def _entered(self, _: Any, message: dict[str, Any], __: Any) -> None:
        # The value of the field also changes when it loses the focus: only Enter sends it.
        if message.get("event") == "submit":
            self.guarded(self.say)

    def _columns(self) -> list[Column]:
        chosen = [controls for controls in (self.left, self.right) if controls.run.value]
        for name in {controls.run.value for controls in chosen} - self.voices.keys():
            self.voices[name] = Voice(load_run(self.folders[name]))
        return [controls.column(self.voices[controls.run.value]) for controls in chosen]

    def start_over(self) -> None:
        """Start a new conversation with the chosen runs."""
        self.talk = Conversation(self._columns())
        self.show()

    def say(self) -> None:
        """Say what was typed."""
        if said := self.text.value:
            self.talk.columns = self._columns()
            self.talk.say(said)
            self.text.value = ""
            self.show()

    def again(self) -> None:
        """Answer the last turn again with the present decoding."""
        self.talk.columns = self._columns()
        self.talk.again()
        self.show()

    def undo(self) -> None:
        """Take the last turn back, into the field."""
        self.text.value = self.talk.undo() or self.text.value
        self.show()

    def show(self) -> None:
        """Show each column's conversation, and figures of the last answers."""
        talk = self.talk
        layout = {"flex": "1 1 22rem", "min_width": "0", "margin": "0 0.6rem 0 0"}
        for old in self.talks.children:
            old.close()
        written = [in_words("conversation", talk, n) for n, _ in enumerate(talk.columns)]
        self.talks.children = [ipw.HTML(text, layout=layout) for text in written]
        text = json.dumps(talk.asdict(), ensure_ascii=False, indent=1)
        link = in_words("download", b64encode(text.encode("utf-8")).decode("ascii"))
        self.file.value = link if talk.exchanges else ""
        drawn = []
        for exchange in talk.exchanges[-1:]:
            for found, column in zip(exchange, talk.columns, strict=True):
                drawn += figures.answer_figures(found, column.name)
        self.tell("", drawn)
