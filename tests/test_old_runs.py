"""Runs that an earlier version trained still work.

They are read, scored, used for answers and resumed as in that version.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import torch

OLD = Path(__file__).parent / "old_runs"
EXPECTED = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))
CONTEXTS = [
    ["I lost my dog last week."],
    ["I got the job!", "Congratulations!", "I start on Monday."],
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(OLD / "runs.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _prepared(config):
    from ctsm_lib.prepare import prepare
    from ctsm_lib.sources import find_sources

    return prepare(config, find_sources(OLD / "data"), workers=1, progress=False)


def test_a_run_of_a_system_that_was_changed_since_is_refused(runs):
    """KEMP's graph is now as wide as in its release: an older run of KEMP does not fit."""
    from ctsm_lib.errors import RunError
    from ctsm_lib.runs import load_run

    with pytest.raises(RunError, match=r"kemp.*graph\.key_value\.weight is \[8, 8\] float32 where"):
        load_run(runs / "kemp")


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - {"kemp"}))
def test_scores_and_answers_are_the_same(runs, name):
    from ctsm_lib.runs import load_run
    from ctsm_workbench.study.evaluation import evaluate

    run, expected = load_run(runs / name), EXPECTED[name]
    scores, rows = evaluate(run, _prepared(run.config), "test", progress=False)
    for score, value in expected["scores"].items():
        if isinstance(value, float):
            assert scores[score] == pytest.approx(value, rel=1e-4), score
        else:
            assert scores[score] == value, score
    assert [row["response"] for row in rows] == expected["responses"]
    assert [row["predicted"] for row in rows] == expected["predicted"]
    answers = [answer.asdict() for answer in run.respond(CONTEXTS, run.provider(None)[0])]
    for answer, before in zip(answers, expected["answers"], strict=True):
        assert answer["text"] == before["text"]
        assert answer["emotions"] == pytest.approx(before["emotions"], rel=1e-3)
        assert answer["log_prob"] == pytest.approx(before["log_prob"], rel=1e-4)


def test_an_interrupted_run_is_resumed_to_the_same_weights(runs):
    from ctsm_lib.checkpoint import load_tensors, newest_checkpoint
    from ctsm_lib.run_folder import read_run
    from ctsm_workbench.running.train import train

    config, _, _ = read_run(runs / "best")
    expected = EXPECTED["best"]["after_resume"]
    end = train(config, _prepared(config), runs / "best", cpu=True, resume=True, progress=False)
    assert end["iteration"] == expected["iteration"] == 12
    assert end["best"] == pytest.approx(expected["dev"], rel=1e-4)
    checkpoint = newest_checkpoint(runs / "best")
    assert checkpoint is not None
    tensors, _ = load_tensors(checkpoint / "model.safetensors")
    sums = {name: float(tensor.double().sum()) for name, tensor in tensors.items()}
    assert sums == pytest.approx(expected["sums"], rel=1e-4, abs=1e-4)
