"""Take the two pictures of the explorers in README.md, from the embedded sample.

    python scripts/explorer_pictures.py

Needs the extra `dev` and Chromium or Chrome. The lessons' run is trained first where there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

OUT = Path(__file__).resolve().parents[1] / "figures"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def main() -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("CTSM_DATA", "CTSM_RUN")
    }
    command = [sys.executable, "-m", "ctsm_lib", "explore", "--no-browser"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = next(
            line[line.index("http://") :].strip() for line in server.stdout if "http://" in line
        )
        with sync_playwright() as play:
            page = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"]).new_page(
                viewport={"width": 1120, "height": 1300}
            )
            page.goto(address, timeout=120_000)
            page.wait_for_selector("text=Values of “excited”", timeout=120_000)
            field = page.locator(".ctsm-explorer input[type=text]:visible").first
            field.fill("surprised")
            field.press("Enter")
            page.wait_for_selector("text=Values of “surprised”")
            keep(page, "explorer_word")
            page.get_by_role("tab", name="Context").click()
            before, after = page.locator("textarea").nth(0), page.locator("textarea").nth(1)
            before.fill("I have to speak in front of the whole school tomorrow and I am terrified.")
            before.blur()
            page.wait_for_function(
                "text => document.querySelectorAll('textarea')[1].value === text",
                arg=before.input_value(),
            )
            after.fill(before.input_value().replace("terrified", "excited"))
            after.blur()
            page.wait_for_selector("text=of the probability has moved")
            keep(page, "explorer_context")
    finally:
        server.terminate()
        server.wait()


def keep(page, name: str) -> None:  # type: ignore[no-untyped-def]
    """The panel that is seen, once it is still."""
    time.sleep(2)
    path = OUT / f"{name}.png"
    page.locator(".jupyter-widgets.widget-tab").screenshot(path=path)
    print(f"{path}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
