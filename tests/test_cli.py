"""The command line as people use it: output, exit codes, bad input."""

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ctsm_lib.registry import available
from ctsm_lib.settings import AnswerBias
from ctsm_workbench import bench
from ctsm_workbench.cli import COMMANDS as GROUPED
from ctsm_workbench.cli import analysis, app, main
from ctsm_workbench.cli.shared import TEXTS
from ctsm_workbench.downloads import load_registry

runner = CliRunner()
RESULT_KEYS = {
    *("acc", "acc_top3", "acc_top5", "macro_f1", "ppl_peer", "ppl_token", "dist1", "dist2"),
    *("mean_length", "distinct_responses", "bleu", "n", "run"),
}
RUN_KEYS = {
    *("model", "preset", "seed", "iterations", "data", "vectors", "knowledge", "vocab"),
    *("device", "versions"),
}


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


COMMANDS = [
    "doctor",
    "train",
    "evaluate",
    "score",
    "compare",
    "tradeoff",
    "respond",
    "chat",
    "explore",
    "polarity",
    "contextual",
    "figures",
    "bench",
    "data",
]


@pytest.mark.parametrize(
    "command",
    [
        *COMMANDS,
        *(f"data {c}" for c in ("fetch", "status", "prepare", "knowledge", "concepts")),
        *(f"judge {c}" for c in ("make", "serve", "score")),
    ],
)
def test_every_command_has_help(command):
    assert "Usage" in ctsm(*command.split(), "--help")


def test_help_names_all_that_the_code_knows():
    """Texts of options are in `options.toml`: they must name what the modules have."""
    shared = TEXTS["shared"]
    for bias in fields(AnswerBias):
        assert bias.name in shared["decoding"][1]
    for model in available("models"):
        assert model in TEXTS["train"]["model"]
    for name in (*analysis.FROM_DATA, *analysis.FROM_RUN):
        assert name in TEXTS["figures"]["names"]["help"]
    for part in bench.PARTS:
        assert part in TEXTS["bench"]["parts"]
    assert TEXTS["bench"]["quick"][1] == f"Only {', '.join(bench.QUICK)}."
    by_name = [name for name, part in load_registry().items() if part.optional]
    usual = [name for name in load_registry() if name not in by_name]
    expected = f"{', '.join(usual)}; by name only: {', '.join(by_name)}."
    assert TEXTS["data fetch"]["part"] == expected


def test_every_described_option_is_one_of_a_command():
    """A parameter without a text is an error at import; this finds a text without a parameter."""
    named = {
        f"{group} {command.__name__}".strip(): command
        for group, commands in GROUPED.items()
        for command in commands
    }
    used = set()
    for name, command in named.items():
        own = TEXTS.get(name, {}).keys()
        assert own <= command.__annotations__.keys(), name
        used |= command.__annotations__.keys() - own
    assert TEXTS.keys() - named.keys() == {"help", "reports", "allocator", "shared"}
    assert TEXTS["shared"].keys() == used - {"return"}


def test_python_m_runs_the_same_command(tmp_path):
    command = [sys.executable, "-m", "ctsm_lib", "--version"]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=os.environ)
    assert done.stdout.startswith("ctsm-lab ")


def test_python_m_says_in_one_sentence_that_the_workbench_is_missing():
    code = """
import runpy, sys
sys.modules["ctsm_workbench"] = None
runpy.run_module("ctsm_lib", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "ctsm_workbench, which is not installed" in done.stderr


def test_warnings_of_both_packages_are_shown_on_the_command_line():
    code = """
import logging, sys
import ctsm_workbench.cli as cli

names = ("ctsm_lib", "ctsm_workbench")
cli.app = lambda: [logging.getLogger(f"{name}.x").warning(name) for name in names]
sys.argv = ["ctsm", "doctor"]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "WARNING: ctsm_lib\nWARNING: ctsm_workbench\n"


def test_data_status_names_every_part():
    parts = json.loads(ctsm("data", "status", "--json"))
    assert parts["data"] == "sample"
    assert {"dialogues", "lexicon", "vectors", "knowledge", "folder"} <= parts.keys()


