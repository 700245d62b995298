"""Training as the command line and the lessons start it: guarded, with printed dev checks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from ctsm_lib import training
from ctsm_lib.checkpoint import save_weights
from ctsm_lib.config import Config
from ctsm_lib.errors import RunError
from ctsm_lib.files import write_text
from ctsm_lib.parallel import rank
from ctsm_lib.prepare import Prepared
from ctsm_lib.registry import model_class
from ctsm_lib.run_folder import create_run, versions
from ctsm_lib.scores import score_pairs, teacher_forced
from ctsm_workbench.running.checkpoints import require_same_run
from ctsm_workbench.running.guard import LongRunGuard


def train(
    config: Config,
    prepared: Prepared,
    out: Path,
    *,
    resume: bool = False,
    cpu: bool = False,
    stop_after: int | None = None,
    progress: bool = True,
    tensorboard: bool = False,
    compiled: bool = False,
) -> dict:
    """Train one run, or go on with it, as `ctsm_lib.training.train` does, with a guard.

    Args:
        tensorboard: also write event files to `out/tensorboard`.

    Raises:
        RunError: as there; or another process trains in the folder; or a loss is no sensible
            number, and its batch is then kept in the folder.
    """
    if getattr(model_class(config), "is_fitted", False):
        return fit(config, prepared, out, resume=resume)
    board = tensorboard_writer(out) if tensorboard and rank() == 0 else None

    def report(record: dict) -> None:
        if "dev_ppl_token" in record or "dev_acc" in record:
            scores = {name.removeprefix("dev_"): value for name, value in record.items()}
            tqdm.write(f"iteration {record['iteration']}: dev {in_words(scores)}")
        if board is not None:
            board(record)

    guard = LongRunGuard(out, resume=resume, compiled=compiled, progress=progress, report=report)
    return training.train(config, prepared, out, cpu=cpu, stop_after=stop_after, guard=guard)


def fit(config: Config, prepared: Prepared, out: Path, *, resume: bool = False) -> dict:
    """Fit a model that one call trains; its run folder is like any other.

    Every process does the same, and the main one writes.
    """
    begun, words, main = time.monotonic(), prepared.corpus.vocabulary, rank() == 0
    if resume:
        require_same_run(out, config, words)
    elif main:
        description = prepared.description | {"device": "cpu", "versions": versions()}
        create_run(out, config, words, description)
    model = training.build_model(config, prepared)
    model.fit(prepared.pairs["train"])
    scores = teacher_forced(score_pairs(model, prepared.pairs["valid"]))
    best = scores | {"iteration": 0}
    if main:
        record = {"iteration": 0} | {f"dev_{name}": value for name, value in scores.items()}
        write_text(out / "log.jsonl", json.dumps(record) + "\n")
        save_weights(out / "best.safetensors", model, best)
    progress = training.Progress(best=best, seconds=time.monotonic() - begun, finished=True)
    return vars(progress) | {"interrupted": False}


def in_words(scores: dict[str, float]) -> str:
    """The scores of a dev check as text; a model has those of what it predicts."""
    names = [name for name in ("ppl_token", "acc") if name in scores]
    return ", ".join(f"{name} {scores[name]:.2f}" for name in names)


def tensorboard_writer(out: Path) -> Callable[[dict], None]:
    """A function that adds a record of the log to TensorBoard files.

    Raises:
        RunError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        way_out = "pip install tensorboard"
        raise RunError(f"--tensorboard needs the package tensorboard: {way_out}.") from None
    writer = SummaryWriter(str(out / "tensorboard"))

    def add(record: dict) -> None:
        for name, value in record.items():
            writer.add_scalar(name, value, record["iteration"])

    return add
