"""`ctsm judge make` and `ctsm judge score` as people use them; the page has tests of its own."""

from __future__ import annotations

import json

import pytest
from judging_cases import files, judge, prefers, rows, sheet_and_key, write
from test_cli import ctsm, error

from ctsm_workbench.judging import JudgingSession


def test_from_answers_to_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ctsm_workbench.pictures.house.write_stills", lambda *_: []
    )  # a browser draws them, which takes long
    (_, ours), (_, theirs) = files(tmp_path, "improved", "kemp")
    write(theirs, rows("voice1")[:30])
    out = tmp_path / "sheets"
    said = ctsm("judge", "make", ours, f"peer={theirs}", "--out", out, "--items", 12)
    assert (
        "improved: 40 answers, 30 matched by context, 10 unmatched (lines 31, 32, 33, 34, 35, ...)"
        in said
    )
    assert "peer: 30 answers, 30 matched by context, 0 unmatched, 0 left out" in said
    counts = "contexts: 12, comparisons of each: 1, attention checks: 1, emotions: 4"
    assert f"13 rows ({counts})" in said
    assert f"Keep {out / 'key.json'} from the judges." in said
    for name in ("eva", "otto"):
        judge(out, name, prefers("improved"))
    table = ctsm(
        "judge", "score", out, "--out", tmp_path / "table", "--note", "made up", "--draws", 10
    )
    assert "**made up**" in table and "| improved vs. peer | empathy | 100.0 | 0.0 | 0.0 |" in table
    saved = json.loads((tmp_path / "table" / "table2.json").read_text())
    assert saved["note"] == "made up" and len(saved["table"]) == 3
    assert (tmp_path / "table" / "table2.md").read_text() in table


def test_reports_are_json_for_programs(tmp_path):
    named = [path for _, path in files(tmp_path, "ours", "theirs")]
    report = json.loads(
        ctsm(
            "judge",
            "make",
            *named,
            "--out",
            tmp_path / "s",
            "--items",
            4,
            "--key",
            tmp_path / "k",
            "--json",
        )
    )
    assert (
        report["items"] == 4
        and (tmp_path / "k").is_file()
        and not (tmp_path / "s" / "key.json").exists()
    )
    (tmp_path / "k").rename(tmp_path / "s" / "key.json")
    judge(tmp_path / "s", "eva", prefers("ours"))
    result = json.loads(ctsm("judge", "score", tmp_path / "s", "--json"))
    assert result["table"][0]["kappa"]["note"].startswith("one judge")
    assert result["seed"] == {"sheet": 0, "bootstrap": 0} and "statsmodels" in result["versions"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["make", "{a}", "--out", "{out}"], "Two files of answers are needed"),
        (["make", "{a}", "{b}", "--out", "{out}", "--items", "999"], "999 items were asked for"),
        (
            ["make", "{a}", "{b}", "--out", "{out}", "--items", "4", "--checks", "-1"],
            "-1 attention checks cannot be made",
        ),
        (["make", "{a}", "{gone}", "--out", "{out}"], "gone.jsonl is missing"),
        (["score", "{out}"], "sheet.csv is missing"),
        (["serve", "{out}", "--judge", "eva", "--no-browser"], "sheet.csv is missing"),
    ],
)
def test_what_is_refused_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, message):
    paths = {name: path for name, path in files(tmp_path, "a", "b")} | {
        "out": tmp_path / "o",
        "gone": tmp_path / "gone.jsonl",
    }
    said = error(
        monkeypatch, capsys, "judge", *(argument.format(**paths) for argument in arguments)
    )
    assert message in said and said.count("\n") == 1


def test_unfinished_judges_are_named(tmp_path, monkeypatch, capsys):
    named = [path for _, path in files(tmp_path, "ours", "theirs")]
    ctsm("judge", "make", *named, "--out", tmp_path / "s", "--items", 4, "--checks", 0)
    judge(tmp_path / "s", "eva", prefers("ours"))
    session = JudgingSession(tmp_path / "s", "otto")
    session.answer("empathy", "A")
    said = error(monkeypatch, capsys, "judge", "score", tmp_path / "s")
    assert (
        "otto.csv:2: otto has not judged relevance, fluency of q1" in said
        and "--only-complete" in said
    )
    sheet, _ = sheet_and_key(tmp_path / "s")
    assert all(f"of {item.name}" in said for item in sheet.items)