def test_data_knowledge_says_how_much_is_found_and_shows_cases(tmp_path):
    arguments = (
        "--cases",
        tmp_path / "cases.md",
        "--count",
        "5",
        "--json",
        tmp_path / "k.json",
        "--quiet",
    )
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
    lines = ["My dog died.", "/undo", "", "/nonsense", "I got a new job!"]
    lines += [f"/save {tmp_path / 'talk.json'}", "/new", "/quit"]
    output = ctsm("chat", tiny_run, input="\n".join(lines) + "\n")
    assert output.count("ctsm>") == 2
    talk = json.loads((tmp_path / "talk.json").read_text())
    assert talk["turns"][0] == "I got a new job!"
    assert len(talk["turns"]) == 2


@pytest.mark.parametrize("model", sorted({*available("models")} - {"ctsm"}))
def test_every_system_answers_and_chats(tiny_config, tiny_prepared, tmp_path, model):
    """After two iterations: an answer as JSON, with the emotions it predicts, and two turns."""
    from ctsm_workbench.running.train import train

    config = replace(
        tiny_config, model=model, max_iterations=2, check_every=2, check_from=2, max_response=4
    )
    train(config, tiny_prepared, tmp_path / "run", cpu=True, progress=False)
    answer = json.loads(ctsm("respond", tmp_path / "run", "My dog died.", "--json"))
    assert len(answer["emotions"]) == (0 if model == "transformer" else 5)
    assert answer["run"]["model"] == model and isinstance(answer["text"], str)
    assert (
        ctsm("chat", tmp_path / "run", input="My dog died.\nI got a new job!\n").count("ctsm>") == 2
    )


def test_chat_ends_at_end_of_input(tiny_run):
    ctsm("chat", tiny_run, input="hello\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["evaluate", "nowhere"], "no run folder nowhere"),
        (["evaluate", "{run}", "--split", "exam"], "no split 'exam'"),
        (["evaluate", "{run}", "--method", "magic"], "method"),
        (["evaluate", "{run}", "--set", "beems=2"], "Did you mean 'beams'"),
        (["chat", "{run}", "--set", "copy_bias=inf"], "a finite number"),
        (["respond", "{tmp}", "hi"], "not a run folder"),
        (["evaluate", "{run}", "--json", "{tmp}"], "is a folder"),
        (["evaluate", "{run}", "--responses", "{tmp}/bad.jsonl/r.jsonl"], "cannot be written"),
        (["evaluate", "{tmp}"], "not a run folder"),
        (["evaluate", "{tmp}/bad.jsonl"], "no run folder"),
        (["chat", "{tmp}/nowhere"], "no run folder"),
        (["chat", "{tmp}"], "not a run folder"),
        (["explore", "{tmp}/nowhere", "--no-browser"], "no run folder"),
        (["respond", "{run}", "hi", "--device", "abacus"], "abacus"),
        (["respond", "{run}", "hi", "--device", "meta"], "cpu, cuda, mps"),
        (
            ["respond", "{run}", "hi", "--method", "nucleus", "--set", "temperature=nan"],
            "a finite number",
        ),
        (["respond", "{run}", "hi", "--set", "seed=-1"], "seed=-1"),
        (["train", "--out", "{tmp}/r", "--seed", "-1"], "seed=-1"),
        (["train", "--out", "{tmp}/r", "--preset", "papper"], "Did you mean 'paper'"),
        (["train", "--out", "{tmp}/r", "--set", "dropuot=1"], "Did you mean 'dropout'"),
        (["train", "--out", "{run}"], "--resume"),
        (["train", "--out", "{tmp}/r", "--resume"], "no run folder"),
        (["train", "--out", "{tmp}/r", "--vectors", "{tmp}/v.txt"], "no such file"),
        (["score", "{tmp}/none.jsonl"], "is missing"),
        (["score", "{tmp}/bad.jsonl"], "bad.jsonl:2: "),
        (["figures", "fig99"], "no figure 'fig99'"),
        (["figures", "fig1"], "add --run"),
        (["figures", "fig1", "--run", "{run}", "--word", "sad"], "needs a --context"),
        (
            ["figures", "fig1", "--run", "{run}", "--word", "zzqx", "--context", "zzqx"],
            "do not include 'zzqx'",
        ),
        (["polarity", "--rule", "threshhold=0.6"], "Did you mean 'threshold'"),
        (["polarity", "--rule", "unrated=neutral"], "not possible"),
        (["contextual", "nowhere"], "no run folder nowhere"),
        (["data", "knowledge", "--count", "0", "--quiet"], "--count 0"),
        (["data", "knowledge", "--cases", "{tmp}/bad.jsonl", "--quiet"], "verdicts may be in it"),
        (["data", "knowledge", "--split", "exam"], "no split 'exam'"),
        (["compare", "--models", "gpt"], "no row 'gpt'"),
        (["compare", "--seeds", "a"], "--seeds a"),
        (["tradeoff", "{tmp}/none", "--copy-bias", "x"], "--copy-bias x"),
        (["compare", "--only-tables", "--out", "{tmp}/none"], "holds no results"),
        (["train", "--model", "gpt", "--out", "{tmp}/run"], "model='gpt'"),
        (["data", "fetch", "--part", "moon", "--out", "{tmp}/d"], "moon"),
    ],
)
def test_bad_input_is_one_sentence_with_exit_code_1(
    monkeypatch, capsys, tiny_run, tmp_path, arguments, reason
):
    (tmp_path / "bad.jsonl").write_text('{"response": "a"}\n{"answer": 3}\n')
    filled = [a.replace("{run}", str(tiny_run)).replace("{tmp}", str(tmp_path)) for a in arguments]
    assert reason in error(monkeypatch, capsys, *filled)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds no response"),
        (b"\n\n", "holds no response"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"[1, 2]", ":1: expected an object"),
        (b'{"response": 3}', ":1: expected an object"),
        (b'{"response": null}', ":1: expected an object"),
        (b'{"response": ["a"]}', ":1: expected an object"),
        (
            b'{"response": "a", "reference": "b"}\n{"response": "a", "reference": 1}',
            ':2: "reference" should be text',
        ),
        (b'{"response": "a"}\n{"response": "a"', ":2: not JSON"),
        (b"[" * 100_000, ":1: not JSON"),
    ],
)
def test_files_of_answers_with_wrong_types_are_refused(
    monkeypatch, capsys, tmp_path, content, reason
):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(content)
    assert reason in error(monkeypatch, capsys, "score", path)


