"""Numbers in the README's tables are those of the files that it links."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ctsm_workbench.study.comparison.published import ROWS, SCORES

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "figures" / "results"
COLUMNS = ("acc", "ppl_peer", "ppl_token", "dist1", "dist2", "mean_length", "distinct_responses")


def rows_of(head: str) -> dict[str, list[str]]:
    """Cells by first cell of the README's table whose head begins so."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(head))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[first] = cells
    return rows


def numbers(cell: str) -> list[str]:
    return [text.replace(",", "") for text in re.findall(r"\d[\d,]*(?:\.\d+)?", cell)]


def mean(runs: list[dict], score: str) -> float:
    return sum(run[score] for run in runs) / len(runs)


def close(cell: str, *expected: float | None) -> None:
    """A cell holds these values, rounded as it rounds them; `-` holds none."""
    wanted = [value for value in expected if value is not None]
    assert len(numbers(cell)) == len(wanted), (cell, wanted)
    for text, value in zip(numbers(cell), wanted, strict=True):
        digits = len(text.partition(".")[2])
        assert abs(float(text) - value) <= 0.5001 * 10**-digits, (cell, wanted)


@pytest.mark.parametrize(
    ("name", "file"),
    [("preset `improved`", "improved_test.json"), ("preset `paper`", "paper_test.json")],
)
def test_single_runs(name: str, file: str) -> None:
    result = json.loads((RESULTS / file).read_text())
    schedule, seeds, *cells = rows_of("| | iterations x batch")[name]
    assert int(numbers(schedule)[0]) == result["run"]["iterations"] and seeds == "1"
    for cell, score in zip(cells, COLUMNS, strict=True):
        close(cell, result[score])


def test_preset_best() -> None:
    """The mean of the seeds and its interval, from the table that `ctsm compare` wrote."""
    table = json.loads((RESULTS / "best" / "table1.json").read_text())
    (row,) = (row for row in table["rows"] if row["seeds"])
    shown = rows_of("| | iterations x batch")
    schedule, seeds, *cells = shown["preset `best`"]
    assert numbers(schedule) == [str(table["budget"]), str(table["batch_size"])] and int(
        seeds
    ) == len(row["seeds"])
    runs = [
        json.loads(path.read_text())
        for path in sorted((RESULTS / "best" / "comparison").glob("*/ctsm-seed*.json"))
    ]
    assert len(runs) == len(row["seeds"])
    for cell, score in zip(cells, COLUMNS, strict=True):
        close(cell, mean(runs, score))
    intervals = shown["95 % over seeds"][2:]
    for cell, score in zip(intervals, COLUMNS[:5], strict=False):
        close(cell, row["scores"][score]["low"], row["scores"][score]["high"])


def test_a_decoder_that_was_tuned() -> None:
    runs = [
        json.loads(path.read_text())
        for path in sorted((RESULTS / "best" / "unigram_penalty").glob("ctsm-seed*.json"))
    ]
    assert {run["decoding"]["unigram_penalty"] for run in runs} == {0.05} and len(runs) == 3
    cells = rows_of("| | iterations x batch")["`best`, `unigram_penalty=0.05`"][2:]
    for cell, score in zip(cells, COLUMNS, strict=True):
        close(cell, mean(runs, score))


def test_table_1() -> None:
    """Every row: the paper's number, ours with its interval, seeds."""
    table = json.loads((RESULTS / "table1.json").read_text())
    shown = rows_of("| | acc, paper")
    assert list(shown) == [row["name"] for row in table["rows"]]
    for row in table["rows"]:
        cells = dict(
            zip(
                ("acc", "ppl_peer", "dist2"),
                zip(*[iter(shown[row["name"]])] * 2, strict=False),
                strict=True,
            )
        )
        paper = dict(zip(SCORES, ROWS[row["key"]].paper, strict=True))
        for score, (printed, ours) in cells.items():
            close(printed, paper[score])
            value = row["scores"].get(score) or {}
            close(ours, *(value.get(name) for name in ("mean", "low", "high")))
        assert shown[row["name"]][-1] == str(len(row["seeds"]))
