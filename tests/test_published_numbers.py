"""The numbers in the tables of RESULTS.md and README.md are those of the files that they link."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ctsm_workbench.downloads import load_registry
from ctsm_workbench.pictures import words
from ctsm_workbench.study import contexts, polarity
from ctsm_workbench.study.comparison import ROWS, SCORES, markdown
from ctsm_workbench.study.polarity import standards

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "figures" / "results"
COLUMNS = ("acc", "ppl_peer", "ppl_token", "dist1", "dist2", "mean_length", "distinct_responses")
PRESETS = "| | iterations x batch"
CONTROL = "Transformer + emotion with the extras of `best`"
PATH = re.compile(r"\[.+\]\((figures/[^)]+\.json)\) \| `([^`]+)` \|$")


def rows_of(head: str, number: int = 0, document: str = "RESULTS.md") -> dict[str, list[str]]:
    """The cells of a table's rows by their first cell.

    Args:
        head: the beginning of the table's first line.
        number: of the table, where several begin alike.
    """
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    starts = [line for line, text in enumerate(lines) if text.startswith(head)]
    rows = {}
    for line in lines[starts[number] + 2 :]:
        if not line.startswith("|"):
            break
        first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[first] = cells
    return rows


def numbers(cell: str) -> list[str]:
    return [text.replace(",", "") for text in re.findall(r"\d[\d,]*(?:\.\d+)?", cell)]


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def runs_of(folder: str) -> list[dict]:
    return [load(path) for path in sorted((RESULTS / folder).glob("ctsm-seed*.json"))]


def mean(runs: list[dict], score: str) -> float:
    return sum(run[score] for run in runs) / len(runs)


def close(cell: str, *expected: float | None) -> None:
    """A cell has these values, rounded to its own number of digits; `-` has none."""
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
    result = load(RESULTS / file)
    schedule, seeds, *cells = rows_of(PRESETS)[name]
    assert int(numbers(schedule)[0]) == result["run"]["iterations"]
    assert seeds == "1"
    for cell, score in zip(cells, COLUMNS, strict=True):
        close(cell, result[score])


def test_preset_best() -> None:
    """The mean of the seeds and its interval, from the table that `ctsm compare` wrote."""
    table = load(RESULTS / "best" / "table1.json")
    (row,) = (row for row in table["rows"] if row["key"] == "ctsm")
    shown = rows_of(PRESETS)
    schedule, seeds, *cells = shown["preset `best`"]
    assert numbers(schedule) == [str(table["budget"]), str(table["batch_size"])]
    assert int(seeds) == len(row["seeds"])
    runs = runs_of("best/comparison/best-8625")
    assert len(runs) == len(row["seeds"])
    for cell, score in zip(cells, COLUMNS, strict=True):
        close(cell, mean(runs, score))
    control = load(RESULTS / "best/comparison/best-8625/multi-transformer-seed0.json")
    for cell, score in zip(shown[CONTROL][2:], COLUMNS, strict=True):
        close(cell, control[score])
    intervals = shown["95 % interval"][2:]
    for cell, score in zip(intervals, COLUMNS[:5], strict=False):
        close(cell, row["scores"][score]["low"], row["scores"][score]["high"])


def test_sentences_about_the_control() -> None:
    """What README and RESULTS.md say of CTSM beside a system with the same extras."""
    rows = {row["key"]: row for row in load(RESULTS / "best" / "table1.json")["rows"]}
    against = rows["multi-transformer"]["against_ctsm"]
    assert against["seeds"] == [0]
    assert round(against["acc"]["difference"], 2) == 0.61 and round(against["acc"]["p"], 2) == 0.20
    assert round(against["ppl_peer"]["difference"], 2) == -1.40
    assert against["ppl_peer"]["p_holm"] < 0.001
    scores = {key: rows[key]["scores"] for key in ("ctsm", "multi-transformer")}
    for score, ctsm, control in (("acc", 46.72, 46.11), ("dist2", 8.60, 4.82)):
        assert round(scores["ctsm"][score]["values"][0], 2) == ctsm
        assert round(scores["multi-transformer"][score]["values"][0], 2) == control
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "not clearly more accurate" in readme and "(0.61\npoints with the same seed" in readme


def test_a_decoder_that_was_tuned() -> None:
    runs = runs_of("best/unigram_penalty")
    assert {run["decoding"]["unigram_penalty"] for run in runs} == {0.05}
    assert len(runs) == 3
    cells = rows_of(PRESETS)["`best`, `unigram_penalty=0.05`"][2:]
    for cell, score in zip(cells, COLUMNS, strict=True):
        if score.startswith("ppl"):  # the answers come from another distribution
            assert cell == "-"
        else:
            close(cell, mean(runs, score))


def test_sentences_about_differences() -> None:
    """What RESULTS.md says of significance follows from the corrected p values of the tables."""

    def p(table: str, score: str) -> dict[str, float]:
        rows = load(RESULTS / f"{table}.json")["rows"]
        found = {row["key"]: row.get("against_ctsm", {}).get(score) for row in rows}
        return {key: value["p_holm"] for key, value in found.items() if value}

    accuracy = p("table1", "acc")
    below = {key for key, value in accuracy.items() if value < 0.05}
    assert below == {"multi-transformer", "moel", "mime", "empdg", "cem"}
    assert max(accuracy[key] for key in below) <= 0.0101
    for key, value in (("kemp", 0.52), ("tfidf", 0.50), ("case", 0.73)):
        assert round(accuracy[key], 2) == value
    rows = {row["key"]: row.get("scores", {}) for row in load(RESULTS / "table1.json")["rows"]}
    best = {score: sorted((found[score]["mean"], key) for key, found in rows.items()
                          if found.get(score)) for score in ("acc", "dist2")}  # fmt: skip
    assert best["acc"][-1][1] == "kemp"
    assert {key for _, key in best["dist2"][-3:]} == {"cem", "case", "ctsm"}  # as lesson 09 says
    assert min(p("table3", "acc").values()) >= 0.12
    perplexity = p("table3", "ppl_peer")
    assert {key for key, value in perplexity.items() if value < 0.05} == {
        "wo-see", "wo-egm", "wo-egm-ccl"
    }  # fmt: skip
    assert max(value for value in perplexity.values() if value < 0.05) < 0.011
    rows = {row["key"]: row for row in load(RESULTS / "table3.json")["rows"]}
    worse = {key: -rows[key]["against_ctsm"]["ppl_peer"]["difference"] for key in perplexity}
    assert {key: round(value, 2) for key, value in worse.items()} == {
        "wo-tee": 0.34, "wo-see": 0.7, "wo-egm": -0.54, "wo-ccl": -0.12, "wo-egm-ccl": -1.26
    }  # fmt: skip


@pytest.mark.parametrize(("name", "number"), [("table1", 0), ("table3", 1)])
def test_tables_1_and_3(name: str, number: int) -> None:
    """Every row: the paper's numbers, ours with their intervals, and the seeds."""
    table = load(RESULTS / f"{name}.json")
    shown = rows_of("| | acc, paper", number)
    assert list(shown) == [row["name"] for row in table["rows"]]
    for row in table["rows"]:
        *cells, seeds = shown[row["name"]]
        assert seeds == str(len(row["seeds"]))
        pairs = zip(cells[::2], cells[1::2], strict=True)
        printed = ROWS[row["key"]].paper
        for (paper, ours), score, value in zip(pairs, SCORES, printed, strict=True):
            close(paper, value)
            found = row.get("scores", {}).get(score) or {}
            close(ours, *(found.get(part) for part in ("mean", "low", "high")))


