"""Figure 2, drawn by ourselves: the data's way through CTSM, with the module that does each step.

Every lesson opens with this picture and its own part lit. It is made of the tables in `diagram_layout`, without a
layout engine: the same byte for byte, and mended with an editor. Paper: Figure 2.
"""

from __future__ import annotations

import base64
import html
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ctsm_lib.errors import ConfigError
from ctsm_workbench.pictures.diagram_layout import (
    BOXES,
    HEIGHT,
    JOINTS,
    NOTES,
    PARTS,
    UNPAIRED,
    VIEWS,
    WIDTH,
    WIRES,
    Box,
    Wire,
)

log = logging.getLogger(__name__)

SANS = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
MONO = "ui-monospace, SFMono-Regular, Consolas, 'Liberation Mono', monospace"
TITLE, TEXT, SMALL, MODULE = 14, 13, 12.5, 12  # px
# The picture has its own light ground, so that it reads alike on a white and on a dark page.
GROUND, EDGE, INK, PALE_INK, PALE_LINE = "#f6f7f9", "#d9dce1", "#1f2328", "#666c74", "#c4c8ce"
PALE_PILL = "#737982"


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
        # A picture element, not bare SVG: notebooks that are not trusted drop the latter.
        code = base64.b64encode(self._repr_svg_().encode()).decode()
        alt = html.escape(alternative_text(self.lit))
        return f'<img alt="{alt}" style="width:100%;max-width:{WIDTH}px" src="data:image/svg+xml;base64,{code}">'

    def __repr__(self) -> str:
        return alternative_text(self.lit)


def alternative_text(lit: str | Collection[str] = ()) -> str:
    """What the picture shows, in words, and what is lit in it; arguments and errors as in `architecture`."""
    parts = _parts(lit)
    way = (
        "Architecture of CTSM. The dialogue's words are encoded and joined with commonsense, for a teacher and for a "
        "student. Trait embeddings (lexicon) and state embeddings (cosine to 32 label words) are encoded. The teacher "
        "gives soft labels to the student; the student's context feeds decoder and pointer generator; contrastive "
        "pairs align response, context and emotions; all losses are summed."
    )
    if len(parts) == len(PARTS):
        return f"{way} Every part is lit."
    names = (
        _plain(f"{box.title} ({', '.join(box.modules) or box.paper})")
        for box in BOXES.values()
        if box.part in parts
    )
    return f"{way} Lit: {'; '.join(names)}."


def architecture(lit: str | Collection[str] = ()) -> str:
    """Figure 2 as a stand-alone SVG, 1000 wide.

    Args:
        lit: one name or several of `PARTS`, one for each lesson; nothing, "" or "all" lights everything.

    Raises:
        ConfigError: an unknown name.
    """
    parts = _parts(lit)
    name = "ctsm-" + (
        "all" if len(parts) == len(PARTS) else "-".join(part for part in PARTS if part in parts)
    )
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-labelledby="{name}-title {name}-desc" font-family="{SANS}" font-size="{TEXT}">',
        f'<title id="{name}-title">CTSM, from a dialogue to an answer</title>',
        f'<desc id="{name}-desc">{html.escape(alternative_text(lit), False)}</desc>',
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="14" fill="{GROUND}" stroke="{EDGE}"/>',
        _text(16, 36, "CTSM, from a dialogue to an answer", size=18, font="bold"),
        _text(16, 766, "Around the model", font="bold"),
        f'<rect x="580" y="20" width="34" height="22" rx="4" fill="#fff" stroke="{INK}" stroke-dasharray="5 3"/>',
        _text(622, 36, "in training only"),
        _pill(794, 21, "L", INK),
        _text(850, 36, "a loss of Eq. 25"),
    ]
    bright = {key for key, box in BOXES.items() if box.part in parts}

    def ink(wire: Wire, pale: str = PALE_LINE) -> str:
        return INK if set(wire[0].split() + wire[1].split()) & bright else pale

    # Bright wires come last: where two cross, the one that the lesson speaks of goes over the other.
    for wire in (wires := sorted(WIRES, key=lambda wire: ink(wire) == INK)):
        body.append(_wire(wire[2], wire[3], ink(wire), dashed=wire[:2] == ("teacher", "student")))
    for joint in JOINTS:
        color = (
            INK if INK in [ink(wire) for wire in wires if joint in wire[2].split()] else PALE_LINE
        )
        x, y = joint.split(",")
        body.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{color}"/>')
    body += [_text(*wire[4], size=SMALL, color=ink(wire, PALE_INK)) for wire in WIRES if wire[4]]
    body += [
        _text(*note, size=12, color=INK if "guidance" in parts else PALE_INK) for note in NOTES
    ]
    # What the total loss adds up is lit with it, wherever it is taken.
    pale_pill = INK if "total" in bright else PALE_PILL
    body += [_box(key, box, key in bright, pale_pill) for key, box in BOXES.items()]
    return "\n".join([*body, _views("contrast" in bright), "</svg>"]) + "\n"


