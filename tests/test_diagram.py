"""Figure 2: a valid, stable picture without collisions; it names real modules and lights parts."""

from __future__ import annotations

import html
import logging
import re
import shutil
import xml.etree.ElementTree as ET
from base64 import b64decode
from itertools import combinations, pairwise
from pathlib import Path

import pytest

import ctsm_lib
from ctsm_lib.errors import ConfigError
from ctsm_lib.model.contrast import POSITIVE_PAIRS
from ctsm_workbench.pictures import diagram
from ctsm_workbench.pictures.diagram import HEIGHT, PARTS, WIDTH, Diagram, write_diagram

SVG = "{http://www.w3.org/2000/svg}"
LIBRARY = Path(ctsm_lib.__file__).parent
NARROW = "fijlrtI.,:;[] "
Point = tuple[float, float]
Rectangle = tuple[float, float, float, float]  # left, top, right, bottom


def architecture(lit: str = "") -> str:
    return Diagram(lit)._repr_svg_()


def tree(lit: str = "") -> ET.Element:
    return ET.fromstring(architecture(lit))


def words(element: ET.Element) -> str:
    return "".join(element.itertext())


def rectangle(element: ET.Element) -> Rectangle:
    x, y, width, height = (
        float(element.get(name, "nan")) for name in ("x", "y", "width", "height")
    )
    return x, y, x + width, y + height


def extent(text: ET.Element) -> Rectangle:
    """The place of a text, estimated by characters for DejaVu Sans, the widest usual font."""
    size = float(text.get("font-size", "nan"))
    wide = 0.66 if text.get("font-weight") else 0.6
    spans = list(text) or [text]
    width = 0.0
    for span in spans:
        letters = span.text or ""
        narrow = 0 if text.get("font-family") else sum(letter in NARROW for letter in letters)
        capitals = (
            0
            if text.get("font-family")
            else sum(letter.isupper() and letter != "I" for letter in letters)
        )
        width += (
            wide
            * float(span.get("font-size", size))
            * (len(letters) - 0.4 * narrow + 0.2 * capitals)
        )
    x, y = float(text.get("x", "nan")), float(text.get("y", "nan"))
    left = x - {"start": 0, "middle": width / 2, "end": width}[text.get("text-anchor", "start")]
    return left, y - 0.75 * size, left + width, y + 0.2 * size


class Box:
    """A step of the picture, read from its group."""

    def __init__(self, group: ET.Element):
        self.part = group.get("data-part")
        self.frame = rectangle(group[0])
        self.color = group[0].get("stroke", "")
        self.tint = group[0].get("fill", "")
        texts = group.findall(f"{SVG}text")
        self.title = words(texts[0])
        self.loss = "".join(words(text) for text in texts if text.get("fill") == "#ffffff")
        self.text = [words(text) for text in texts[1:]]
        names = [text for text in texts if text.get("font-family")]
        self.modules = [name for text in names for name in words(text).split(", ")]


class Wire:
    """A wire, read from its group: the boxes it joins, its corners, and whether it is an arrow."""

    def __init__(self, group: ET.Element):
        self.source = group.get("data-from", "").split()
        self.target = group.get("data-to", "").split()
        line = group.find(f"{SVG}polyline[2]")
        assert line is not None
        self.corners = [point(corner) for corner in line.get("points", "").split()]
        head = group.find(f"{SVG}path")
        self.arrow = head is not None
        if head is not None:  # the line ends inside the head, which ends at the box
            self.corners[-1] = point(head.get("d", "").removeprefix("M").partition("L")[0])


def point(text: str) -> Point:
    x, y = map(float, text.split(","))
    return x, y


def boxes(root: ET.Element) -> dict[str, ET.Element]:
    return {key: group for group in root.iter(f"{SVG}g") if (key := group.get("data-box"))}


BOXES = {key: Box(group) for key, group in boxes(tree()).items()}
WIRES = [Wire(group) for group in tree().iterfind(f"{SVG}g[@data-layer='wires']/{SVG}g")]
JOINTS = {
    (float(dot.get("cx", "nan")), float(dot.get("cy", "nan")))
    for dot in tree().iter(f"{SVG}circle")
}
VIEWS = {name: group for group in tree().iter(f"{SVG}g") if (name := group.get("data-view"))}


def overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def within(a: Rectangle, b: Rectangle) -> bool:
    return b[0] <= a[0] and b[1] <= a[1] and a[2] <= b[2] and a[3] <= b[3]


def segments() -> list[tuple[list[str], Rectangle]]:
    """Straight pieces of all wires, as thick as they are drawn, with the boxes that they join."""
    found = []
    for wire in WIRES:
        for (x0, y0), (x1, y1) in pairwise(wire.corners):
            piece = (min(x0, x1) - 0.8, min(y0, y1) - 0.8, max(x0, x1) + 0.8, max(y0, y1) + 0.8)
            found.append((wire.source + wire.target, piece))
    return found


# --- the file -------------------------------------------------------------------------------------


