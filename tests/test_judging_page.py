"""The judging screen: what it does with messages, and the served page in a real browser."""

from __future__ import annotations

import csv
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from browser_tools import Server, needs_browser, opened, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st
from judging_cases import folder_of, rows, write

from ctsm_lib.errors import ConfigError, DataError
from ctsm_workbench.judging import ASPECTS, JudgingSession, make, widget
from ctsm_workbench.judging.files import read_answers
from ctsm_workbench.judging.page import react, serve

TAKE_OVER = "document.title = 'taken over'"
SCRIPT = f"<script>{TAKE_OVER}</script><img src=x onerror=\"{TAKE_OVER}\"> &amp; 'so'"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Sheets with markup in every answer of one system, and in a context."""
    made = [
        row | {"response": SCRIPT, "context": [f"{SCRIPT} {n}"]}
        for n, row in enumerate(rows("one", 8))
    ]
    other = [
        row | {"response": answer["response"]}
        for row, answer in zip(made, rows("Two", 8), strict=True)
    ]
    named = [("a", write(tmp_path / "a.jsonl", made)), ("b", write(tmp_path / "b.jsonl", other))]
    make(named, tmp_path / "sheets", items=5, checks=1)
    return tmp_path / "sheets"


def press(session: JudgingSession, number: int, do: str, **more: str) -> dict[str, Any]:
    return react(session, {"number": number, "do": do, "item": session.item.name} | more)


# --- without a browser ---


def test_messages_answer_go_on_and_come_back(folder):
    session = JudgingSession(folder, "eva")
    first = session.item.name
    for number, aspect in enumerate(ASPECTS, start=1):
        screen = press(session, number, "answer", aspect=aspect, choice="B")
        assert screen["saved"] and screen["number"] == number and screen["answers"][aspect] == "B"
    assert press(session, 4, "next")["position"] == 1
    back = press(session, 5, "back")
    assert back["item"] == first and back["done"] == 1 and set(back["answers"].values()) == {"B"}


def test_an_answer_goes_to_the_item_that_the_judge_saw(folder):
    session = JudgingSession(folder, "eva")
    seen = session.item.name
    session.go(1)
    react(session, {"number": 1, "do": "answer", "item": seen, "aspect": "empathy", "choice": "A"})
    assert session.answers == {(seen, "empathy"): "A"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = {
    "number": JSON | st.integers(0, 9),
    "do": JSON | st.sampled_from(["answer", "next", "back"]),
    "item": JSON | st.just("q1"),
    "aspect": JSON | st.sampled_from(ASPECTS),
    "choice": JSON | st.sampled_from(["A", "b", "tie"]),
}


@settings(max_examples=100, deadline=None)
@given(JSON | st.fixed_dictionaries({}, optional=FIELDS))
def test_no_message_breaks_the_screen_or_saves_what_is_no_answer(tmp_path_factory, message):
    session = JudgingSession(_shared(tmp_path_factory), "eva")
    before = dict(session.answers)
    screen = react(session, message)
    assert {"item", "answers", "turns", "a", "b"} <= set(screen)
    json.dumps(screen, allow_nan=False)
    saved, _ = read_answers(session.path, session.sheet) if session.path.is_file() else ({}, {})
    assert saved == session.answers
    if saved != before:
        assert screen["saved"] and saved[message["item"], message["aspect"]] == message["choice"]


def _shared(factory) -> Path:
    base = factory.getbasetemp() / "messages"
    if not base.exists():
        base.mkdir()
        folder_of(base, items=5)
    return base / "sheets"


def test_an_answer_that_is_not_saved_is_not_shown_as_given(folder, monkeypatch):
    session = JudgingSession(folder, "eva")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    screen = press(session, 1, "answer", aspect="empathy", choice="A")
    assert (
        "No space left" in screen["error"]
        and "saved" not in screen
        and screen["answers"]["empathy"] == ""
    )


def test_the_widget_keeps_text_as_text_and_saves(folder):
    pytest.importorskip(
        "anywidget", reason="anywidget is not installed: pip install -e '.[notebooks]'"
    )
    view = widget(folder, "eva")
    assert SCRIPT in (view.screen["a"], view.screen["b"]) or view.screen["turns"][0].startswith(
        "<script>"
    )
    name = view.screen["item"]
    view._handle_custom_msg(
        {"number": 1, "do": "answer", "item": name, "aspect": "fluency", "choice": "tie"}, []
    )
    assert view.screen["saved"] and view.screen["answers"]["fluency"] == "tie"
    assert widget(folder, "eva").screen["answers"]["fluency"] == "tie"
    assert [aspect for aspect, _ in view.questions] == list(ASPECTS)


def test_the_drawing_puts_no_text_into_markup():
    """The browser test shows that it works; this shows that nobody has opened another way in."""
    source = (Path(react.__code__.co_filename).parent / "screen.js").read_text(encoding="utf-8")
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "srcdoc",
    ):
        assert way not in source


@pytest.mark.parametrize(("package", "start"), [("anywidget", widget), ("voila.app", serve)])
def test_what_is_not_installed_is_named(folder, monkeypatch, package, start):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r"pip install 'ctsm-lab\[notebooks\]'"):
        start(folder, "eva")


def test_what_cannot_be_served_is_said_at_once(folder, tmp_path):
    with pytest.raises(DataError, match=r"sheet\.csv is missing"):
        serve(tmp_path / "nowhere", "eva")
    with pytest.raises(ConfigError, match="a name has up to 40"):
        serve(folder, "../eva")
    with pytest.raises(ConfigError, match="neither light nor dark"):
        serve(folder, "eva", theme="pink")
    (folder / "judges").mkdir()
    (folder / "judges" / "eva.csv").write_text("nonsense\n1\n")
    with pytest.raises(DataError, match=r"eva\.csv:1"):
        serve(folder, "eva")


# --- in a browser ---

SCREEN = ".ctsm-judge .questions"


def on_disk(folder: Path) -> list[list[str]]:
    """The judge's answers, a row for each item."""
    path = folder / "judges" / "eva.csv"
    return (
        [row[2:] for row in csv.reader(path.read_text().splitlines())][1:] if path.is_file() else []
    )


