"""The disk cache: whole, verified, or absent."""

import json
import multiprocessing
import shutil

import numpy as np
import pytest

from ctsm_lib.cache import cached, digest, file_fingerprint

ARRAYS = {"a": np.arange(12, dtype=np.int32).reshape(3, 4), "empty": np.zeros(0, dtype=np.float32)}


class Builder:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return ARRAYS, {"words": ["ä", "b"], "calls": self.calls}


def test_the_second_time_comes_from_disk_and_is_mapped(tmp_path):
    build = Builder()
    cached(tmp_path, "x", {"k": 1}, build)
    arrays, meta = cached(tmp_path, "x", {"k": 1}, build)
    assert build.calls == 1
    assert isinstance(arrays["a"], np.memmap)
    np.testing.assert_array_equal(arrays["a"], ARRAYS["a"])
    assert arrays["empty"].shape == (0,)
    assert meta == {"words": ["ä", "b"], "calls": 1}


def test_another_key_is_another_entry(tmp_path):
    build = Builder()
    cached(tmp_path, "x", {"k": 1}, build)
    cached(tmp_path, "x", {"k": 2}, build)
    assert build.calls == 2


@pytest.mark.parametrize("name", ["a.npy", "empty.npy", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "empty"])
def test_a_damaged_entry_is_rebuilt_and_whole_again(tmp_path, name, damage):
    build = Builder()
    cached(tmp_path, "x", {"k": 1}, build)
    file = next(tmp_path.glob("x-*")) / name
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif damage == "truncate":
        file.write_bytes(content[:-3])
    elif damage == "remove":
        file.unlink()
    else:
        file.write_bytes(b"")
    arrays, _ = cached(tmp_path, "x", {"k": 1}, build)
    np.testing.assert_array_equal(arrays["a"], ARRAYS["a"])
    assert build.calls == 2
    cached(tmp_path, "x", {"k": 1}, build)
    assert build.calls == 2
    assert not list(tmp_path.glob(".x-*"))


def test_every_single_flipped_byte_is_noticed(tmp_path):
    build = Builder()
    cached(tmp_path, "x", {"k": 1}, build)
    entry = next(tmp_path.glob("x-*"))
    random = np.random.default_rng(0)
    for tries in range(30):
        file = random.choice(sorted(entry.iterdir()))
        content = bytearray(file.read_bytes())
        content[random.integers(len(content))] ^= int(random.integers(1, 256))
        file.write_bytes(content)
        arrays, _ = cached(tmp_path, "x", {"k": 1}, build)
        assert build.calls == tries + 2, file.name
        np.testing.assert_array_equal(arrays["a"], ARRAYS["a"])


def test_a_folder_that_cannot_be_written_costs_only_the_caching(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    arrays, _ = cached(blocked / "cache", "x", {"k": 1}, Builder())
    np.testing.assert_array_equal(arrays["a"], ARRAYS["a"])
    assert "cannot cache" in caplog.text


def test_an_interrupted_build_leaves_nothing(tmp_path):
    def build():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "x", {"k": 1}, build)
    assert list(tmp_path.iterdir()) == []


def _prepare(folder):
    arrays, _ = cached(folder, "x", {"k": 1}, Builder())
    return int(arrays["a"].sum())


def test_several_processes_at_once(tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(_prepare, [tmp_path] * 12) == [66] * 12
    assert len(list(tmp_path.glob("x-*"))) == 1


def test_digest_ignores_the_order_of_keys_and_fingerprints_follow_content(tmp_path):
    assert digest({"a": 1, "b": 2}) == digest(json.loads('{"b": 2, "a": 1}'))
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("same")
    shutil.copy(one, two)
    assert file_fingerprint(one) == file_fingerprint(two)
    two.write_text("other")
    assert file_fingerprint(one) != file_fingerprint(two)
