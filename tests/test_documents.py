"""The documents fit the project: links, length, and the packages and modules named in them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    "README.md",
    "RESULTS.md",
    "CONTRIBUTING.md",
    "MODEL_CARD.md",
    "MACHINES.md",
    "CHANGELOG.md",
    "data/README.md",
    "data/sample/README.md",
    "notebooks/TEACHING.md",
    "tests/old_runs/README.md",
]


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """The anchors of a Markdown file's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    lower = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in lower}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    folder = (ROOT / document).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(document)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        path = folder / file if file else ROOT / document
        assert path.exists(), f"{document} links to {target}"
        assert not anchor or anchor in anchors(path), f"{document} links to {target}"


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) < 120


@pytest.mark.parametrize("document", DOCUMENTS)
def test_lines_of_prose_have_at_most_100_characters(document: str) -> None:
    """Tables, pictures and commands cannot be wrapped."""
    prose = re.sub(r"^ *```.*?^ *```", "", text_of(document), flags=re.MULTILINE | re.DOTALL)
    long = [line for line in prose.splitlines() if len(line) > 100]
    assert [line for line in long if not line.startswith(("|", "!["))] == []


def name_of(requirement: str) -> str:
    """The package or the own extra that a requirement names."""
    own = re.fullmatch(r"ctsm-lab\[(\w+)\]", requirement)
    return f"`{own[1]}`" if own else re.split(r"[<>=;\s]", requirement)[0]


def table_under(heading: str) -> list[list[str]]:
    """The cells of all tables in a section of CONTRIBUTING.md."""
    section = text_of("CONTRIBUTING.md").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_dependency_has_a_reason() -> None:
    """The two tables list the packages of pyproject.toml, each with its extra."""
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    wanted = {("", name_of(package)) for package in project["dependencies"]}
    for extra, packages in project["optional-dependencies"].items():
        wanted |= {(f"`{extra}`", name_of(package)) for package in packages}
    found = set()
    extra = ""
    for *first, packages, reason in table_under("Dependencies"):
        if reason in ("Why", "---", ""):
            continue
        extra = (first[0] or extra) if first else ""
        found |= {(extra, package) for package in packages.split(", ")}
    assert found == wanted


@pytest.mark.parametrize(
    ("package", "heading"), [("ctsm_lib", "The library"), ("ctsm_workbench", "The workbench")]
)
def test_every_room_has_a_line(package: str, heading: str) -> None:
    """CONTRIBUTING.md names each module and folder of both packages, and no other."""
    section = text_of("CONTRIBUTING.md").split(f"\n### {heading}\n")[1].split("\n#")[0]
    first = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    named = {name.rstrip("/") for cell in first for name in re.findall(r"`([^`]+)`", cell)}
    paths = [path for path in (ROOT / package).iterdir() if not path.name.startswith(("_", "."))]
    rooms = {path.name for path in paths if path.is_dir() or path.suffix == ".py"}
    assert named == rooms
