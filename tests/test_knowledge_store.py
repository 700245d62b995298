"""The cache of commonsense: interruptions, damage, second processes."""

from __future__ import annotations

import logging
import multiprocessing
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ctsm_lib.knowledge import RELATIONS, Inference, provider_for
from ctsm_workbench.retrieval import store
from ctsm_workbench.retrieval.store import infer_cached


class Counting:
    """A provider that keeps the texts that it is asked about."""

    name = "comet"

    def __init__(self, fingerprint: str = "one", fail_at: int | None = None):
        self.fingerprint, self.fail_at = fingerprint, fail_at
        self.asked: list[str] = []
        self.sizes: list[int] = []

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        if self.fail_at is not None and len(self.asked) >= self.fail_at:
            raise KeyboardInterrupt
        self.asked += texts
        self.sizes.append(len(texts))
        return [
            {r: [f"{self.fingerprint} {r} {text}"] if r != "xNeed" else [] for r in RELATIONS}
            for text in texts
        ]


def test_the_package_loads_nothing_heavy() -> None:
    heavy = "{'nltk', 'numpy', 'scipy', 'sklearn', 'sqlite3', 'torch', 'transformers'}"
    code = f"import sys, ctsm_lib.knowledge; sys.exit(str({heavy} & set(sys.modules) or ''))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], stderr=subprocess.PIPE, check=False
        ).stderr.strip()
        == b""
    )


def test_none_is_empty_and_stays_off_the_disk(tmp_path: Path) -> None:
    none = provider_for("none", None)
    inferences = none.infer_all(["a", "b"], tmp_path / "cache", progress=False)
    assert inferences == [{relation: [] for relation in RELATIONS}] * 2
    assert inferences[0] is not inferences[1]
    assert not (tmp_path / "cache").exists()


def test_a_second_time_nothing_is_asked(tmp_path: Path) -> None:
    texts = ["a", "b", "a", "\ud800", "", "b"]
    first, second = Counting(), Counting()
    inferences = infer_cached(first, texts, tmp_path)
    assert sorted(first.asked) == sorted({"a", "b", "\ud800", ""})
    assert inferences == Counting().infer(texts)
    assert infer_cached(second, texts, tmp_path) == inferences
    assert second.asked == []
    assert infer_cached(second, [*texts, "c"], tmp_path)[:-1] == inferences
    assert second.asked == ["c"]


def test_repeated_texts_do_not_share_their_lists(tmp_path: Path) -> None:
    inferences = infer_cached(Counting(), ["a", "a"], tmp_path)
    inferences[0]["xWant"].append("changed")
    assert "changed" not in inferences[1]["xWant"]


def test_providers_do_not_mix(tmp_path: Path) -> None:
    one = infer_cached(Counting("one"), ["a"], tmp_path)
    two = infer_cached(Counting("two"), ["a"], tmp_path)
    assert one != two
    assert infer_cached(Counting("one"), ["a"], tmp_path) == one
    assert [path.name for path in tmp_path.iterdir()] == ["knowledge.sqlite"]


def test_an_interruption_costs_one_chunk_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "FIRST_CHUNK", 10)
    monkeypatch.setattr(store, "CHUNK_SECONDS", 0.0)  # chunks do not grow
    texts = [f"text {i:03}" for i in range(45)]
    interrupted = Counting(fail_at=30)
    with pytest.raises(KeyboardInterrupt):
        infer_cached(interrupted, texts, tmp_path)
    assert len(interrupted.asked) == 30
    again = Counting()
    assert infer_cached(again, texts, tmp_path) == Counting().infer(texts)
    assert sorted(again.asked + interrupted.asked) == texts


def test_quick_chunks_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LAST_CHUNK", 256)
    provider = Counting()
    infer_cached(provider, [str(i) for i in range(1000)], tmp_path)
    assert provider.sizes == [64, 128, 256, 256, 256, 40]


def _flip(path: Path, needle: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(needle)] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "header", "other table"])
def test_a_damaged_database_is_begun_anew(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [f"text {i}" for i in range(500)]
    expected = infer_cached(Counting(), texts, tmp_path)
    path = tmp_path / "knowledge.sqlite"
    if damage == "text":
        path.write_bytes(b"this is not a database" * 1000)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "header":
        _flip(path, b"SQLite")
    else:
        path.unlink()
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE inferences (a, b)")
        db.close()
    provider = Counting()
    with caplog.at_level(logging.WARNING):
        assert infer_cached(provider, texts, tmp_path) == expected
    assert sorted(provider.asked) == sorted(texts)
    aside = [found for found in tmp_path.iterdir() if ".damaged-" in found.name]
    assert len(aside) == (damage != "empty")  # an empty file is a new database to sqlite
    assert ("is damaged" in caplog.text) == (damage != "empty")
    again = Counting()
    assert infer_cached(again, texts, tmp_path) == expected
    assert again.asked == []


def test_a_rotten_row_is_inferred_again(tmp_path: Path) -> None:
    texts = ["alpha", "beta"]
    expected = infer_cached(Counting(), texts, tmp_path)
    _flip(tmp_path / "knowledge.sqlite", b"xWant alpha")
    provider = Counting()
    assert infer_cached(provider, texts, tmp_path) == expected
    assert provider.asked == ["alpha"]
    provider = Counting()
    assert infer_cached(provider, texts, tmp_path) == expected
    assert provider.asked == []


def test_a_folder_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        inferences = infer_cached(Counting(), ["a"], tmp_path / "file" / "cache")
    assert inferences == Counting().infer(["a"])
    assert len(caplog.records) == 1
    assert "going on without" in caplog.text


def test_a_read_only_database_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    infer_cached(Counting(), ["a"], tmp_path)
    connect = sqlite3.connect

    def read_only(path: Path, **settings: Any) -> Any:
        return connect(f"file:{path}?mode=ro", uri=True, **settings)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    provider = Counting()
    with caplog.at_level(logging.WARNING):
        assert infer_cached(provider, ["a", "b"], tmp_path) == Counting().infer(["a", "b"])
    assert provider.asked == ["b"]
    assert "cannot write" in caplog.text


def test_a_lock_costs_the_caching_of_one_chunk_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "LOCK_SECONDS", 0.01)
    monkeypatch.setattr(store, "FIRST_CHUNK", 1)
    monkeypatch.setattr(store, "CHUNK_SECONDS", 0.0)
    infer_cached(Counting(), ["a"], tmp_path)
    other = sqlite3.connect(tmp_path / "knowledge.sqlite", isolation_level=None)

    class Locking(Counting):
        def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
            other.execute("BEGIN IMMEDIATE" if texts == ["b"] else "ROLLBACK")
            return super().infer(texts, progress)

    with caplog.at_level(logging.WARNING):
        infer_cached(Locking(), ["a", "b", "c"], tmp_path)
    other.close()
    assert "locked" in caplog.text
    provider = Counting()
    infer_cached(provider, ["a", "b", "c"], tmp_path)
    assert provider.asked == ["b"]


def _work(folder: Path, begin: int) -> None:
    texts = [f"text {i}" for i in range(begin, begin + 300)]
    assert infer_cached(Counting(), texts, folder, progress=False) == Counting().infer(texts)


def test_processes_at_once(tmp_path: Path) -> None:
    context: Any = multiprocessing.get_context(
        "spawn"
    )  # forking a process that has threads is asking for trouble
    processes = [
        context.Process(target=_work, args=(tmp_path / "cache", begin)) for begin in (0, 100, 200)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    provider = Counting()
    infer_cached(provider, [f"text {i}" for i in range(500)], tmp_path / "cache")
    assert provider.asked == []