def test_the_small_table_of_the_readme() -> None:
    shown = rows_of("| | acc |", document="README.md")
    runs = {
        "preset `paper`, 1 seed": [load(RESULTS / "paper_test.json")],
        "preset `improved`, 1 seed": [load(RESULTS / "improved_test.json")],
        "preset `best`, mean of 3 seeds": runs_of("best/comparison/best-8625"),
        f"{CONTROL}, 1 seed": [
            load(RESULTS / "best/comparison/best-8625/multi-transformer-seed0.json")
        ],
    }
    assert list(shown) == ["CTSM as printed in the paper", *runs]
    assert len(runs["preset `best`, mean of 3 seeds"]) == 3
    printed = shown.pop("CTSM as printed in the paper")
    for cell, value in zip(printed, ROWS["ctsm"].paper, strict=False):
        close(cell, value)
    for name, cells in shown.items():
        for cell, score in zip(cells, SCORES, strict=False):
            close(cell, mean(runs[name], score))


def value_at(file: str, path: str) -> float:
    """A number of a JSON file by its dotted path, or the length of a list."""
    value = load(ROOT / file)
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return len(value) if isinstance(value, list) else value


def test_numbers_with_a_path() -> None:
    """Each row of RESULTS.md that ends with a JSON file and a path has the number that is there."""
    lines = (ROOT / "RESULTS.md").read_text(encoding="utf-8").splitlines()
    rows = [(line, found) for line in lines if (found := PATH.search(line))]
    assert len(rows) >= 22
    for line, found in rows:
        shown = line[: found.start()].rstrip("| ").split("|")[-1]
        close(shown, value_at(found[1], found[2]))


