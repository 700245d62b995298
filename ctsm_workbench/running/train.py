"""Training as the command line and the lessons start it: guarded, with printed dev checks."""

import json
import time
from pathlib import Path
from typing import Any

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
    config: Config, prepared: Prepared, out: Path, *, resume: bool = False, cpu: bool = False,
    stop_after: int | None = None, progress: bool = True, tensorboard: bool = False,
    compiled: bool = False,
) -> dict:  # fmt: skip
    """Train one run, or continue it, as `ctsm_lib.training.train` does, with a guard.

    With `tensorboard` event files are written to `out/tensorboard`, too. Raises `RunError` as
    there; or where another process trains in the folder; or where a loss is no sensible number, and
    its batch is then kept in the folder.
    """
    if getattr(model_class(config), "is_fitted", False):
        return fit(config, prepared, out, resume=resume)
    board = tensorboard_writer(out) if tensorboard and rank() == 0 else None

    def report(record: dict) -> None:
        if "dev_ppl_token" in record or "dev_acc" in record:
            scores = {name.removeprefix("dev_"): value for name, value in record.items()}
            tqdm.write(f"iteration {record['iteration']}: dev {in_words(scores)}")
        if board:
            for name, value in record.items():
                board.add_scalar(name, value, record["iteration"])

    guard = LongRunGuard(out, report, resume=resume, compiled=compiled, progress=progress)
    return training.train(config, prepared, out, cpu=cpu, stop_after=stop_after, guard=guard)


def fit(config: Config, prepared: Prepared, out: Path, *, resume: bool = False) -> dict:
    """Fit a model that one call trains; its run folder is like any other.

    Every process does the same, and the main one writes.
    """
    begun = time.monotonic()
    words = prepared.corpus.vocabulary
    is_main = rank() == 0
    if resume:
        require_same_run(out, config, words)
    elif is_main:
        description = prepared.description | {"device": "cpu", "versions": versions()}
        create_run(out, config, words, description)
    model = training.build_model(config, prepared)
    model.fit(prepared.pairs["train"])
    scores = teacher_forced(score_pairs(model, prepared.pairs["valid"]))
    best = scores | {"iteration": 0}
    if is_main:
        record = {"iteration": 0} | {f"dev_{name}": value for name, value in scores.items()}
        write_text(out / "log.jsonl", json.dumps(record) + "\n")
        save_weights(out / "best.safetensors", model, best)
    progress = training.Progress(best=best, seconds=time.monotonic() - begun, finished=True)
    return vars(progress) | {"interrupted": False}


def in_words(scores: dict[str, float]) -> str:
    """The scores of a dev check as text; a model has those of what it predicts."""
    names = [name for name in ("ppl_token", "acc") if name in scores]
    return ", ".join(f"{name} {scores[name]:.2f}" for name in names)


def tensorboard_writer(out: Path) -> Any:
    """A writer of TensorBoard files; a `RunError` where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        way_out = "pip install tensorboard"
        raise RunError(f"--tensorboard needs the package tensorboard: {way_out}.") from None
    return SummaryWriter(str(out / "tensorboard"))
