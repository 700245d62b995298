"""Training, scoring and answering need few packages, so that they run on a bare machine.

Every other package is imported when it is used.
"""

import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

NEEDED = {"torch", "numpy", "scipy", "nltk", "accelerate", "safetensors", "scikit-learn", "tqdm"}
# Also where one of the needed packages could bring them along.
NEVER = {
    "plotly",
    "umap",
    "ipywidgets",
    "transformers",
    "pooch",
    "sacrebleu",
    "typer",
    "requests",
    "IPython",
}
ROOT = Path(__file__).resolve().parent.parent

WORK = """
import sys
from importlib.machinery import PathFinder

class Bare:  # stands before all finders, and finds nothing of what is blocked
    finders = list(sys.meta_path)
    find_distributions = PathFinder.find_distributions

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in {blocked!r}:
            found = (finder.find_spec(name, path, target) for finder in cls.finders)
            return next((spec for spec in found if spec), None)

sys.meta_path[:] = [Bare]

from pathlib import Path

from ctsm_lib.config import preset
from ctsm_lib.decoding import Decoding
from ctsm_lib.prepare import prepare
from ctsm_lib.runs import load_run
from ctsm_workbench.study.evaluation import evaluate
from ctsm_lib.sources import find_sources
from ctsm_workbench.running.train import train

tiny = "dim=24 heads=2 key_depth=24 ffn_dim=24 small_key_depth=8 small_ffn_dim=8 max_iterations=2"
config = preset("sample", tiny.split())
prepared = prepare(config, find_sources(Path({sample!r})), workers=1, progress=False)
folder = Path({folder!r}) / "run"
train(config, prepared, folder, cpu=True, progress=False)
run = load_run(folder)
scores, rows = evaluate(run, prepared, "valid", Decoding(max_length=3), progress=False)
beam = Decoding(method="beam", beams=2, max_length=3)
answer = run.respond([["I lost my keys."]], prepared.provider, beam)
assert len(rows) == scores["n"] and scores["ppl_peer"] > 1 and scores["bleu"] is None
assert len(answer) == 1
assert run.iteration == 2 and len(answer[0].emotions) == 32
print("done")
"""


def with_requirements(names: set[str]) -> set[str]:
    """Distributions and all that they require in turn, by their normalised names."""
    found: set[str] = set()
    ahead = list(names)
    while ahead:
        name = re.sub(r"[-_.]+", "-", ahead.pop()).lower()
        if name in found:
            continue
        found.add(name)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:  # required on other systems only
            continue
        ahead += [
            re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if "extra ==" not in line
        ]
    return found


def test_training_scoring_and_answering_need_few_packages(tmp_path):
    allowed = with_requirements(NEEDED) | {"ctsm-lab"}
    others = {
        module
        for module, owners in packages_distributions().items()
        if not any(re.sub(r"[-_.]+", "-", owner).lower() in allowed for owner in owners)
    }
    blocked = sorted(others | NEVER)
    assert {"plotly", "hypothesis", "sacrebleu"} <= set(blocked)
    code = WORK.format(blocked=blocked, sample=str(ROOT / "data" / "sample"), folder=str(tmp_path))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("done")


@pytest.mark.parametrize("name", ["plotly", "pooch"])
def test_what_needs_more_says_so_by_failing(name, tmp_path):
    """The block above works: what does need a package cannot be used without it."""
    use = {
        "plotly": "from ctsm_workbench.pictures import FIGURES, write_figure; "
        "next(iter(FIGURES.values()))({})",
        "pooch": "from pathlib import Path; from ctsm_workbench.downloads import fetch; "
        "fetch(Path('nowhere'), ['lexicon'], accept=lambda t: True)",
    }[name]
    code = f"import sys; sys.modules[{name!r}] = None; {use}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 1
    assert name in done.stderr
