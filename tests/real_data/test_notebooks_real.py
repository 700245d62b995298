"""The lessons on the real data: from a fresh kernel, solved and not."""

import pytest

pytest.importorskip("jupytext", reason="the lessons need the extra `notebooks`")
pytest.importorskip("nbclient", reason="the lessons need the extra `notebooks`")

from notebook_tools import load, run_lesson, train_run

pytestmark = [pytest.mark.real, pytest.mark.slow]
build = load("build")
LESSONS = build.masters([])
DATA_TELLS_MOST = (
    "01",
    "02",
    "07",
    "10",
)  # dialogues, lexicon, a training from beginning to end, the analysis


@pytest.fixture(scope="module")
def real_environment(real_data, tmp_path_factory):
    """A cache and a shortly trained run for all lessons."""
    folder = tmp_path_factory.mktemp("real-lessons")
    environment = {
        "CTSM_DATA": str(real_data),
        "CTSM_CACHE": str(folder / "cache"),
        "CTSM_RUN": str(folder / "run"),
    }
    with pytest.MonkeyPatch.context() as patch:
        train_run(environment, "CTSM_DATA", patch)
    return environment


@pytest.mark.parametrize("form", ["student", "solved"])
@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_runs_on_the_real_data(path, form, real_environment, monkeypatch, request):
    if "real" not in request.config.getoption("markexpr"):
        if form == "student":
            pytest.skip(
                "differs from the solved one by stubs, which the sample tests; run with -m real"
            )
        if path.stem[:2] not in DATA_TELLS_MOST:
            pytest.skip("takes a minute, and runs on the sample; run with -m real")
    run_lesson(build, path, form, real_environment, monkeypatch, timeout=200)
