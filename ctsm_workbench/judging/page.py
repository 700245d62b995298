"""The judging screen: a widget for notebooks, and the same widget served as a page without code.

`JudgingSession` keeps the judgements, and this module shows them. ipywidgets cannot read the
keyboard, so the screen is an anywidget: `screen.js` beside this file. Voila serves it as a page.
"""

from pathlib import Path
from typing import Any

from ctsm_lib.errors import ConfigError, CtsmError
from ctsm_workbench.judging.files import QUESTIONS
from ctsm_workbench.judging.session import JudgingSession


def widget(folder: Path | str, judge: str, *, whole_page: bool = False) -> Any:
    """The judging screen for a notebook cell. It opens where the judge left off.

    Arguments and errors are those of `JudgingSession`. With `whole_page`, keys work wherever the
    page was clicked, not only within the screen.
    """
    try:
        import anywidget
        import traitlets
    except ImportError:
        hint = "pip install 'ctsm-lab[notebooks]'"
        raise ConfigError(f"The judging screen needs anywidget: {hint}.") from None

    class JudgingScreen(anywidget.AnyWidget):
        """Draws `screen` and sends a message for whatever the judge does."""

        _esm = Path(__file__).with_name("screen.js")
        _css = Path(__file__).with_name("screen.css")
        screen = traitlets.Dict().tag(sync=True)
        questions: Any = traitlets.List().tag(sync=True)
        whole_page = traitlets.Bool().tag(sync=True)

    session = JudgingSession(folder, judge)
    questions = [list(pair) for pair in QUESTIONS.items()]
    view = JudgingScreen(screen=session.screen(), questions=questions, whole_page=whole_page)

    def received(_: Any, message: Any, __: Any) -> None:
        view.screen = react(session, message)

    view.on_msg(received)
    view.session = session
    return view


def react(session: JudgingSession, message: Any) -> dict[str, Any]:
    """Do what a message of the screen asks for, and return what the screen shows then.

    In a message, `do` is answer, next or back; `number` counts messages; `item` is the item on the
    judge's screen; an answer also has `aspect` and `choice`. The result is `session.screen()` with
    the `number` of the message, with `saved` after an answer, and with `error` when it failed.
    """
    outcome: dict[str, Any] = {}
    try:
        outcome["number"] = int(message["number"])
        names = [item.name for item in session.sheet.items]
        session.go(names.index(message["item"]))
        if message["do"] == "answer":
            session.answer(message["aspect"], message["choice"])
            outcome["saved"] = True
        else:
            session.go(session.position + {"next": 1, "back": -1}[message["do"]])
    except OSError as error:
        reason = error.strerror or error
        outcome["error"] = f"Not saved: {session.path} cannot be written: {reason}."
    except CtsmError as error:
        outcome["error"] = f"Not saved: {error}"
    except (KeyError, TypeError, ValueError, OverflowError):
        outcome["error"] = "Not saved: the page sent a message in a wrong form. Reload the page."
    return session.screen() | outcome


def serve(folder: Path, judge: str, **options: Any) -> None:
    """Serve the judging screen as a page until Ctrl-C.

    Arguments and errors are those of `JudgingSession`, and of `serve_page` for `options`.
    """
    from ctsm_workbench.explorers.serving import serve_page

    JudgingSession(folder, judge)  # raises now what the page would only show later
    call = f"widget({str(folder.resolve())!r}, {judge!r}, whole_page=True)"
    serve_page(f"from ctsm_workbench.judging import widget\n{call}", "judging", **options)
