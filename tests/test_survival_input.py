"""Whatever a file holds, reading it gives a correct result or one sentence that names the file.

`fuzzing.py` lists what else must not happen.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soak
import torch
from fuzzing import (
    DIM,
    SHEET,
    TARGETS,
    WORDS,
    attempt,
    good_files,
    mutated,
    npz_bytes,
    run_files,
    small_model,
    tensors_bytes,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.torch import load

from ctsm_lib.checkpoint import load_tensors, load_weights, save_weights
from ctsm_lib.config import Config, preset
from ctsm_lib.dialogues import COLUMNS, EMOTIONS
from ctsm_lib.errors import ConfigError, DataError, RunError
from ctsm_lib.files import read_json
from ctsm_lib.run_folder import read_run
from ctsm_workbench.judging.files import judge_file
from ctsm_workbench.retrieval.vector_archives import read_npz

pytestmark = pytest.mark.survival

# Of 100 inputs, how many each reader gets; a corpus is tokenised, which takes longer.
SHARES = dict.fromkeys(TARGETS, 6) | {
    "corpus": 1,
    "optimizer.safetensors": 4,
    "random.safetensors": 2,
    "run.json": 4,
}
REFUSED = "read correctly, or refused with a message that names the file"
GUIDED = soak.LONG and importlib.util.find_spec("atheris") is not None


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL)  # readers say what they leave out: thousands of times here


@pytest.mark.parametrize("name", TARGETS)
def test_bytes_that_are_wrong_somewhere(name, tmp_path):
    """Random bytes; with atheris and enough time, guided by the code that each input reaches."""
    target, chance = TARGETS[name], random.Random(name)
    seeds = good_files(target, tmp_path)
    share = SHARES[name] / sum(SHARES.values())
    with soak.fault(
        f"wrong bytes in {name}", round(2_600 * share), round(190_000 * share)
    ) as fault:
        if GUIDED:
            script = Path(__file__).with_name("guided_fuzzing.py")
            command = [sys.executable, script, name, str(fault.tries), tmp_path / "guided"]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-5_000:]
            fault.done = int(re.findall(r"^Done (\d+) runs", done.stderr, re.MULTILINE)[-1])
            fault.result = f"{REFUSED}; inputs chosen by atheris"
            return
        read = 0
        for _ in range(fault.tries):
            data = mutated(seeds, chance)
            try:
                read += attempt(target, data, tmp_path)
            except BaseException:
                print(f"the input: {data[:2_000]!r}")
                raise
            fault.done += 1
        fault.result = f"{read:,} read, the others refused with a message that names the file"


# ------------------------------------------------------------------------- things of the right form

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just(10**400),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
CELLS = st.text(max_size=12) | st.sampled_from(
    ["A", "tie", "B", "one", "1", "-1", "0.5", "nan", "sad", "=1", "../../x"]
)


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def changed(file: str, name: str, value: object) -> bytes:
    """A JSON file of the run, one value of it another one."""
    document = json.loads(run_files()[file])
    inner = document["config"] if file == "run.json" and name in document["config"] else document
    inner[name] = value
    document.pop("sha256", None)  # as if it had been written so
    return as_json(document)


def with_tensor(file: str, key: str, tensor: torch.Tensor) -> bytes:
    """A file of tensors with one of them replaced or added.

    It has no checksum, like the files of an older run.
    """
    return tensors_bytes(load(run_files()[file]) | {key: tensor}, {"facts": "{}"})


KINDS = [
    np.float32,
    np.float64,
    np.float16,
    np.int64,
    np.int8,
    np.bool_,
    np.complex64,
    np.dtype("U3"),
    np.dtype("S3"),
]
ARRAYS = st.sampled_from(KINDS).flatmap(
    lambda kind: arrays(kind, array_shapes(min_dims=0, min_side=0, max_side=4))
)
FLOATS = arrays(np.float32, array_shapes(min_dims=0, min_side=0, max_side=4)).map(torch.from_numpy)
TENSORS = (
    FLOATS
    | FLOATS.map(lambda t: t.nan_to_num(0).clamp(-9, 9).long())
    | FLOATS.map(lambda t: t.bfloat16())
)
ODD_NAMES = st.sampled_from(["../../outside", "/etc/passwd", "", "a/b", "x" * 5_000]) | st.text(
    max_size=8
)
WEIGHTS, ADAM = "checkpoint-000002/model.safetensors", "checkpoint-000002/optimizer.safetensors"
FORMS: dict[str, tuple[str, st.SearchStrategy[bytes]]] = {
    "rows of dialogues": (
        "dialogues",
        st.lists(
            st.tuples(
                st.sampled_from("123"),
                st.sampled_from("12345"),
                st.sampled_from(EMOTIONS),
                CELLS,
                CELLS,
            )
        ).map(
            lambda rows: "\n".join(
                [",".join(COLUMNS), *(f"{c},{i},{e},{p},0,{u},5,x" for c, i, e, p, u in rows)]
            ).encode(errors="replace")
        ),
    ),
    "ratings of words": (
        "lexicon",
        st.lists(st.lists(CELLS, min_size=3, max_size=5)).map(
            lambda rows: "\n".join("\t".join(row) for row in rows).encode(errors="replace")
        ),
    ),
    "arrays of vectors": (
        "vectors as npz",
        st.dictionaries(st.sampled_from(["words", "vectors", "kind", "other"]), ARRAYS).map(
            lambda a: npz_bytes(**a)
        ),
    ),
    "rows of answers": (
        "answers",
        st.lists(st.dictionaries(st.sampled_from(["response", "reference", "x"]), JSON)).map(
            lambda rows: "\n".join(map(json.dumps, rows)).encode()
        ),
    ),
    "cells of judgements": (
        "judgements",
        st.lists(st.lists(CELLS, min_size=5, max_size=5)).map(
            lambda rows: "\n".join(
                [
                    "sheet,item,empathy,relevance,fluency",
                    *(",".join([SHEET.number, *row[1:]]) for row in rows),
                ]
            ).encode(errors="replace")
        ),
    ),
    "run.json": (
        "run.json",
        st.builds(
            changed,
            st.just("run.json"),
            st.sampled_from([*Config().asdict(), "format", "description", "config", "more"]),
            JSON,
        ),
    ),
    "state.json": (
        "state.json",
        st.builds(
            changed,
            st.just("checkpoint-000002/state.json"),
            st.sampled_from(
                ["iteration", "best", "bad_checks", "finished", "seconds", "window", "more"]
            ),
            JSON,
        ),
    ),
    "words of a vocabulary": (
        "vocabulary.json",
        st.lists(st.text(max_size=5)).map(lambda w: as_json([*WORDS.words, *w])),
    ),
    "weights": (
        "model.safetensors",
        st.builds(with_tensor, st.just(WEIGHTS), ODD_NAMES, TENSORS)
        | st.builds(
            with_tensor,
            st.just(WEIGHTS),
            st.just("0.weight"),
            TENSORS.filter(lambda t: t.shape != (DIM, DIM)),
        ),
    ),
    "the optimizer's state": (
        "optimizer.safetensors",
        st.builds(
            with_tensor,
            st.just(ADAM),
            ODD_NAMES
            | st.sampled_from(
                ["step/0.weight", "exp_avg/0.weight", "exp_avg_sq/2.bias", "more/0.weight"]
            ),
            TENSORS.filter(lambda t: t.shape != (DIM, DIM) and t.shape != (DIM,)),
        ),
    ),
    "random states": (
        "random.safetensors",
        st.builds(
            lambda name, tensor: tensors_bytes({name: tensor}),
            st.sampled_from(["cpu", "cuda", "x"]),
            TENSORS,
        ),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_files_of_the_right_form_with_anything_in_them(form, tmp_path):
    name, strategy = FORMS[form]
    with soak.fault(f"arbitrary values in {form}", 40, 1_000) as fault:

        @settings(
            max_examples=fault.tries,
            deadline=None,
            database=None,
            derandomize=not soak.LONG,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def check(data: bytes) -> None:
            attempt(TARGETS[name], data, tmp_path)
            fault.done += 1

        check()
        fault.result = REFUSED


# ------------------------------------------------------- what was found, and what must stay noticed


def test_two_tensors_of_one_shape_that_change_places_are_noticed(tmp_path):
    model = small_model()
    path = tmp_path / "model.safetensors"
    save_weights(path, model, {"iteration": 2})
    good = path.read_bytes()
    begin = 8 + int.from_bytes(good[:8], "little")
    header = json.loads(good[8:begin])
    (a, b), (c, d) = (header[name]["data_offsets"] for name in ("0.weight", "2.weight"))
    swapped = bytearray(good)
    swapped[begin + a : begin + b], swapped[begin + c : begin + d] = (
        good[begin + c : begin + d],
        good[begin + a : begin + b],
    )
    path.write_bytes(swapped)
    with pytest.raises(RunError, match=f"{re.escape(str(path))} is damaged .*checksum"):
        load_weights(path, small_model())
    path.write_bytes(good)
    assert load_weights(path, small_model()) == {"iteration": 2}


def test_weights_of_before_there_were_checksums_are_read(tmp_path):
    path = tmp_path / "old.safetensors"
    path.write_bytes(tensors_bytes(small_model().state_dict(), {"facts": '{"iteration": 3}'}))
    assert load_weights(path, small_model()) == {"iteration": 3}


@pytest.mark.parametrize(
    "content",
    [b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.", b"PK\x03\x04", b""],
)
def test_a_pickle_that_calls_itself_safetensors_is_refused_and_not_run(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(RunError, match="is damaged"):
        load_tensors(path)


@pytest.mark.parametrize(
    ("kind", "value"), [("step", 0.0), ("step", -1.0), ("exp_avg_sq", -1.0), ("exp_avg", math.nan)]
)
def test_a_state_that_no_optimizer_has(tmp_path, kind, value):
    """These values would spoil the weights one iteration later.

    A step below 1 divides by zero, and a negative square has no root.
    """
    old = load(run_files()[ADAM])[f"{kind}/0.weight"]
    data = with_tensor(ADAM, f"{kind}/0.weight", torch.full_like(old, value))
    assert not attempt(TARGETS["optimizer.safetensors"], data, tmp_path)


@pytest.mark.parametrize("depth", [5_000, 200_000])
def test_depth_is_damage_and_no_traceback(tmp_path, depth):
    path = tmp_path / "run.json"
    path.write_text("[" * depth)
    with pytest.raises(RunError, match="is damaged"):
        read_json(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("dropout", 10**400), ("beta1", 1.5), ("clip", -1.0), ("epsilon", -1e-9), ("dim", 10**9),
     ("compressed_dim", 0), ("encoder_layers", 10**6), ("batch_size", 2**63),
     ("max_context", 2**63), ("model", ["ctsm"]), ("weight_decay", -1)],
)  # fmt: skip
def test_values_that_would_end_in_a_traceback_or_fill_the_memory(name, value):
    with pytest.raises(ConfigError, match=f"^{name}="):
        Config.from_dict(preset("sample").asdict() | {name: value})


def test_a_description_that_is_no_object(tmp_path):
    for name, content in run_files().items():
        if "/" not in name:
            (tmp_path / name).write_bytes(content)
    (tmp_path / "run.json").write_bytes(changed("run.json", "description", [1]))
    with pytest.raises(RunError, match="description"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        {"words": np.array([["sad"], ["glad"]]), "vectors": np.zeros((2, DIM))},
        {"words": np.array("sad"), "vectors": np.zeros((1, DIM))},
        {"words": np.array([b"sad"]), "vectors": np.zeros((1, DIM))},
        {"words": np.array(["sad"]), "vectors": np.full((1, DIM), 1e300)},
        {"words": np.array(["sad"]), "vectors": np.full((1, DIM), "x")},
        {"words": np.array(["sad"]), "vectors": np.zeros((1, DIM)), "kind": np.array(["x"])},
        {"words": np.array(["sad"]), "vectors": np.zeros((1, DIM)), "kind": np.array([99])},
    ],
)
def test_arrays_of_other_kinds_are_one_sentence(tmp_path, damage):
    path = tmp_path / "v.npz"
    path.write_bytes(npz_bytes(**damage))
    with pytest.raises(DataError, match=re.escape(str(path))):
        read_npz(path, WORDS, DIM)


def test_an_archive_that_would_fill_the_memory_is_not_unpacked(tmp_path):
    path = tmp_path / "v.npz"
    np.savez_compressed(
        path, words=np.array(["sad"]), vectors=np.zeros((1, DIM)), other=np.zeros(20_000_000)
    )
    with pytest.raises(DataError, match="would unpack to 160,"):
        read_npz(path, WORDS, DIM)


@pytest.mark.parametrize(
    "name", ["../eva", "/etc/passwd", "..", "a/b", "a\\b", "a\0b", "x" * 41, ""]
)
def test_no_judge_has_a_name_that_leads_elsewhere(tmp_path, name):
    with pytest.raises(ConfigError):
        judge_file(tmp_path, name)


def test_the_guard_notices_files_elsewhere_and_time(tmp_path, monkeypatch):
    """The fuzzing itself can fail."""
    import fuzzing

    def stray(path: Path) -> None:
        (tmp_path / "outside").write_text("x")

    def late(path: Path) -> None:
        while True:
            pass

    def wrong(path: Path) -> None:
        raise KeyError("a bug")

    def nameless(path: Path) -> None:
        raise DataError("something is wrong")

    monkeypatch.setattr(fuzzing, "SECONDS", 0.1)
    for read, error in (
        (stray, AssertionError),
        (late, fuzzing.Hang),
        (wrong, KeyError),
        (nameless, AssertionError),
    ):
        with pytest.raises(error):
            attempt(fuzzing.Target("x", list, read), b"", tmp_path / "in")
