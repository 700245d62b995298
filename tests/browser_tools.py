"""Tools of the tests in a real browser: the browser, a server, and a page without a network."""

from __future__ import annotations

import importlib.util
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    "",
)
MISSING = [
    name
    for name in ("voila", "jupyterlab", "anywidget", "playwright")
    if importlib.util.find_spec(name) is None
]
needs_browser = pytest.mark.skipif(
    bool(MISSING) or not CHROMIUM or not hasattr(signal, "SIGKILL"),
    reason=f"needs {', '.join(MISSING) or 'Chromium or Chrome'}: runs again once that is installed",
)


class Server:
    """A command of `ctsm` that serves a page, in a process of its own."""

    def __init__(self, *command: str | Path):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ctsm_lib", *map(str, command), "--no-browser"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ,
        )  # fmt: skip
        self.address = self._address()

    def _address(self) -> str:
        out = self.process.stdout
        assert out is not None
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            if select.select([out], [], [], 1)[0] and "http://" in (line := out.readline()):
                return line[line.index("http://") :].strip()
        raise AssertionError(
            f"{self.process.args} gave no address (exit code {self.process.poll()})"
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def opened(address: str, wait_for: str, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page in a browser, and the addresses elsewhere that it asked for."""
    from playwright.sync_api import sync_playwright

    elsewhere: list[str] = []
    with sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        context = chromium.new_context(**options)
        # The page's policy stops forbidden requests before this; any other would arrive here.
        context.route(
            lambda url: not url.startswith("http://127.0.0.1"),
            lambda route: _refuse(route, elsewhere),
        )
        page = context.new_page()
        page.goto(address, timeout=120_000)
        page.wait_for_selector(wait_for, timeout=120_000)
        try:
            yield page, elsewhere
        finally:
            chromium.close()


def _refuse(route: Any, elsewhere: list[str]) -> None:
    if not route.request.url.startswith(("data:", "blob:")):
        elsewhere.append(route.request.url)
    route.abort()


def wait_for(what: str, found: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is true.

    Raises:
        AssertionError: it is not, in that time.
    """
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, f"waited in vain for: {what}"
        time.sleep(0.05)


def keep_picture(page: Any, name: str) -> None:
    """A screenshot to look at, where `CTSM_SCREENSHOTS` names a folder for it."""
    if folder := os.environ.get("CTSM_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def luminance(colour: str) -> float:
    """Relative luminance of a colour as browsers write it, rgb(r, g, b). Source: WCAG 2."""
    parts = [
        float(part) for part in colour[colour.index("(") + 1 : colour.index(")")].split(",")[:3]
    ]
    linear = [
        v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4
        for v in (part / 255 for part in parts)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Contrast of two colours, 1 to 21."""
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


__all__: Sequence[str] = (
    "CHROMIUM", "Server", "contrast", "keep_picture", "needs_browser", "opened", "wait_for",
)  # fmt: skip