def test_it_stands_alone() -> None:
    """Valid XML that refers to nothing outside, as offline pages and image viewers need it."""
    root = tree()
    assert root.tag == f"{SVG}svg" and root.get("role") == "img"
    assert root.get("viewBox") == f"0 0 {WIDTH} {HEIGHT}" and root.get("width") == str(WIDTH)
    assert "http" not in architecture().replace("http://www.w3.org/2000/svg", "")
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "title", "desc", "g", "rect", "text", "tspan", "polyline", "path", "circle", "line"
    }  # fmt: skip


def test_it_is_stable() -> None:
    assert architecture("state") == architecture("state")


def test_nothing_lit_in_particular_is_everything_lit() -> None:
    assert {group.get("class") for group in boxes(tree()).values()} == {"lit"}


def test_the_committed_picture_is_the_one_that_is_drawn() -> None:
    committed = LIBRARY.parent / "figures" / "fig2.svg"
    assert committed.read_text(encoding="utf-8") == architecture(), (
        "refresh it: `ctsm figures fig2`"
    )


@pytest.mark.parametrize("name", ["State", "emotion", "model/emotion", "0"])
def test_an_unknown_name_is_refused_with_those_that_exist(name: str) -> None:
    with pytest.raises(ConfigError, match=repr(name)) as caught:
        Diagram(name)
    assert all(part in str(caught.value) for part in PARTS)


# --- what it says ---------------------------------------------------------------------------------


def test_every_module_on_it_exists() -> None:
    """A module may become a package, and the picture stays right."""
    for key, box in BOXES.items():
        for module in box.modules:
            places = [LIBRARY, LIBRARY.parent / "ctsm_workbench"]
            assert any(
                (place / f"{module}.py").is_file() or (place / module / "__init__.py").is_file()
                for place in places
            ), (key, module)


def test_no_module_of_the_model_is_forgotten() -> None:
    named = {module for box in BOXES.values() for module in box.modules}
    modules = {f"model/{path.stem}" for path in (LIBRARY / "model").glob("[a-z]*.py")}
    assert modules <= named


def test_every_equation_is_on_it() -> None:
    """Eq. 1 to 25, each in the box of the step that it describes."""
    found: set[int] = set()
    for box in BOXES.values():
        for text in box.text:
            if text.startswith("Eq. "):
                for span in text.removeprefix("Eq. ").split(", "):
                    first, _, last = span.partition("–")
                    found |= set(range(int(first), int(last or first) + 1))
    assert found == set(range(1, 26))


def test_every_box_names_its_place_in_the_paper() -> None:
    data_only = {"response", "intensity"}  # no room; their modules' boxes name it
    for key, box in BOXES.items():
        assert (key in data_only) != any(re.match(r"(Eq|Sec)\. \d", text) for text in box.text), key


def test_the_five_pairs_are_the_models() -> None:
    """All pairs of the four views but one are drawn; the loss has the same."""
    symbols = {"target": "HY", "emotion": "Hts", "context": "HCstu", "generated": "Pw"}
    assert {name: words(group).strip() for name, group in VIEWS.items()} == symbols
    middles = {}
    for name, group in VIEWS.items():
        left, top, right, bottom = rectangle(group[0])
        middles[(left + right) / 2, (top + bottom) / 2] = name
    drawn = []
    for line in tree().iter(f"{SVG}line"):
        x1, y1, x2, y2 = (float(line.get(end, "nan")) for end in ("x1", "y1", "x2", "y2"))
        drawn.append(frozenset((middles[x1, y1], middles[x2, y2])))
    assert len(drawn) == len(set(drawn)) == 5
    assert set(drawn) == {frozenset(pair) for pair in POSITIVE_PAIRS}


def test_each_summand_of_the_total_is_taken_somewhere() -> None:
    total = set(re.findall(r"L\w+", BOXES["total"].text[0]))
    assert len(total) == 5
    assert {box.loss for box in BOXES.values() if box.loss} == total


# --- what is lit ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARTS)
def test_a_name_lights_its_own_boxes_only(name: str) -> None:
    drawn = boxes(tree(name))
    lit = {key for key, group in drawn.items() if group.get("class") == "lit"}
    assert lit and lit == {key for key, box in BOXES.items() if box.part == name}
    assert drawn.keys() == BOXES.keys()
    for key, group in drawn.items():
        fill = next(group.iter(f"{SVG}rect")).get("fill")
        assert (fill == "#ffffff") == (key not in lit)


@pytest.mark.parametrize("name", PARTS)
def test_alternative_text_names_what_is_lit(name: str) -> None:
    text = repr(Diagram(name))
    described = tree(name).find(f"{SVG}desc")
    assert described is not None and described.text == text
    lit = text.partition("Lit: ")[2]
    for box in BOXES.values():
        assert (box.title in lit) == (box.part == name)
    assert not re.search(r"[{}<>]", text)


def test_title_and_description_are_found_by_their_ids_and_differ_between_pictures() -> None:
    ids = set()
    for name in ("", *PARTS):
        root = tree(name)
        labels = (root.get("aria-labelledby") or "").split()
        assert [element.get("id") for element in (root[0], root[1])] == labels
        ids |= set(labels)
    assert len(ids) == 2 * (len(PARTS) + 1)