def test_a_folder_is_no_file_of_answers(monkeypatch, capsys, tmp_path):
    assert "cannot be read" in error(monkeypatch, capsys, "score", tmp_path)


@pytest.mark.parametrize("text", ["", "!?", "😀", "مرحبا", "\x00\x07", "word " * 10_000, "\ud800"])
def test_any_text_is_scored(tmp_path, text):
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps({"response": text, "reference": text}) + "\n")
    assert json.loads(ctsm("score", path, "--json"))["n"] == 1


def test_an_unknown_label_is_left_out_and_named(monkeypatch, tmp_path, sample_sources):
    import shutil

    folder = tmp_path / "data"
    shutil.copytree(sample_sources.root, folder)
    train = folder / "empatheticdialogues" / "train.csv"
    lines = train.read_text().splitlines(keepends=True)
    lines[1:5] = [line.replace(",ashamed,", ",bewildered,", 1) for line in lines[1:5]]
    train.write_text("".join(lines))
    monkeypatch.setenv("CTSM_DATA", str(folder))
    assert "train.csv:2: 'bewildered' is not one of the 32 emotions" in ctsm(
        "data", "prepare", "--quiet"
    )


def test_chat_survives_whatever_a_terminal_sends(tiny_run):
    """Bytes that are no UTF-8, control characters, ten thousand words, right to left, nothing."""
    said = (
        b"\xff\xfe hello\n\x00\x07\n\n!?!?\n"
        + b"word " * 10_000
        + "\nمرحبا 😀\n/save\n/save /\n".encode()
    )
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "PYTHONIOENCODING": "ascii",
    }
    command = [sys.executable, "-m", "ctsm_lib", "chat", str(tiny_run)]
    done = subprocess.run(command, input=said, capture_output=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout.count(b"ctsm>") == 4
    assert done.stdout.count(b"nothing to answer") == 1
    assert b"not saved" in done.stdout


def test_an_incomplete_data_folder_is_named_and_never_filled_from_the_sample(
    monkeypatch, capsys, tmp_path
):
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