def write_diagram(out: Path) -> list[Path]:
    """Write fig2.svg and, where Chromium or Chrome is found (or named by BROWSER_PATH), fig2.png at twice the size."""
    out.mkdir(parents=True, exist_ok=True)
    svg, png = out / "fig2.svg", out / "fig2.png"
    svg.write_text(architecture(), encoding="utf-8")
    names = (
        os.environ.get("BROWSER_PATH"),
        "chromium",
        "chromium-browser",
        "google-chrome",
        "chrome",
    )
    browser = next((path for name in names if name and (path := shutil.which(name))), None)
    if browser is None:
        log.warning("fig2 has no new PNG, which needs Chromium or Chrome; BROWSER_PATH may name it")
        return [svg]
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder) / "fig2.html", Path(folder) / "fig2.png"
        style = "<style>body{margin:0}svg{display:block}</style>"
        page.write_text(
            f'<!doctype html><meta charset="utf-8">{style}{architecture()}', encoding="utf-8"
        )
        options = (
            "--headless --no-sandbox --disable-gpu --hide-scrollbars --force-device-scale-factor=2 "
            f"--default-background-color=00000000 --window-size={WIDTH},{HEIGHT}"
        )
        command = [
            browser,
            *options.split(),
            f"--user-data-dir={folder}/profile",
            f"--screenshot={shot}",
            page.as_uri(),
        ]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            shutil.copyfile(shot, png)
        except (
            OSError,
            subprocess.SubprocessError,
        ) as error:  # whatever a browser does wrong, the SVG is there
            log.warning("fig2 has no new PNG: %s", str(error).split("\n")[0])
            return [svg]
    return [svg, png]


def _parts(lit: str | Collection[str]) -> set[str]:
    names = {lit} if isinstance(lit, str) else set(lit)
    if unknown := sorted(names - {"", "all", *PARTS}):
        raise ConfigError(
            f"no part of the diagram is called {unknown[0]!r}; there are: {', '.join(PARTS)}, all"
        )
    return set(PARTS) if not names or names & {"", "all"} else names


def _plain(text: str) -> str:
    return re.sub(r"[{}]", "", text)


def _markup(text: str, size: float) -> str:
    """Subscripts and superscripts as tspans. A shift is taken back by the next one: SVG's `dy` adds up."""
    done, shift = "", 0.0
    for sign, raised, plain in re.findall(r"([_^])(\{[^}]*\}|\w)|([^_^]+)", text):
        now = {"_": 0.26 * size, "^": -0.38 * size}.get(sign, 0.0)
        style = f' font-size="{0.76 * size:.4g}"' if sign else ""
        done += f'<tspan dy="{now - shift:.3g}"{style}>{html.escape(_plain(raised or plain), False)}</tspan>'
        shift = now
    return done if "_" in text or "^" in text else html.escape(text, False)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: float = TEXT,
    color: str = INK,
    anchor: str = "start",
    font: str = "",
) -> str:
    style = {"bold": ' font-weight="600"', "mono": f' font-family="{MONO}"'}.get(font, "")
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{color}"{style} text-anchor="{anchor}">{_markup(text, size)}</text>'


