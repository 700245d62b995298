"""Figure 2: the path of the data through CTSM, with the module that does each step.

Every lesson opens with this picture, in which its own part is lit. The drawing is `figure2.svg`,
edited by hand: a group with `data-box` is a step and belongs to the part `data-part`; a group or
dot with `data-from` and `data-to` is a wire between boxes. This module only takes the colour from
what is not lit. Paper: Figure 2.
"""

import base64
import html
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from ctsm_lib.errors import ConfigError
from ctsm_workbench.pictures.house import HERE, STYLE, write_stills

# The picture has its own light ground, so that it reads alike on a white and on a dark page.
GROUND = "#f6f7f9"
INK = "#1f2328"
PALE_INK = "#666c74"
PALE_LINE = "#c4c8ce"
PALE_PILL = "#737982"

SVG = "{http://www.w3.org/2000/svg}"
ET.register_namespace("", SVG[1:-1])
_DRAWING = (HERE / "figure2.svg").read_text(encoding="utf-8")
_ROOT = ET.fromstring(_DRAWING)
_NAME = f"{SVG}text"  # the first text of a box
_MODULE = f"{SVG}text[@font-family]"
_BOXES = _ROOT.findall(f"{SVG}g[@data-box]")
PARTS = _ROOT.get("data-parts", "").split()  # one for each lesson
WIDTH = int(_ROOT.get("width", 0))
HEIGHT = int(_ROOT.get("height", 0))


@dataclass
class Diagram:
    """Figure 2 as a notebook shows it: return it from a cell.

    `lit` is the part in colours, one of `PARTS`; by default all are. An unknown name raises a
    `ConfigError`.
    """

    lit: str = ""

    def __post_init__(self) -> None:
        if self.lit not in ("", *PARTS):
            known = ", ".join(PARTS)
            raise ConfigError(f"no part of the diagram is called {self.lit!r}; there are: {known}")
        self.boxes = [box for box in _BOXES if self.lit in ("", box.get("data-part"))]

    def __repr__(self) -> str:
        """The picture in words, and what is lit in it."""
        names = [f"{box.findtext(_NAME)} ({box.findtext(_MODULE)})" for box in self.boxes]
        lit = f"Lit: {'; '.join(names)}." if self.lit else "Every part is lit."
        return f"{_ROOT.findtext(f'{SVG}desc')} {lit}"

    def _repr_html_(self) -> str:
        # An img element: notebooks that are not trusted drop bare SVG.
        style = f"width:100%;max-width:{WIDTH}px"
        return f'<img alt="{html.escape(repr(self))}" style="{style}" src="{self.link()}">'

    def _repr_svg_(self) -> str:
        """The picture as a stand-alone SVG, 1000 pixels wide."""
        boxes = {box.get("data-box") for box in self.boxes}
        root = ET.fromstring(_DRAWING)
        for drawn in root.iter():
            ends = " ".join(drawn.get(key, "") for key in ("data-box", "data-from", "data-to"))
            if ends.strip():
                drawn.set("class", "lit" if boxes & set(ends.split()) else "pale")
            if drawn.get("class") == "pale":
                # What the total loss adds up is lit with it, wherever it is taken.
                _fade(drawn, pill=INK if "total" in boxes else PALE_PILL)
        for layer in root.iterfind(f"{SVG}g[@data-layer]"):
            # Lit wires come last: where two cross, the one of the lesson covers the other.
            layer[:] = sorted(layer, key=lambda wire: wire.get("class") == "lit")
        # Several pictures on a page need different names.
        names = [f"ctsm-{self.lit or 'all'}-{kind}" for kind in ("title", "desc")]
        for element, name in zip(root[:2], names, strict=True):
            element.set("id", name)
        root[1].text = repr(self)
        root.set("aria-labelledby", " ".join(names))
        return ET.tostring(root, encoding="unicode") + "\n"

    def link(self) -> str:
        """The SVG as an address that holds all of it."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self._repr_svg_().encode()).decode()}"


def write_diagram(out: Path) -> list[Path]:
    """Write fig2.svg, and fig2.png at twice the size where kaleido and Chromium are found."""
    out.mkdir(parents=True, exist_ok=True)
    svg = out / "fig2.svg"
    svg.write_text(Diagram()._repr_svg_(), encoding="utf-8")
    # Kaleido draws plotly figures only: the SVG fills an empty one.
    image = STYLE["fig2"]["image"] | {"source": Diagram().link()}
    layout = STYLE["fig2"]["layout"] | {"width": WIDTH, "height": HEIGHT, "images": [image]}
    return [svg, *write_stills({"data": [], "layout": layout}, out, "fig2", ("png",))]


def _fade(drawn: ET.Element, pill: str) -> None:
    """Take the colours from a box or a wire. White text and the ground's colour stay."""
    fills = {"text": PALE_INK, "path": PALE_LINE, "circle": PALE_LINE, "rect": pill}
    for element in drawn.iter():
        kind = element.tag.removeprefix(SVG)
        if "stroke" not in element.attrib and kind in fills and element.get("fill") != "#ffffff":
            element.set("fill", fills[kind])
        if element.get("stroke", GROUND) != GROUND:
            element.set("stroke", PALE_LINE)
    if drawn.get("data-box"):
        drawn[0].attrib |= {"fill": "#ffffff", "stroke-width": "1.3"}
