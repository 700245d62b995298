"""Readers of files that people bring, good files to begin from, and what may come of a bad one.

Whatever bytes a file holds, a reader gives a correct result or raises a `CtsmError` that names
the file. `attempt` checks this. It also checks that no input takes 5 seconds of processor time,
fills a gigabyte of memory, or writes a file elsewhere.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

from ctsm_lib.checkpoint import load_weights
from ctsm_lib.config import Config, preset
from ctsm_lib.corpus import SPECIALS, Vocabulary, prepare_corpus
from ctsm_lib.dialogues import COLUMNS, EMOTIONS, read_dialogues
from ctsm_lib.errors import CtsmError, RunError
from ctsm_lib.lexicon import read_lexicon
from ctsm_lib.run_folder import create_run, read_run
from ctsm_lib.vectors import read_glove
from ctsm_workbench.judging.files import (
    Item,
    Sheet,
    read_answers,
    read_key,
    read_sheet,
    sheet_number,
    write_answers,
    write_key,
    write_sheet,
)
from ctsm_workbench.retrieval.vector_archives import exact_share, read_npz
from ctsm_workbench.running.checkpoints import load_checkpoint, save_checkpoint
from ctsm_workbench.running.log import read_log
from ctsm_workbench.study.evaluation import response_scores
from ctsm_workbench.study.responses import read_responses

DIM = 3
WORDS = Vocabulary([*SPECIALS, "sad", "glad", "i", ".", *EMOTIONS[:5]])
SECONDS, BYTES = 5.0, 1 << 30
# Inputs that have broken readers elsewhere: numbers at the ends of their ranges, byte order marks,
# deep nesting, other file formats.
TOKENS = [
    b"nan", b"-inf", b"1e999", b"-1", b"99999999999999999999", b"1" * 5000,
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r\n", b'"', b"'", b",", b"\t",
    b"[" * 3000, b'{"a":' * 3000, b"\\ud800", b"../../outside", b"/etc/passwd", b"null", b"true",
    b"{}", b"[]", b"\x80\x04\x95", b"PK\x03\x04", b"_comma_", b"<pad>", b"\xe2\x80\xa8", b"=1+1",
    b"0" * 300, b" " * 300,
]  # fmt: skip


class Hang(BaseException):
    """A reader that does not come back; no `except Exception` may catch it."""


@dataclass(frozen=True)
class Target:
    """A reader: where its file lies in a folder, what good files hold, how they are read."""

    file: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], None]


# ------------------------------------------------------------------------------------------ readers


def small_model() -> nn.Module:
    """A model with two matrices of one shape, so that they can change places."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(DIM, DIM), nn.LayerNorm(DIM), nn.Linear(DIM, DIM))


