"""Related words from ConceptNet, in the forms that people have."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ctsm_lib.errors import DataError
from ctsm_lib.sources import SAMPLE, find_sources
from ctsm_workbench.cli import app
from ctsm_workbench.retrieval.conceptnet import read_conceptnet, write_conceptnet

TABLE = """split\trelation\thead\ttail
train\tCauses\tstorm\tfear
train\tIsA\tStorm\tdanger
train\tAntonym\tstorm\tcalm
train\tAtLocation\tdog\tlocal park
train\tRelatedTo\tfear\tstorm
train\tRelatedTo\tmother-in-law\tfamily
train\tRelatedTo\tjoy\tjoy
"""
SHORT = "relation\thead\ttail\nCauses\tstorm\tfear\nIsA\tstorm\tdanger\nX\tmother-in-law\tfamily\n"
ASSERTIONS = """\
/a/[/r/Causes/,/c/en/storm/n/,/c/en/fear/]\t/r/Causes\t/c/en/storm/n\t/c/en/fear\t{"weight": 2.0}
/a/[/r/IsA/,/c/en/storm/,/c/en/danger/]\t/r/IsA\t/c/en/storm\t/c/en/danger/n\t{"weight": 1.0}
/a/[/r/Causes/,/c/de/sturm/,/c/en/fear/]\t/r/Causes\t/c/de/sturm\t/c/en/fear\t{"weight": 1.0}
/a/[x]\t/r/RelatedTo\t/c/en/mother-in-law\t/c/en/family\t{"weight": 1.0}
/a/[x]\t/r/Antonym\t/c/en/storm\t/c/en/calm\t{"weight": 1.0}
/a/[x]\t/r/RelatedTo\t/c/en/dog\t/c/en/local_park\t{"weight": 1.0}
/a/[x]\t/r/dbpedia/genre\t/c/en/storm\t/c/en/jazz\t{"weight": 1.0}
"""
RIGHT = {
    "storm": ["fear", "danger"],
    "fear": ["storm"],
    "danger": ["storm"],
    "mother-in-law": ["family"],
    "family": ["mother-in-law"],
}


@pytest.mark.parametrize("text", [TABLE, SHORT, ASSERTIONS, "\ufeff" + TABLE])
@pytest.mark.parametrize("packed", [False, True])
def test_all_forms_give_the_same_words(tmp_path: Path, text: str, packed: bool) -> None:
    """Opposites, phrases, other languages and a word's own self do not count."""
    path = tmp_path / ("concepts.csv.gz" if packed else "concepts.tsv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert read_conceptnet(path) == RIGHT


def test_a_written_table_reads_the_same(tmp_path: Path) -> None:
    source = tmp_path / "assertions.csv"
    source.write_text(ASSERTIONS)
    target = tmp_path / "data" / "conceptnet.tsv"
    # With the opposites and dbpedia, which reading leaves out.
    assert write_conceptnet(source, target) == 5
    assert target.read_text().splitlines()[0] == "relation\thead\ttail"
    assert read_conceptnet(target) == RIGHT


def test_the_command_fills_a_data_folder(tmp_path: Path) -> None:
    """`ctsm data concepts FILE --out FOLDER` writes the file that `find_sources` finds."""
    (tmp_path / "assertions.csv").write_text(ASSERTIONS)
    shutil.copytree(SAMPLE, tmp_path / "data")
    arguments = ["data", "concepts", str(tmp_path / "assertions.csv"), "--out"]
    shown = CliRunner().invoke(app, [*arguments, str(tmp_path / "data")])
    assert shown.exit_code == 0
    assert "5 triples of words" in shown.stdout
    concepts = find_sources(tmp_path / "data").concepts
    assert concepts is not None
    assert read_conceptnet(concepts) == RIGHT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one,two,three\n", "concepts.tsv:1: expected relation, head and tail, found"),
        (TABLE.encode() + b"train\tIsA\n", "concepts.tsv:9: expected relation"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"", "no pair of related English words"),
        (b"relation\thead\ttail\nIsA\tein hund\tein tier\n", "no pair of related English words"),
        (b"IsA\tdog\tanimal\t1.0\n", "concepts.tsv:1: expected relation"),
    ],
)
def test_another_form_is_refused_by_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "concepts.tsv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_conceptnet(path)
    assert "data/README.md" in str(error.value)


def test_a_damaged_packed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "assertions.csv.gz"
    whole = gzip.compress(ASSERTIONS.encode())
    flipped = bytearray(whole)
    flipped[40] ^= 0xFF
    for damaged in (whole[:-20], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read"):
            read_conceptnet(path)
