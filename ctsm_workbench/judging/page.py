"""The judging screen: a widget for notebooks, and the same widget served as a page without code.

`JudgingSession` does the work; this shows it. ipywidgets has no keyboard, so the screen is an anywidget: one small file
of JavaScript beside this one, which draws text as text. Voila serves it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ctsm_lib.errors import ConfigError, CtsmError
from ctsm_workbench.explorers.serving import serve_page
from ctsm_workbench.judging.files import QUESTIONS, read_sheet
from ctsm_workbench.judging.session import JudgingSession

_HERE = Path(__file__).parent


def widget(folder: Path | str, judge: str, *, whole_page: bool = False) -> Any:
    """The judging screen for a notebook cell, open where the judge left off.

    Args:
        folder, judge: as for `JudgingSession`.
        whole_page: keys count wherever the page is clicked; else only within the screen.

    Raises:
        ConfigError: anywidget is not installed. DataError: as `JudgingSession`.
    """
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise ConfigError(
            "The judging screen needs anywidget: pip install 'ctsm-lab[notebooks]'."
        ) from None

    class JudgingScreen(anywidget.AnyWidget):
        """Draws `screen`; whatever the judge does arrives as a message."""

        _esm = _HERE / "screen.js"
        _css = _HERE / "screen.css"
        screen = traitlets.Dict().tag(sync=True)
        questions: Any = traitlets.List().tag(sync=True)
        whole_page = traitlets.Bool().tag(sync=True)

    session = JudgingSession(folder, judge)
    view = JudgingScreen(
        screen=session.screen(),
        questions=[list(pair) for pair in QUESTIONS.items()],
        whole_page=whole_page,
    )

    def received(_: Any, message: Any, __: Any) -> None:
        view.screen = react(session, message)

    view.on_msg(received)
    view.session = session
    return view


def react(session: JudgingSession, message: Any) -> dict[str, Any]:
    """Do what a message of the screen says, and return what is to be shown then.

    Args:
        message: `do` is answer, next or back; `number` counts messages; `item` is what the judge saw; for an answer also
            `aspect` and `choice`.

    Returns:
        `session.screen()` with the confirmed `number`, whether something was saved, and an `error` where it was not.
    """
    outcome: dict[str, Any] = {}
    try:
        outcome["number"] = int(message["number"])
        places = [
            place for place, item in enumerate(session.sheet.items) if item.name == message["item"]
        ]
        session.go(places[0])
        if message["do"] == "answer":
            session.answer(message["aspect"], message["choice"])
            outcome["saved"] = True
        elif message["do"] == "next":
            session.next()
        elif message["do"] == "back":
            session.back()
    except OSError as error:
        outcome["error"] = (
            f"Not saved: {session.path} cannot be written: {error.strerror or error}."
        )
    except CtsmError as error:
        outcome["error"] = f"Not saved: {error}"
    except (KeyError, IndexError, TypeError, ValueError):
        outcome["error"] = (
            "Not saved: the page sent something that is not understood. Load it anew."
        )
    return session.screen() | outcome


def serve(
    folder: Path,
    judge: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8866,
    theme: str = "light",
    browser: bool = True,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve the judging screen as a page until Ctrl-C, by default to this computer only.

    Args:
        host, port: where to listen; the next free port if that one is taken.
        theme: light or dark.
        browser: open one.
        announce: is told the address, which carries a token: nobody gets in without it.

    Raises:
        ConfigError: Voila is not installed, no port is free, or a setting makes no sense.
        DataError: as `JudgingSession`; found out before anything is served.
    """
    read_sheet(folder)
    JudgingSession(folder, judge)
    code = (
        "from ctsm_workbench.judging import widget\n"
        f"widget({str(folder.resolve())!r}, {judge!r}, whole_page=True)"
    )  # fmt: skip
    serve_page(
        code, "judging", host=host, port=port, theme=theme, browser=browser, announce=announce
    )