def test_a_notebook_shows_it() -> None:
    shown = Diagram("guidance")
    assert shown._repr_svg_() == architecture("guidance")
    page = shown._repr_html_()
    (code,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert b64decode(code).decode() == architecture("guidance")
    (alt,) = re.findall(r'alt="([^"]*)"', page)
    assert html.unescape(alt) == repr(shown)


# --- nothing collides -----------------------------------------------------------------------------


def test_no_box_overlaps_another_or_leaves_the_picture() -> None:
    places = {key: box.frame for key, box in BOXES.items()}
    for (a, first), (b, second) in combinations(places.items(), 2):
        assert not overlap(first, second), (a, b)
    assert all(within(place, (10, 10, WIDTH - 10, HEIGHT - 10)) for place in places.values())


def test_every_text_fits_its_box() -> None:
    for key, group in boxes(tree()).items():
        frame = rectangle(next(group.iter(f"{SVG}rect")))
        for text in group.iter(f"{SVG}text"):
            assert within(extent(text), frame), (key, "".join(text.itertext()))


def test_no_text_runs_into_another() -> None:
    texts = [("".join(text.itertext()), extent(text)) for text in tree().iter(f"{SVG}text")]
    for (a, first), (b, second) in combinations(texts, 2):
        assert not overlap(first, second), (a, b)


def test_no_wire_crosses_a_text() -> None:
    for text in tree().iter(f"{SVG}text"):
        for ends, piece in segments():
            assert not overlap(extent(text), piece), (ends, "".join(text.itertext()))


def test_no_wire_runs_through_a_box() -> None:
    """Wires touch borders only, also those of the boxes they join."""
    for ends, piece in segments():
        for key, box in BOXES.items():
            left, top, right, bottom = box.frame
            inner = (left + 1, top + 1, right - 1, bottom - 1)
            assert not overlap(inner, piece), (ends, key)


def test_wires_begin_at_a_box_or_joint_and_arrows_end_at_their_box() -> None:
    def touches(corner: Point, key: str) -> bool:
        x, y = corner
        left, top, right, bottom = BOXES[key].frame
        across, down = left <= x <= right, top <= y <= bottom
        return (across and y in (top, bottom)) or (down and x in (left, right))

    for wire in WIRES:
        first, last = wire.corners[0], wire.corners[-1]
        assert first in JOINTS or any(touches(first, key) for key in wire.source), wire.corners
        if wire.arrow:
            assert any(touches(last, key) for key in wire.target), wire.corners
        else:
            assert last in JOINTS, wire.corners


def test_every_step_is_reached_from_the_data() -> None:
    """Follow the wires from the files; the total loss and two boxes of the last row stand apart."""
    reached = {"dialogue", "vectors", "lexicon", "response", "intensity"}
    for _ in BOXES:
        for wire in WIRES:
            if reached & set(wire.source):
                reached |= set(wire.target)
    assert set(BOXES) - reached == {"total", "polarity", "baselines"}


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str) -> float:
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("part", PARTS)
def test_text_is_legible_lit_and_pale(part: str) -> None:
    """WCAG's 4.5 for text; the picture has its own ground, whatever colour the page has."""
    for box in BOXES.values():
        if box.part == part:
            assert contrast(box.color, box.tint) >= 4.5 and contrast(diagram.INK, box.tint) >= 7
            assert contrast("#ffffff", box.color) >= 4.5  # the names of losses
            assert box.tint != "#ffffff"
    assert (
        contrast(diagram.PALE_INK, "#ffffff") >= 4.5
        and contrast(diagram.PALE_INK, diagram.GROUND) >= 4.5
    )


# --- files ----------------------------------------------------------------------------------------


def test_without_a_browser_there_is_the_svg_and_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/no/such/chromium")
    with caplog.at_level(logging.WARNING, logger="ctsm_workbench"):
        written = write_diagram(tmp_path / "new" / "folder")
    assert [path.name for path in written] == ["fig2.svg"]
    assert written[0].read_text(encoding="utf-8") == architecture()
    (message,) = own_messages(caplog)
    assert message.startswith("fig2 has no new PNG, ") and "BROWSER_PATH" in message


def own_messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("ctsm_workbench")]


def test_a_browser_that_fails_costs_the_png_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "browser"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(broken))
    with caplog.at_level(logging.WARNING, logger="ctsm_workbench"):
        written = write_diagram(tmp_path / "out")
    assert [path.name for path in written] == ["fig2.svg"] and len(own_messages(caplog)) == 1


def test_with_a_browser_there_is_a_png_at_twice_the_size(tmp_path: Path) -> None:
    if not any(
        shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
    ):
        pytest.skip("no Chromium or Chrome here; CI has one")
    pytest.importorskip("kaleido")
    png = write_diagram(tmp_path)[1]
    header = png.read_bytes()[:24]
    assert header.startswith(b"\x89PNG\r\n\x1a\n")
    assert (int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")) == (
        2 * WIDTH,
        2 * HEIGHT,
    )