def _pill(x: float, y: float, text: str, color: str) -> str:
    label = _text(x + 23, y + 14, text, size=SMALL, color="#ffffff", font="bold", anchor="middle")
    return f'<rect x="{x}" y="{y}" width="46" height="20" rx="10" fill="{color}"/>{label}'


def _box(key: str, box: Box, lit: bool, pale_pill: str) -> str:
    color, tint = PARTS[box.part] if lit else (PALE_LINE, "#ffffff")
    text, column = INK if lit else PALE_INK, box.column or box.width
    dash = ' stroke-dasharray="6 3"' if box.training else ""
    slim, left, right = box.height < 40, box.x + 9, box.x + column - 9
    foot = box.y + (19 if slim else box.height - 10)
    drawn = [
        f'<g data-box="{key}" class="{"lit" if lit else "pale"}"><rect x="{box.x}" y="{box.y}" width="{box.width}" '
        f'height="{box.height}" rx="8" fill="{tint}" stroke="{color}" stroke-width="{2 if lit else 1.3}"{dash}/>',
        _text(left, box.y + (19 if slim else 21), box.title, size=TITLE, color=text, font="bold"),
    ]
    drawn += [
        _text(left, box.y + 40 + 19 * row, line, color=text)
        for row, line in enumerate(box.text)
        if line
    ]
    if box.loss:
        drawn.append(_pill(right - 42, box.y + 7, box.loss, color if lit else pale_pill))
    foots = [
        (", ".join(box.modules), MODULE, color if lit else text, "mono"),
        (box.paper, SMALL, text, ""),
    ]
    foots = [entry for entry in foots if entry[0]]
    places = (
        [(right, "end")] if slim else [(left, "start"), (right, "end")]
    )  # a lone one stands at the left
    for (x, anchor), (words, size, ink, font) in zip(places, foots, strict=False):
        drawn.append(_text(x, foot, words, size=size, color=ink, anchor=anchor, font=font))
    return "".join(drawn) + "</g>"


def _wire(way: str, arrow: bool, color: str, dashed: bool) -> str:
    points = [tuple(map(float, corner.split(","))) for corner in way.split()]
    (x0, y0), (x, y) = points[-2:]
    dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
    head = ""
    if arrow:  # the line stops inside its head, so that the point stays sharp
        points[-1] = (x - 5 * dx, y - 5 * dy)
        (a, b), (c, d) = (
            (x - 8 * dx + 4 * dy, y - 8 * dy + 4 * dx),
            (x - 8 * dx - 4 * dy, y - 8 * dy - 4 * dx),
        )
        head = f'<path d="M{x:g},{y:g}L{a:g},{b:g}L{c:g},{d:g}Z" fill="{color}"/>'
    line = " ".join(f"{a:g},{b:g}" for a, b in points)
    dash = ' stroke-dasharray="7 4"' if dashed else ""
    # The wide line in the ground's colour lets a wire pass over another.
    return (f'<polyline points="{line}" fill="none" stroke="{GROUND}" stroke-width="7"/>'
            f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.6"{dash}/>{head}')  # fmt: skip


def _views(lit: bool) -> str:
    """The five pairs inside the contrastive box."""
    color, ink = (PARTS["decoder"][0], INK) if lit else (PALE_LINE, PALE_INK)
    names = list(VIEWS)
    drawn = []
    for a, b in ((a, b) for i, a in enumerate(names) for b in names[i + 1 :] if {a, b} != UNPAIRED):
        (x1, y1), (x2, y2) = VIEWS[a], VIEWS[b]
        drawn.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{color}" stroke-width="2"/>'
        )
    for name, (x, y) in VIEWS.items():
        drawn.append(
            f'<rect x="{x - 24}" y="{y - 13}" width="48" height="26" rx="13" fill="#fff" stroke="{color}"/>'
        )
        drawn.append(_text(x, y + 4, name, color=ink, anchor="middle"))
    return "".join(drawn)
