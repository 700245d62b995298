"""The explorers and the judging screen in a real browser: the served page and JupyterLab.

With `CTSM_SCREENSHOTS=folder` the tests leave pictures to look at.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from browser_tools import Server, contrast, keep_picture, needs_browser, opened, wait_for
from judging_cases import folder_of

from ctsm_workbench.judging import ASPECTS, JudgingSession

pytestmark = [needs_browser, pytest.mark.slow]

SCRIPT = (
    "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
    "<b>so</b> lonely"
)
DRAWN = ".ctsm-figures .main-svg"


def figure_titles(page: Any) -> list[str]:
    """The titles of the figures that can be seen."""
    return [
        title
        for title in page.locator(".ctsm-figures .gtitle:visible").all_text_contents()
        if title
    ]


def type_word(page: Any, word: str) -> None:
    field = page.locator(".ctsm-explorer input[type=text]:visible").first
    field.fill(word)
    field.press("Enter")


def alone(page: Any) -> None:
    """Nothing that was typed became part of the page, and nothing is wider than the window."""
    assert page.title() != "taken"
    assert (
        page.locator(".ctsm-explorer script, .ctsm-explorer img, .ctsm-explorer iframe").count()
        == 0
    )
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
        "wider than the window"
    )


def readable(page: Any, ground: str) -> None:
    """Text of figures and of the explorer stands out from the page, whatever its theme."""
    paint = "(element, name) => getComputedStyle(element)[name]"
    behind = page.locator(ground).first.evaluate(paint, "backgroundColor")
    title = page.locator(".ctsm-figures .gtitle:visible").first.evaluate(paint, "fill")
    text = page.locator(".ctsm-explorer p:visible").first.evaluate(paint, "color")
    assert contrast(title, behind) >= 3 and contrast(text, behind) >= 4.5, (title, text, behind)


# ---------------------------------------------------------------------------------- the served page


def test_the_page_shows_words_contexts_and_answers(tiny_run):
    server = Server("explore", tiny_run)
    try:
        assert server.address.startswith("http://127.0.0.1:")
        bare = urllib.request.urlopen(server.address.split("?")[0])  # without the token
        assert "/login" in bare.url and b"ctsm" not in bare.read()
        with opened(server.address, DRAWN, viewport={"width": 1200, "height": 900}) as (
            page,
            elsewhere,
        ):
            wait_for(
                "the first word's figure", lambda: "Values of “excited”" in figure_titles(page)
            )
            type_word(page, "lonely")
            wait_for("the typed word's figure", lambda: "Values of “lonely”" in figure_titles(page))
            assert page.locator(".ctsm-figures .bars path:visible").count() >= 5 + 3 + 1
            alternative = page.locator(".ctsm-figures > div").first.get_attribute("aria-label")
            assert alternative.startswith("lonely: valence")
            readable(page, "body")
            keep_picture(page, "page-word")
            type_word(page, SCRIPT)
            page.wait_for_selector("text=The dialogues never use")
            alone(page)

            page.get_by_role("tab", name="Context").click()
            before, after = page.locator("textarea").nth(0), page.locator("textarea").nth(1)
            before.fill(f"I lost my dog and feel lonely\n{SCRIPT}\nthank you so much")
            before.blur()
            wait_for("the other field", lambda: SCRIPT in after.input_value())
            after.fill(before.input_value().replace("lonely", "happy"))
            after.blur()
            page.wait_for_selector("text=of the probability has moved")
            wait_for("both maps", lambda: page.locator(".ctsm-figures .hm:visible").count() == 2)
            assert (
                "taken" in page.locator(".ctsm-figures:visible").text_content()
            )  # shown, and nothing done
            alone(page)
            keep_picture(page, "page-context")
            page.locator("select:visible").last.select_option("turn 2")
            wait_for("the turn to go", lambda: after.input_value().split("\n")[1] == "")

            page.get_by_role("tab", name="Answer").click()
            say = page.locator(".ctsm-explorer input[type=text]:visible").first
            say.fill(SCRIPT)
            say.press("Enter")
            page.wait_for_selector(".ctsm-explorer .turn.me:visible")
            assert page.inner_text(".ctsm-explorer .turn.me") == SCRIPT
            wait_for("the answer's figures", lambda: len(figure_titles(page)) == 2)
            alone(page)
            keep_picture(page, "page-answer")
            with page.expect_download() as kept:
                page.click("text=save as JSON")
            talk = json.loads(Path(kept.value.path()).read_text(encoding="utf-8"))
            assert talk["exchanges"][0]["said"] == SCRIPT
            page.get_by_role("button", name="undo").click()
            wait_for("the turn back in the field", lambda: say.input_value() == SCRIPT)
            wait_for(
                "the talk to be empty",
                lambda: page.locator(".ctsm-explorer .turn:visible").count() == 0,
            )
            assert elsewhere == []
    finally:
        server.kill()


def test_a_dark_page_in_a_narrow_window(tiny_run):
    server = Server("explore", tiny_run, "--theme", "dark")
    try:
        with opened(server.address, DRAWN, viewport={"width": 400, "height": 800}) as (
            page,
            elsewhere,
        ):
            wait_for("three figures", lambda: len(figure_titles(page)) == 3)
            readable(page, "body")
            boxes = [
                page.locator(".ctsm-figures > div").nth(number).bounding_box()
                for number in range(3)
            ]
            assert all(box["x"] >= 0 and box["x"] + box["width"] <= 400 for box in boxes)
            assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"], (
                "figures do not stand below each other"
            )
            alone(page)
            keep_picture(page, "page-narrow-dark-word")
            page.get_by_role("tab", name="Context").click()
            wait_for("the map", lambda: page.locator(".ctsm-figures .hm:visible").count() == 1)
            alone(page)
            keep_picture(page, "page-narrow-dark-context")
            page.set_viewport_size({"width": 1000, "height": 800})  # figures follow the window
            svg = "document.querySelector('.ctsm-figures .hm').closest('svg')"
            width = f"{svg}.getBoundingClientRect().width"
            wait_for("a wider figure", lambda: page.evaluate(width) > 400)
            assert elsewhere == []
    finally:
        server.kill()


# --------------------------------------------------------------------------------------- JupyterLab


class Lab:
    """JupyterLab with one notebook and settings of its own."""

    token = "only-for-this-test"

    def __init__(self, folder: Path, cells: list[str], theme: str):
        import nbformat

        self.folder = folder
        settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": theme}))
        (settings / "notification.jupyterlab-settings").write_text(
            json.dumps({"fetchNews": "false"})
        )
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
        )
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        (folder / "work").mkdir()
        nbformat.write(notebook, folder / "work" / "by_hand.ipynb")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        own = {
            f"JUPYTER{name}": str(folder / name.lower()) for name in ("_CONFIG_DIR", "_RUNTIME_DIR")
        }
        own |= {
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "spaces"),
        }
        options = {
            "ServerApp.port": port, "ServerApp.root_dir": folder / "work",
            "ServerApp.port_retries": 0, "ServerApp.terminals_enabled": False,
            "IdentityProvider.token": self.token,
        }  # fmt: skip
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        self.process = subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in options.items())],
            env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.root = f"http://127.0.0.1:{port}"
        self.address = f"{self.root}/lab/tree/by_hand.ipynb?token={self.token}"
        wait_for("JupyterLab", self._answers, 120)

    def _answers(self) -> bool:
        assert self.process.poll() is None, "JupyterLab has ended"
        try:
            return (
                urllib.request.urlopen(
                    f"{self.root}/api/status?token={self.token}", timeout=5
                ).status
                == 200
            )
        except OSError:
            return False

    def kill(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run_cell(page: Any, number: int) -> None:
    """Click into a cell and run it once a kernel is idle: before that JupyterLab drops the keys."""
    # In half a window the toolbar hides the kernel's name: it is enough that it is there.
    page.wait_for_selector(".jp-KernelName:has-text('Python 3')", state="attached", timeout=120_000)
    page.wait_for_selector(
        ".jp-Notebook-ExecutionIndicator[data-status='idle']", state="attached", timeout=120_000
    )
    page.locator(".jp-CodeCell .cm-content").nth(number).click()
    page.keyboard.press("Shift+Enter")


def explore_in_lab(page: Any, name: str) -> None:
    """Open the explorer, type a word, see the figure drawn, type a script."""
    run_cell(page, 0)
    page.wait_for_selector(f"{DRAWN}:visible", timeout=120_000)
    type_word(page, "lonely")
    wait_for("the typed word's figure", lambda: "Values of “lonely”" in figure_titles(page))
    readable(page, ".jp-Notebook")
    keep_picture(page, name)
    type_word(page, SCRIPT)
    page.wait_for_selector("text=The dialogues never use")
    assert (
        page.title() != "taken"
        and page.locator(".ctsm-explorer img, .ctsm-explorer script").count() == 0
    )


def test_jupyterlab_explores_and_judges_and_survives_its_kernel(tmp_path, tiny_run):
    sheets = folder_of(tmp_path, items=5)
    kernel = tmp_path / "kernel"
    cells = [
        f"from ctsm_workbench import explorers as widgets\nwidgets.explorer({str(tiny_run)!r})",
        f"import os, pathlib\npathlib.Path({str(kernel)!r}).write_text(str(os.getpid()))\n"
        f"from ctsm_workbench import judging\njudging.widget({str(sheets)!r}, 'eva')",
    ]
    lab = Lab(tmp_path, cells, "JupyterLab Light")
    try:
        with opened(
            lab.address, ".jp-CodeCell .cm-content", viewport={"width": 1300, "height": 900}
        ) as (page, _):
            explore_in_lab(page, "lab-light")
            run_cell(page, 1)
            page.wait_for_selector(".ctsm-judge .questions", timeout=120_000)
            page.locator(".ctsm-judge").click(position={"x": 5, "y": 5})
            for key in "123":
                page.keyboard.press(key)
            answered = dict(zip(ASPECTS, ("A", "tie", "B"), strict=True))
            wait_for("three answers on disk", lambda: _given(sheets) == answered)
            keep_picture(page, "lab-judging")

            os.kill(int(kernel.read_text()), 9)
            kernel.unlink()
            page.reload()
            page.wait_for_selector(".jp-CodeCell .cm-content", timeout=120_000)
            run_cell(page, 1)
            wait_for("a new kernel", kernel.exists, 120)
            page.wait_for_selector("text=Item 2 of 6", timeout=120_000)  # where the judge left off
            page.wait_for_selector("text=1 judged")
            assert _given(sheets) == answered
            page.locator(".ctsm-judge").click(position={"x": 5, "y": 5})
            page.keyboard.press("1")
            wait_for("a fourth answer", lambda: len(JudgingSession(sheets, "eva").answers) == 4)
    finally:
        lab.kill()


def test_jupyterlab_in_the_dark_and_half_a_window(tmp_path, tiny_run):
    lab = Lab(
        tmp_path,
        [f"from ctsm_workbench import explorers as widgets\nwidgets.explorer({str(tiny_run)!r})"],
        "JupyterLab Dark",
    )
    try:
        with opened(
            lab.address, ".jp-CodeCell .cm-content", viewport={"width": 800, "height": 900}
        ) as (page, _):
            explore_in_lab(page, "lab-dark")
    finally:
        lab.kill()


def _given(sheets: Path) -> dict[str, str]:
    """What is on disk for the first item."""
    session = JudgingSession(sheets, "eva")
    first = session.sheet.items[0].name
    return {aspect: choice for (item, aspect), choice in session.answers.items() if item == first}
