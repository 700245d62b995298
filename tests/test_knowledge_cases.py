"""Coverage of commonsense, and the file in which people judge it."""

import pytest

from ctsm_lib.errors import DataError
from ctsm_lib.knowledge import RELATIONS, empty_inference
from ctsm_workbench.retrieval.cases import coverage, write_cases

TEXTS = [
    f"this is utterance number {i} of several, and it says a little more than twelve words"
    for i in range(30)
]
FOUND = [
    empty_inference() | ({"xReact": ["sad", "alone"]} if i % 3 == 0 else {}) for i in range(30)
]


def test_coverage_counts_utterances_and_phrases():
    found = [
        empty_inference() | {"xReact": ["sad", "alone"], "xWant": ["cry"]},
        empty_inference() | {"xReact": ["glad"]},
        empty_inference(),
        empty_inference(),
    ]
    result = coverage(found)
    assert (result["n"], result["covered"], result["phrases"]) == (4, 50, 1)
    assert result["relations"] == dict.fromkeys(RELATIONS, 0) | {"xReact": 50, "xWant": 25}


def test_coverage_of_nothing_is_nothing():
    assert coverage([])["covered"] == 0


def test_cases_are_seeded_short_and_have_room_for_a_verdict(tmp_path):
    paths = [tmp_path / name for name in ("a.md", "b.md", "c.md")]
    for path, seed in zip(paths, (0, 0, 1), strict=True):
        write_cases(path, TEXTS, FOUND, "how it was made", count=20, seed=seed)
    first, again, other = (path.read_text() for path in paths)
    assert first == again != other
    assert first.count("Verdict:") == 20
    quoted = [line.split("“")[1] for line in first.splitlines() if "“" in line]
    assert all(len(line.split()) == 13 and line.startswith("... ") for line in quoted)
    assert 0 < first.count("- feels: sad; alone") == 20 - first.count("- nothing found") < 20
    assert "how it was made" in first


def test_verdicts_are_not_overwritten(tmp_path):
    write_cases(tmp_path / "a.md", TEXTS, FOUND, "")
    with pytest.raises(DataError, match="verdicts may be in it"):
        write_cases(tmp_path / "a.md", TEXTS, FOUND, "")


def test_fewer_utterances_than_cases(tmp_path):
    write_cases(tmp_path / "a.md", TEXTS[:3], FOUND[:3], "", count=20)
    assert (tmp_path / "a.md").read_text().count("Verdict:") == 3