@needs_browser
@pytest.mark.slow
def test_judging_by_keyboard_survives_the_death_of_its_server(folder):
    serving = ("judge", "serve", folder, "--judge", "eva")
    server = Server(*serving)
    try:
        assert server.address.startswith("http://127.0.0.1:")
        bare = urllib.request.urlopen(server.address.split("?")[0])  # without the token
        assert "/login" in bare.url and b"ctsm" not in bare.read()
        with opened(server.address, SCREEN) as (page, elsewhere):
            screen = page.locator(".ctsm-judge")
            for number, keys in enumerate(("123", "3bt", "aa1"), start=1):
                page.wait_for_selector(f"text=Item {number} of 6")
                for key in keys:
                    page.keyboard.press(key)
                page.wait_for_selector("text=Saved.")
                if number == 1:
                    page.keyboard.press("Backspace")  # a second thought about the third question
                    page.keyboard.press("2")
                    wait_for(
                        "the second thought", lambda: on_disk(folder)[0] == ["A", "tie", "tie"]
                    )
                page.keyboard.press("Enter")
            page.wait_for_selector("text=Item 4 of 6")
            kept = [["A", "tie", "tie"], ["B", "B", "tie"], ["A", "A", "A"]]
            assert on_disk(folder)[:3] == kept
            # Whatever stands in an answer is shown, and does nothing.
            for number in (3, 2, 1):
                assert screen.locator("script, img").count() == 0
                page.keyboard.press("Backspace")
                page.wait_for_selector(f"text=Item {number} of 6")
            assert SCRIPT in screen.inner_text() and page.title() != "taken over"
            assert elsewhere == []
            server.kill()
            page.keyboard.press("3")
            page.wait_for_selector("text=Not saved", timeout=30_000)
            assert on_disk(folder)[:3] == kept
        server = Server(*serving)
        with opened(server.address, SCREEN) as (page, _):
            page.wait_for_selector("text=Item 4 of 6")
            assert "3 judged" in page.inner_text(".ctsm-judge")
            for number in (4, 5, 6):
                page.wait_for_selector(f"text=Item {number} of 6")
                for key in "222":
                    page.keyboard.press(key)
                wait_for(
                    "the answers", lambda number=number: on_disk(folder)[number - 1] == ["tie"] * 3
                )
                page.keyboard.press("Enter")
            page.wait_for_selector("text=Everything is judged and saved")
        assert on_disk(folder) == kept + [["tie"] * 3] * 3
    finally:
        server.kill()
