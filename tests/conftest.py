"""What all tests share: a cache of their own, the sample, and the real data where there is some."""

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before torch: tiny models run faster on one thread, and repeatably

import pytest

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "data" / "sample"


def pytest_collection_modifyitems(items):
    """Run the files with the most slow tests first.

    Two workers finish at about the same time only if the long tests are not left for the end.
    """
    slow = Counter(
        item.path for item in items if any(map(item.get_closest_marker, ("slow", "survival")))
    )
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keep tests away from the user's cache, and from CTSM_DATA unless a test asks for it."""
    saved = {name: os.environ.pop(name, None) for name in ("CTSM_DATA", "CTSM_CACHE")}
    os.environ["CTSM_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["CTSM_REAL_DATA"] = saved["CTSM_DATA"] or str(ROOT.parent / "shared" / "data")
    yield
    for name, value in saved.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="session")
def real_data(_own_cache) -> Path:
    """The folder with the real data; skips where there is none."""
    folder = Path(os.environ["CTSM_REAL_DATA"])
    if not (folder / "empatheticdialogues" / "train.csv").is_file():
        pytest.skip(
            "real data absent: set CTSM_DATA to a folder with EmpatheticDialogues, "
            "NRC VAD and GloVe"
        )
    return folder


@pytest.fixture(scope="session")
def sample_sources(_own_cache):
    """The embedded sample."""
    from ctsm_lib.sources import find_sources

    return find_sources(SAMPLE)


@pytest.fixture(scope="session")
def tiny_config():
    """Preset `sample`, made so small that a training step takes milliseconds."""
    from ctsm_lib.config import preset

    sizes = [
        "dim=24",
        "heads=2",
        "key_depth=24",
        "ffn_dim=24",
        "small_key_depth=8",
        "small_ffn_dim=8",
        "batch_size=8",
        "warmup=5",
    ]
    return preset("sample", [*sizes, "max_iterations=12", "check_every=6", "check_from=6"])


@pytest.fixture(scope="session")
def tiny_prepared(tiny_config, sample_sources):
    """The sample, prepared for `tiny_config`."""
    from ctsm_lib.prepare import prepare

    return prepare(tiny_config, sample_sources, progress=False)


@pytest.fixture(scope="session")
def tiny_run(tiny_config, tiny_prepared, tmp_path_factory) -> Path:
    """A finished run of twelve iterations."""
    from ctsm_workbench.running.train import train

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(tiny_config, tiny_prepared, folder, cpu=True, progress=False)
    return folder


@pytest.fixture(scope="session")
def small_data(sample_sources, tmp_path_factory) -> Path:
    """A data folder with a few of the sample's dialogues, for what trains many times over."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "empatheticdialogues").mkdir()
    for split, rows in (("train", 160), ("valid", 40), ("test", 40)):
        lines = (
            (sample_sources.dialogues / f"{split}.csv")
            .read_text(encoding="utf-8")
            .split("\n")[:rows]
        )
        (folder / "empatheticdialogues" / f"{split}.csv").write_text(
            "\n".join(lines) + "\n", encoding="utf-8"
        )
    shutil.copy(sample_sources.lexicon, folder / "vad-lexicon.txt")
    return folder


@pytest.fixture(scope="session")
def small_config(tiny_config):
    """24 iterations for `small_prepared`: a checkpoint every three, dev checks in the last six."""
    return replace(
        tiny_config, max_iterations=24, check_every=3, check_from=18, batch_size=4, knowledge="none"
    )


@pytest.fixture(scope="session")
def small_prepared(small_config, small_data):
    """`small_data`, prepared."""
    from ctsm_lib.prepare import prepare
    from ctsm_lib.sources import find_sources

    return prepare(small_config, find_sources(small_data), progress=False)
