"""Figure 2: the path of the data through CTSM, with the module that does each step.

Every lesson opens with this picture, in which its own part is lit. The drawing is `figure2.svg`, edited by hand: a
group with `data-box` is a step and belongs to the part `data-part`; every other group or dot with `data-from` and
`data-to` is a wire between the boxes named there. This module only takes the colour from what is not lit.
Paper: Figure 2.
"""

from __future__ import annotations

import base64
import html
import logging
import os
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ctsm_lib.errors import ConfigError

log = logging.getLogger(__name__)

SVG = "{http://www.w3.org/2000/svg}"
# The picture has its own light ground, so that it reads alike on a white and on a dark page.
GROUND = "#f6f7f9"
INK = "#1f2328"
PALE_INK = "#666c74"
PALE_LINE = "#c4c8ce"
PALE_PILL = "#737982"

_DRAWING = (Path(__file__).parent / "figure2.svg").read_text(encoding="utf-8")
_ROOT = ET.fromstring(_DRAWING)
PARTS = tuple(_ROOT.get("data-parts", "").split())  # one for each lesson
WIDTH = int(_ROOT.get("width", 0))
HEIGHT = int(_ROOT.get("height", 0))


@dataclass(frozen=True)
class Diagram:
    """The architecture as a notebook shows it: return it from a cell.

    Args:
        lit: as in `architecture`.
    """

    lit: str | Collection[str] = ()

    def _repr_svg_(self) -> str:
        return architecture(self.lit)

    def _repr_html_(self) -> str:
        # An img element: notebooks that are not trusted drop bare SVG.
        code = base64.b64encode(self._repr_svg_().encode()).decode()
        style = f"width:100%;max-width:{WIDTH}px"
        source = f"data:image/svg+xml;base64,{code}"
        return f'<img alt="{html.escape(repr(self))}" style="{style}" src="{source}">'

    def __repr__(self) -> str:
        return alternative_text(self.lit)


def alternative_text(lit: str | Collection[str] = ()) -> str:
    """The picture in words, and what is lit in it; arguments and errors as in `architecture`."""
    parts = _parts(lit)
    description = _ROOT.findtext(f"{SVG}desc")
    if len(parts) == len(PARTS):
        return f"{description} Every part is lit."
    names = []
    for box in _boxes(_ROOT):
        if box.get("data-part") in parts:
            title = box.findtext(f"{SVG}text")
            modules = box.findtext(f"{SVG}text[@font-family]")
            names.append(f"{title} ({modules})")
    return f"{description} Lit: {'; '.join(names)}."


def architecture(lit: str | Collection[str] = ()) -> str:
    """Figure 2 as a stand-alone SVG, 1000 pixels wide.

    Args:
        lit: one name or several of `PARTS`, one for each lesson; nothing, "" or "all" lights everything.

    Raises:
        ConfigError: an unknown name.
    """
    parts = _parts(lit)
    everything = len(parts) == len(PARTS)
    name = "ctsm-" + ("all" if everything else "-".join(part for part in PARTS if part in parts))
    root = ET.fromstring(_DRAWING)
    title, description = root[0], root[1]
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    title.set("id", f"{name}-title")
    description.set("id", f"{name}-desc")
    description.text = alternative_text(lit)

    boxes = {box.get("data-box"): box for box in _boxes(root)}
    lit_boxes = {key for key, box in boxes.items() if box.get("data-part") in parts}
    for key, box in boxes.items():
        box.set("class", "lit" if key in lit_boxes else "pale")
        if key not in lit_boxes:
            # What the total loss adds up is lit with it, wherever it is taken.
            _fade(box, pill=INK if "total" in lit_boxes else PALE_PILL)
    for layer in root.iterfind(f"{SVG}g[@data-layer]"):
        for wire in layer:
            ends = set(f"{wire.get('data-from')} {wire.get('data-to')}".split())
            wire.set("class", "lit" if ends & lit_boxes else "pale")
            if not ends & lit_boxes:
                _fade(wire)
        # Lit wires come last: where two cross, the one that the lesson is about covers the other.
        layer[:] = sorted(layer, key=lambda wire: wire.get("class") == "lit")
    ET.register_namespace("", SVG[1:-1])
    return ET.tostring(root, encoding="unicode") + "\n"


def write_diagram(out: Path) -> list[Path]:
    """Write fig2.svg, and fig2.png at twice the size where Chromium or Chrome is found.

    The environment variable BROWSER_PATH may name the browser. Without one, a warning is logged.
    """
    out.mkdir(parents=True, exist_ok=True)
    svg = out / "fig2.svg"
    svg.write_text(architecture(), encoding="utf-8")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = map(shutil.which, (os.environ.get("BROWSER_PATH", ""), *names))
    browser = next(filter(None, found), None)
    if browser is None:
        log.warning("fig2 has no new PNG, which needs Chromium or Chrome; BROWSER_PATH may name it")
        return [svg]
    try:
        return [svg, _screenshot(browser, out / "fig2.png")]
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("fig2 has no new PNG: %s", str(error).split("\n")[0])
        return [svg]


def _screenshot(browser: str, png: Path) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "fig2.html"
        shot = Path(folder) / "fig2.png"
        style = "<style>body{margin:0}svg{display:block}</style>"
        text = f'<!doctype html><meta charset="utf-8">{style}{architecture()}'
        page.write_text(text, encoding="utf-8")
        options = (
            "--headless --no-sandbox --disable-gpu --hide-scrollbars --force-device-scale-factor=2"
            f" --default-background-color=00000000 --window-size={WIDTH},{HEIGHT}"
        )
        files = [f"--user-data-dir={folder}/profile", f"--screenshot={shot}", page.as_uri()]
        command = [browser, *options.split(), *files]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return Path(shutil.copyfile(shot, png))


def _parts(lit: str | Collection[str]) -> set[str]:
    names = {lit} if isinstance(lit, str) else set(lit)
    if unknown := sorted(names - {"", "all", *PARTS}):
        raise ConfigError(
            f"no part of the diagram is called {unknown[0]!r}; there are: {', '.join(PARTS)}, all"
        )
    return set(PARTS) if not names or names & {"", "all"} else names


def _boxes(root: ET.Element) -> list[ET.Element]:
    return root.findall(f"{SVG}g[@data-box]")


def _fade(drawn: ET.Element, pill: str = "") -> None:
    """Take the colours from a box or a wire. White text and the ground's colour stay."""
    for element in drawn.iter():
        kind = element.tag.removeprefix(SVG)
        if kind == "text" and element.get("fill") != "#ffffff":
            element.set("fill", PALE_INK)
        elif kind in ("path", "circle"):
            element.set("fill", PALE_LINE)
        elif kind == "rect" and "stroke" not in element.attrib:
            element.set("fill", pill)
        if element.get("stroke", GROUND) != GROUND:
            element.set("stroke", PALE_LINE)
    if drawn.get("data-box"):
        frame = drawn[0]
        frame.set("fill", "#ffffff")
        frame.set("stroke-width", "1.3")