def test_conclusions_are_worded_as_the_code_words_them() -> None:
    """Sentences that were stored with a result follow from its numbers, in today's words."""
    found = load(ROOT / "figures" / "contextual.json")
    assert found["conclusion"] == contexts._conclusion(found)
    found = load(ROOT / "figures" / "polarity.json")
    assert found["conclusion"] == polarity._conclusion(found)
    assert found["labels_note"] == polarity._labels_note(found["labels"])
    assert found["standards"]["conclusion"] == standards._conclusion(found["standards"])


def test_sentences_with_rounded_numbers() -> None:
    """Ranges in RESULTS.md, MODEL_CARD.md and the lessons, which stand in no table."""
    tables = {name: load(RESULTS / f"{name}.json")["rows"] for name in ("table1", "table3")}
    rows = {row["key"]: row for table in tables.values() for row in table}
    ahead = {k: r["against_ctsm"]["acc"]["difference"] for k, r in rows.items()
             if r.get("against_ctsm", {}).get("acc")}  # fmt: skip
    clear = [ahead[key] for key in ("multi-transformer", "moel", "mime", "empdg", "cem")]
    assert (round(min(clear), 1), round(max(clear), 1)) == (2.0, 3.4)
    close_by = {key: round(ahead[key], 2) for key in ("kemp", "case", "tfidf")}
    assert close_by == {"kemp": -0.67, "case": 0.23, "tfidf": 1.14}
    early = [rows[k]["scores"]["acc"]["mean"] - rows[k]["paper"]["acc"]
             for k in ("moel", "mime", "empdg")]  # fmt: skip
    assert (round(min(early), 1), round(max(early), 1)) == (4.6, 7.3)
    near = [rows[k]["scores"]["ppl_peer"]["mean"]
            for k in ("ctsm", "cem", "empdg", "mime", "multi-transformer")]  # fmt: skip
    assert max(near) / min(near) < 1.02
    parts = [row["key"] for row in tables["table3"] if row["key"] != "ctsm"]
    higher = [-ahead[key] for key in parts]
    assert (round(min(higher), 1), round(max(higher), 1)) == (0.5, 1.3)
    dist = {key: rows[key]["scores"]["dist2"]["mean"] for key in ("ctsm", *parts)}
    falls = [dist["ctsm"] - dist[key] for key in parts if key != "wo-tee"]
    assert (round(min(falls), 2), round(max(falls), 2)) == (0.42, 0.89)
    assert dist["wo-tee"] > dist["ctsm"]
    shown = words._rows(load(ROOT / "figures" / "polarity.json"))
    shares = [row["share"] for row in shown if row["series"] != "chance" and row["share"]]
    assert (round(min(shares)), round(max(shares))) == (9, 74)
    choices = [row["share"] for row in load(ROOT / "figures" / "polarity.json")["choices"]]
    assert (round(min(choices)), round(max(choices))) == (5, 89)
    rate = mean(runs_of("best/comparison/best-8625"), "copy_rate")
    others = [load(RESULTS / f"{name}_test.json")["copy_rate"] for name in ("paper", "improved")]
    copied = [rate / other for other in others]
    assert min(copied) >= 2 and max(copied) < 3.5
    assert (
        round(load(RESULTS / "search.json")["before_they_were_mended_test"]["moel"]["acc"], 2)
        == 39.53
    )
    usual = [part for part in load_registry().values() if not part.optional]
    assert round(sum(part.unpacked for part in usual) / 1e9, 1) == 1.4  # lesson 00


@pytest.mark.parametrize("table", ["table1", "table3", "best/table1"])
def test_tables_in_markdown_are_those_of_their_json(table: str) -> None:
    text = (RESULTS / f"{table}.md").read_text(encoding="utf-8")
    assert text == markdown(load(RESULTS / f"{table}.json"))
