"""The lessons run from a fresh kernel on the sample, unsolved, as students get them.

Student and solved lessons are a file each, so that two workers share what takes longest.
"""

import pytest

pytest.importorskip("jupytext", reason="the lessons need the extra `notebooks`")
pytest.importorskip("nbclient", reason="the lessons need the extra `notebooks`")

from notebook_tools import NOTEBOOKS, load, run_lesson, sample_environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NOTEBOOKS.is_dir(), reason="installed without the notebooks"),
]
build = load("build")
LESSONS = build.masters([])


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return sample_environment(tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_runs_on_the_sample(path, environment, monkeypatch):
    run_lesson(build, path, "student", environment, monkeypatch, timeout=90)