@cache
def run_files() -> dict[str, bytes]:
    """The files of a run folder with one checkpoint, by their place in it."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name) / "run", small_model()
        create_run(folder, preset("sample"), WORDS, {"data": "sample", "knowledge": "none"})
        (folder / "log.jsonl").write_text(
            '{"iteration": 1, "total": 3.5}\n{"iteration": 2, "dev_acc": 1}\n'
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        model(torch.ones(1, DIM)).sum().backward()
        optimizer.step()
        window = {"names": ["total"], "rows": [[1.5], [2.5]]}
        best = {"ppl_token": 9.5, "iteration": 2}
        state = {"best": best, "bad_checks": 0, "seconds": 1.0, "finished": False, "window": window}
        save_checkpoint(folder, 2, model, optimizer, state)
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }


def _restore(folder: Path, but: Path) -> Path:
    """A run folder of good files in which `but` stays as it is."""
    for name, content in run_files().items():
        path = folder / name
        if path != but and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


def _dialogues(path: Path) -> None:
    dialogues, _ = read_dialogues(path)
    assert dialogues and all(d.emotion in EMOTIONS and d.turns for d in dialogues)


def _corpus(path: Path) -> None:
    for split in ("valid", "test"):
        if not (other := path.with_name(f"{split}.csv")).exists():
            other.write_bytes(dialogues_csv())
    corpus = prepare_corpus(path.parent, path.parent / "cache" / str(os.getpid()), workers=1)
    assert np.isfinite(corpus.idf).all() and corpus.target_counts.min() >= 0


def _lexicon(path: Path) -> None:
    vad, rated = read_lexicon(path).table(WORDS)
    assert vad.min() >= 0 and vad.max() <= 1 and rated.dtype == bool


def _glove(path: Path) -> None:
    matrix, kind = read_glove(path, WORDS, DIM)
    assert np.isfinite(matrix).all() and not matrix[kind < 0].any()


def _npz(path: Path) -> None:
    matrix, kind = read_npz(path, WORDS, DIM)
    assert np.isfinite(matrix).all() and not matrix[kind < 0].any()
    assert 0 <= exact_share(path) <= 1


def _responses(path: Path) -> None:
    responses, references = read_responses(path)
    scores = response_scores(responses, references)
    assert scores["n"] == len(responses)
    json.dumps(scores, allow_nan=False)


SHEET_ITEMS = (
    Item("one", ("i am sad .", "why ?", "my cat ."), "oh .", "so sad"),
    Item("two", ("hi",), "=1+1", "'x"),
)
PAYLOAD = {"items": {"one": {"A": "x", "B": "y"}}, "seed": 0}
SHEET = Sheet(sheet_number(SHEET_ITEMS, PAYLOAD), SHEET_ITEMS)


def _answers(path: Path) -> None:
    answers, lines = read_answers(path, SHEET)
    assert set(answers.values()) <= {"A", "tie", "B"} and set(lines) <= {"one", "two"}


def _key(path: Path) -> None:
    assert read_key(path, SHEET) == PAYLOAD


def _run(path: Path) -> None:
    config, _, description = read_run(_restore(path.parent, path))
    assert Config.from_dict(config.asdict()) == config and isinstance(description, dict)


def _log(path: Path) -> None:
    assert all(isinstance(record, dict) for record in read_log(path.parent))


def _weights(path: Path) -> None:
    model = small_model()
    load_weights(path, model)
    good = small_model()
    load_weights(
        _restore(path.parent.parent / "good", path) / "checkpoint-000002" / "model.safetensors",
        good,
    )
    same = zip(model.state_dict().values(), good.state_dict().values(), strict=True)
    assert all(torch.equal(one, two) for one, two in same), (
        "other weights were taken for the run's own"
    )


def _checkpoint(path: Path) -> None:
    folder = _restore(path.parent.parent, path)
    model = small_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    state = load_checkpoint(folder / "checkpoint-000002", model, optimizer)
    assert state["iteration"] == 2
    model(torch.ones(1, DIM)).sum().backward()
    optimizer.step()
    assert all(torch.isfinite(weights).all() for weights in model.parameters())


def _settings(path: Path) -> None:
    text = path.read_bytes().decode(errors="surrogateescape")
    try:
        config = preset("sample", text.split("\n"))
    except CtsmError as error:
        raise RunError(f"{path}: {error}") from error  # no file: it names the setting
    assert Config.from_dict(json.loads(json.dumps(config.asdict()))) == config


# -------------------------------------------------------------------------------------------- seeds


def dialogues_csv() -> bytes:
    """Two dialogues in the official layout."""
    rows = [",".join(COLUMNS)]
    for name, emotion, turns in (("hit:0_conv:1", "sad", 4), ("hit:0_conv:2", "proud", 2)):
        texts = [
            "i lost my cat_comma_ yesterday .",
            "oh no !",
            "it's sad , really",
            "it will come back .",
        ][:turns]
        rows += [
            f"{name},{i},{emotion},my cat,{i % 2},{text},5|5|5_5|5|5,"
            for i, text in enumerate(texts, start=1)
        ]
    return ("\n".join(rows) + "\n").encode()


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """An `.npz` of arrays."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _npz_seeds() -> list[bytes]:
    words, vectors = np.array(["sad", "glad", "x"]), np.arange(9, dtype=np.float32).reshape(3, DIM)
    return [
        npz_bytes(words=words, vectors=vectors),
        npz_bytes(words=words, vectors=vectors, kind=np.array([0, 1, 2])),
    ]


