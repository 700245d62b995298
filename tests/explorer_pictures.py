"""Take the two pictures of the explorers in RESULTS.md, from the embedded sample.

    python tests/explorer_pictures.py

Needs the extra `dev` and Chromium or Chrome. The lessons' run is trained first where there is none.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

OUT = Path(__file__).resolve().parents[1] / "figures"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
TURN = "I have to speak in front of the whole school tomorrow and I am terrified."


def take(page: Page) -> None:
    """Type a word and an edited dialogue, and keep a picture of each panel."""
    page.wait_for_selector("text=Values of “excited”")
    field = page.locator(".ctsm-explorer input[type=text]:visible").first
    field.fill("surprised")
    field.press("Enter")
    page.wait_for_selector("text=Values of “surprised”")
    keep(page, "explorer_word")
    page.get_by_role("tab", name="Context").click()
    before, after = page.locator("textarea").all()
    before.fill(TURN)
    before.blur()
    page.wait_for_function(f"document.querySelectorAll('textarea')[1].value === {TURN!r}")
    after.fill(TURN.replace("terrified", "excited"))
    after.blur()
    page.wait_for_selector("text=of the probability has moved")
    keep(page, "explorer_context")


def keep(page: Page, name: str) -> None:
    """Take a picture of the panel that is seen, once it is still."""
    page.wait_for_timeout(2000)
    path = OUT / f"{name}.png"
    page.locator(".jupyter-widgets.widget-tab").screenshot(path=path)
    print(f"{path}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    sample = {name: os.environ[name] for name in os.environ.keys() - {"CTSM_DATA", "CTSM_RUN"}}
    command = [sys.executable, "-m", "ctsm_lib", "explore", "--no-browser"]
    with subprocess.Popen(command, env=sample, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = (re.search(r"http://\S+", line) for line in server.stdout)
        try:
            with sync_playwright() as play:
                browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": 1120, "height": 1300})
                page.set_default_timeout(120_000)
                page.goto(next(match[0] for match in found if match))
                take(page)
        finally:
            server.terminate()
