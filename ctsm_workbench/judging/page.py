"""One judge at work: the session that keeps the judgements, and the screen that shows them.

ipywidgets cannot read the keyboard, so the screen is an anywidget: `screen.js` beside this file.
It is shown in notebooks, and Voila serves it as a page without code.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ctsm_lib.errors import ConfigError, CtsmError
from ctsm_workbench.extras import needed_by
from ctsm_workbench.judging import files
from ctsm_workbench.judging.files import ASPECTS, CHOICES, QUESTIONS, Answers, Item
from ctsm_workbench.serving import serve_page


class JudgingSession:
    """Judgements of one judge on the sheet of a folder, saved after every single answer.

    A session begins at the first item that lacks an answer. Before every save it reads the file
    again, so that two windows of one judge keep each other's answers. If a question is answered
    twice, the later answer counts.
    """

    def __init__(self, folder: Path | str, judge: str):
        self.sheet = files.read_sheet(Path(folder))
        self.path = files.judge_file(Path(folder), judge)
        self.judge = self.path.stem
        self.answers: Answers = {}
        self._load()
        unfinished = (n for n, item in enumerate(self.sheet.items) if not self.finished(item))
        self.position = next(unfinished, 0)

    @property
    def item(self) -> Item:
        """The item on the screen."""
        return self.sheet.items[self.position]

    @property
    def progress(self) -> tuple[int, int]:
        """The number of items whose aspects are all answered, and the number of all items."""
        return sum(map(self.finished, self.sheet.items)), len(self.sheet.items)

    def finished(self, item: Item) -> bool:
        """True when every aspect of an item is answered."""
        return all((item.name, aspect) in self.answers for aspect in ASPECTS)

    def answer(self, aspect: str, choice: str) -> None:
        """Answer one question about the item on the screen, and save the answer.

        RunError: the file cannot be written; the session then keeps its old answers.
        """
        if aspect not in ASPECTS or choice not in CHOICES:
            raise ConfigError(f"{aspect!r}: {choice!r} answers no question of the sheet.")
        self._load()
        answers = self.answers | {(self.item.name, aspect): choice}
        files.write_answers(self.path, self.sheet, answers)
        self.answers = answers

    def go(self, position: int) -> None:
        """Go to an item, counted from 0; a number beyond the ends means the first or last item."""
        self.position = max(0, min(position, len(self.sheet.items) - 1))

    def screen(self) -> dict[str, Any]:
        """All that a screen shows, as plain text and numbers without markup."""
        done, total = self.progress
        name = self.item.name
        answers = {aspect: self.answers.get((name, aspect), "") for aspect in ASPECTS}
        place = {"item": name, "position": self.position, "total": total, "done": done}
        return asdict(self.item) | place | {"judge": self.judge, "answers": answers}

    def _load(self) -> None:
        if self.path.is_file():
            self.answers, _ = files.read_answers(self.path, self.sheet)


def widget(folder: Path | str, judge: str, whole_page: bool = False) -> Any:
    """The judging screen, for a notebook cell. It opens where the judge left off.

    With `whole_page`, keys work wherever the page was clicked, not only within the screen.
    """
    with needed_by("The judging screen"):
        import anywidget
        import traitlets

    class JudgingScreen(anywidget.AnyWidget):
        """Draws `screen` and sends a message for whatever the judge does."""

        _esm = Path(__file__).with_name("screen.js")
        _css = Path(__file__).with_name("screen.css")
        screen = traitlets.Dict().tag(sync=True)
        questions: Any = traitlets.List(list(map(list, QUESTIONS.items()))).tag(sync=True)
        whole_page = traitlets.Bool().tag(sync=True)

    session = JudgingSession(folder, judge)
    view = JudgingScreen(screen=session.screen(), whole_page=whole_page)
    view.on_msg(lambda _, message, __: view.set_trait("screen", react(session, message)))
    return view


def react(session: JudgingSession, message: Any) -> dict[str, Any]:
    """Do what a message of the screen asks for, and return what the screen shows then.

    In a message, `do` is answer, next or back; `number` counts messages; `item` is the item that
    the judge sees; an answer also has `aspect` and `choice`. `session.screen()` is returned with
    the `number` of the message, with `saved` after an answer, and with `error` when it failed.
    """
    outcome: dict[str, Any] = {}
    try:
        outcome["number"] = int(message["number"])
        session.go([item.name for item in session.sheet.items].index(message["item"]))
        if message["do"] == "answer":
            session.answer(message["aspect"], message["choice"])
            outcome["saved"] = True
        else:
            session.go(session.position + {"next": 1, "back": -1}[message["do"]])
    except (CtsmError, OSError) as error:
        outcome["error"] = f"Not saved: {error}"
    except (KeyError, TypeError, ValueError, OverflowError):
        outcome["error"] = "Not saved: the page sent a message in a wrong form. Reload the page."
    return session.screen() | outcome


def serve(folder: Path, judge: str, **options: Any) -> None:
    """Serve the judging screen as a page until Ctrl-C. Options are those of `serve_page`."""
    JudgingSession(folder, judge)  # refuses what is wrong before a page is served
    serve_page(widget, str(folder.resolve()), judge, True, **options)