def _judging(file: str) -> list[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sheet(folder, SHEET)
        write_key(folder / "key.json", SHEET.number, PAYLOAD)
        write_answers(
            folder / "eva.csv", SHEET, {("one", "empathy"): "A", ("two", "fluency"): "tie"}
        )
        return [(folder / file).read_bytes()]


RATINGS = b"Word\tValence\tArousal\tDominance\nsad\t0.1\t0.3\t0.2\nglad\t0.9\t0.5\t0.7\n"
ANSWERS = (
    b'{"response": "i am sad .", "reference": "oh no"}\n{"response": "", "reference": "why ?"}\n'
)
SETTINGS = b"dim=48\nheads=4\ndropout=0.1\ntrait=false\nfusion=joint\nseed=7\nmodel=moel"
TARGETS: dict[str, Target] = {
    "dialogues": Target("train.csv", lambda: [dialogues_csv()], _dialogues),
    "corpus": Target("train.csv", lambda: [dialogues_csv()], _corpus),
    "lexicon": Target(
        "words.txt",
        lambda: [RATINGS, RATINGS.replace(b"0.1", b"-0.1"), b"# a note\n" + RATINGS],
        _lexicon,
    ),
    "vectors as text": Target(
        "v.txt", lambda: [b"sad 1 2 3\nglad 0.5 -1 2e-3\n", b"2 3\r\nsad 1 2 3\r\n"], _glove
    ),
    "vectors as npz": Target("v.npz", _npz_seeds, _npz),
    "answers": Target("answers.jsonl", lambda: [ANSWERS], _responses),
    "judging sheet": Target(
        "sheet.csv", lambda: _judging("sheet.csv"), lambda path: void(read_sheet(path.parent))
    ),
    "judgements": Target("eva.csv", lambda: _judging("eva.csv"), _answers),
    "judging key": Target("key.json", lambda: _judging("key.json"), _key),
    "run.json": Target("run.json", lambda: [run_files()["run.json"]], _run),
    "vocabulary.json": Target("vocabulary.json", lambda: [run_files()["vocabulary.json"]], _run),
    "log.jsonl": Target("log.jsonl", lambda: [run_files()["log.jsonl"]], _log),
    "settings": Target("settings", lambda: [SETTINGS], _settings),
}
for _name, _read in (("model", _weights), ("optimizer", _checkpoint), ("random", _checkpoint)):
    _file = f"checkpoint-000002/{_name}.safetensors"
    TARGETS[f"{_name}.safetensors"] = Target(_file, lambda file=_file: [run_files()[file]], _read)  # type: ignore[misc]
_file = "checkpoint-000002/state.json"
TARGETS["state.json"] = Target(
    _file, lambda: [run_files()["checkpoint-000002/state.json"]], _checkpoint
)


def void(_: object) -> None:
    """Nothing is to be checked of a result."""


def tensors_bytes(
    tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> bytes:
    """A safetensors file."""
    return safetensors_bytes(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, metadata
    )


# ----------------------------------------------------------------------------------------- attempts


def mutated(seeds: list[bytes], chance: random.Random) -> bytes:
    """A good file with one to four mistakes."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 4)):
        at, other = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
        match chance.randrange(7):
            case 0 if data:
                data[min(at, len(data) - 1)] ^= chance.randint(1, 255)
            case 1:
                del data[at:other]
            case 2:
                del data[at:]
            case 3:
                data[at:at] = data[at:other][:2000]
            case 4:
                data[at:other] = chance.choice(TOKENS)
            case 5:
                data[at:at] = chance.choice(TOKENS)
            case _:
                data[at:at] = chance.randbytes(chance.randint(1, 8))
    return bytes(data)


_inside: str | None = None
_strays: list[str] = []
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _audit(event: str, arguments: tuple) -> None:
    if _inside is None or event not in (
        "open",
        "os.rename",
        "os.mkdir",
        "os.remove",
        "os.symlink",
        "os.link",
    ):
        return
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITES):
        return
    for path in arguments[:2] if event in ("os.rename", "os.symlink", "os.link") else arguments[:1]:
        if isinstance(path, str | bytes | os.PathLike):
            whole = os.path.abspath(os.fsdecode(path))
            if not whole.startswith((_inside, "/dev/")) and "__pycache__" not in whole:
                _strays.append(f"{event} {whole}")


sys.addaudithook(_audit)


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Bounds of time and memory, and no file outside `folder`."""
    global _inside

    def late(*_: object) -> None:
        raise Hang(f"no result after {SECONDS:.0f} seconds")

    before, old = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        signal.signal(signal.SIGPROF, late),
    )
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: a busy machine is no hang
    _inside = str(folder)
    try:
        yield
    finally:
        _inside = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < BYTES, f"{grown:,} bytes more than before"
    strays, _strays[:] = list(_strays), []
    assert not strays, f"written outside the folder: {strays}"


def good_files(target: Target, folder: Path) -> list[bytes]:
    """The files to begin from, each read once.

    No bounds hold here, because a first read also imports modules.
    """
    path, seeds = folder / target.file, target.seeds()
    path.parent.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path.write_bytes(seed)
        target.read(path)
    return seeds


def attempt(target: Target, data: bytes, folder: Path) -> bool:
    """True if the reader accepted these bytes, False if it refused them with a `CtsmError`.

    Any other outcome is raised.
    """
    path = folder / target.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    with guarded(folder):
        try:
            target.read(path)
            return True
        except CtsmError as error:
            said = str(error)
    assert str(folder) in said, f"the message does not name the file: {said}"
    assert len(said) < 20_000, f"a message of {len(said):,} characters"
    return False
