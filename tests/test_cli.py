"""The command line as people use it: output, exit codes, bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ctsm_lib.cli import app, main

runner = CliRunner()
RESULT_KEYS = {
    "acc", "acc_top3", "acc_top5", "macro_f1", "ppl_peer", "ppl_token", "dist1", "dist2", "mean_length",
    "distinct_responses", "bleu", "n", "run",
}  # fmt: skip
RUN_KEYS = {"model", "preset", "seed", "iterations", "data", "vectors", "knowledge", "vocab", "device", "versions"}


def ctsm(*arguments, code=0, **options):
    """Run a command as `main` does, and return what it printed."""
    result = runner.invoke(app, [str(a) for a in arguments], **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def error(monkeypatch, capsys, *arguments) -> str:
    """The one sentence that `main` prints for what users can mend."""
    monkeypatch.setattr(sys, "argv", ["ctsm", *map(str, arguments)])
    monkeypatch.setenv("CTSM_ALLOCATOR", "1")
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


COMMANDS = ["doctor", "train", "evaluate", "score", "respond", "chat", "polarity", "figures", "bench", "data"]


@pytest.mark.parametrize(
    "command",
    [
        *COMMANDS,
        *(f"data {c}" for c in ("fetch", "status", "prepare", "knowledge")),
        *(f"judge {c}" for c in ("make", "serve", "score")),
    ],
)
def test_every_command_has_help(command):
    assert "Usage" in ctsm(*command.split(), "--help")


def test_python_m_runs_the_same_command(tmp_path):
    command = [sys.executable, "-m", "ctsm_lib", "--version"]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=os.environ)
    assert done.stdout.startswith("ctsm-lab ")


def test_data_status_names_every_part():
    parts = json.loads(ctsm("data", "status", "--json"))
    assert parts["data"] == "sample"
    assert {"dialogues", "lexicon", "vectors", "knowledge", "folder"} <= parts.keys()


def test_data_knowledge_says_how_much_is_found_and_shows_cases(tmp_path):
    arguments = ("--cases", tmp_path / "cases.md", "--count", "5", "--json", tmp_path / "k.json", "--quiet")
    result = json.loads(ctsm("data", "knowledge", *arguments))
    assert result == json.loads((tmp_path / "k.json").read_text())
    assert result["n"] == 111
    assert 0 < result["covered"] < 100
    assert result["run"]["knowledge"] == "atomic"
    assert (tmp_path / "cases.md").read_text().count("Verdict:") == 5


def test_evaluate_writes_every_key_and_every_answer(tiny_run, tmp_path):
    output = ctsm(
        "evaluate",
        tiny_run,
        "--json",
        tmp_path / "s.json",
        "--responses",
        tmp_path / "r.jsonl",
        "--quiet",
        "--device",
        "cpu",
    )
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores.keys() >= RESULT_KEYS
    assert scores["run"].keys() >= RUN_KEYS
    assert scores["run"]["data"] == "sample"
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert len(rows) == scores["n"] == 111
    assert rows[0].keys() == {"emotion", "predicted", "context", "response", "reference"}
    assert "ppl_peer" in output
    again = json.loads(ctsm("score", tmp_path / "r.jsonl", "--json"))
    for name in ("dist1", "dist2", "mean_length", "bleu"):
        assert again[name] == pytest.approx(scores[name])


def test_respond_answers_in_json_with_emotions(tiny_run):
    answer = json.loads(ctsm("respond", tiny_run, "My dog died.", "--json"))
    assert isinstance(answer["text"], str)
    probabilities = list(answer["emotions"].values())
    assert len(probabilities) == 5
    assert probabilities == sorted(probabilities, reverse=True)
    assert answer["run"]["preset"] == "sample"


@pytest.mark.parametrize(
    "text",
    [
        "😀😀",
        "!?!?",
        "zzqx vvkw",
        "مرحبا يا صديقي",
        "a\x00b\x07c",
        "word " * 10_000,
        "<script>alert(1)</script>",
        "<pad> <eos>",
    ],
)
def test_strange_text_is_answered(tiny_run, text):
    assert "text" in json.loads(ctsm("respond", tiny_run, text, "--json"))


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\x00"])
def test_empty_text_is_refused(monkeypatch, capsys, tiny_run, text):
    assert "nothing to answer" in error(monkeypatch, capsys, "respond", tiny_run, text)


def test_wrong_types_are_refused(tiny_run):
    from ctsm_lib.errors import DataError
    from ctsm_lib.knowledge import provider_for
    from ctsm_lib.runs import load_run

    with pytest.raises(DataError, match="A turn is text, not int"):
        load_run(tiny_run).respond([[3]], provider_for("none", None))


def test_chat_talks_undoes_saves_and_ends(tiny_run, tmp_path):
    said = f"My dog died.\n/undo\n\n/nonsense\nI got a new job!\n/save {tmp_path / 'talk.json'}\n/new\n/quit\n"
    output = ctsm("chat", tiny_run, input=said)
    assert output.count("ctsm>") == 2
    talk = json.loads((tmp_path / "talk.json").read_text())
    assert talk["turns"][0] == "I got a new job!"
    assert len(talk["turns"]) == 2


def test_chat_ends_at_end_of_input(tiny_run):
    ctsm("chat", tiny_run, input="hello\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["evaluate", "nowhere"], "no run folder nowhere"),
        (["evaluate", "{run}", "--split", "exam"], "no split 'exam'"),
        (["evaluate", "{run}", "--method", "magic"], "method"),
        (["evaluate", "{run}", "--set", "beems=2"], "Did you mean 'beams'"),
        (["respond", "{tmp}", "hi"], "not a run folder"),
        (["respond", "{run}", "hi", "--device", "abacus"], "abacus"),
        (["train", "--out", "{tmp}/r", "--preset", "papper"], "Did you mean 'paper'"),
        (["train", "--out", "{tmp}/r", "--set", "dropuot=1"], "Did you mean 'dropout'"),
        (["train", "--out", "{run}"], "--resume"),
        (["train", "--out", "{tmp}/r", "--resume"], "no run folder"),
        (["train", "--out", "{tmp}/r", "--vectors", "{tmp}/v.txt"], "no such file"),
        (["score", "{tmp}/none.jsonl"], "is missing"),
        (["score", "{tmp}/bad.jsonl"], "bad.jsonl:2: "),
        (["figures", "fig99"], "no figure 'fig99'"),
        (["data", "knowledge", "--count", "0", "--quiet"], "--count 0"),
        (["data", "knowledge", "--cases", "{tmp}/bad.jsonl", "--quiet"], "verdicts may be in it"),
        (["data", "knowledge", "--split", "exam"], "no split 'exam'"),
        (["data", "fetch", "--part", "moon", "--out", "{tmp}/d"], "moon"),
    ],
)
def test_bad_input_is_one_sentence_with_exit_code_1(monkeypatch, capsys, tiny_run, tmp_path, arguments, reason):
    (tmp_path / "bad.jsonl").write_text('{"response": "a"}\n{"answer": 3}\n')
    filled = [a.replace("{run}", str(tiny_run)).replace("{tmp}", str(tmp_path)) for a in arguments]
    assert reason in error(monkeypatch, capsys, *filled)


def test_an_incomplete_data_folder_is_named_and_never_filled_from_the_sample(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("CTSM_DATA", str(tmp_path))
    message = error(monkeypatch, capsys, "data", "status")
    assert "empatheticdialogues/train.csv" in message
    assert "NRC-VAD-Lexicon.txt" in message
    monkeypatch.setenv("CTSM_DATA", str(tmp_path / "none"))
    assert "does not exist" in error(monkeypatch, capsys, "data", "status")


def test_a_run_moved_elsewhere_answers_without_any_data(tiny_run, tmp_path, monkeypatch):
    import shutil

    moved = tmp_path / "elsewhere"
    shutil.copytree(tiny_run, moved)
    monkeypatch.setenv("CTSM_DATA", str(tmp_path / "none"))
    answer = json.loads(ctsm("respond", moved, "I lost my keys.", "--json"))
    assert any("without commonsense" in note for note in answer["notes"])
    assert answer["run"]["knowledge"] == "none"


def test_a_run_is_not_scored_on_other_data(monkeypatch, capsys, tiny_run, tmp_path, sample_sources):
    import shutil

    other = tmp_path / "data"
    shutil.copytree(sample_sources.root, other)
    train = other / "empatheticdialogues" / "train.csv"
    train.write_text(train.read_text().replace(" the ", " zhe "))
    monkeypatch.setenv("CTSM_DATA", str(other))
    assert "trained on other data" in error(monkeypatch, capsys, "evaluate", tiny_run, "--quiet")
