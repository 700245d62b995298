"""Training as the command line and the lessons start it, with a guard of long runs.

The guard handles signals, admits one process to each run folder, saves checkpoints, and refuses a
loss that is NaN, infinite or absurdly large. Such a loss is found when the log or a checkpoint
reads the losses, up to 20 iterations late, since reading one makes a GPU wait. The guard still
knows which iteration it was, and collates its batch once more.
"""

import json
import math
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from tqdm import tqdm

from ctsm_lib import training
from ctsm_lib.checkpoint import newest_checkpoint, save_tensors, save_weights
from ctsm_lib.config import Config
from ctsm_lib.errors import RunError
from ctsm_lib.files import remove, write_text
from ctsm_lib.model.generation import DecoderLayer
from ctsm_lib.model.layers import EncoderLayer
from ctsm_lib.parallel import rank, world
from ctsm_lib.prepare import Prepared
from ctsm_lib.registry import model_class
from ctsm_lib.run_folder import versions
from ctsm_lib.scores import score_pairs, teacher_forced
from ctsm_lib.training import Guard, Progress, Step, Training, learning_rate
from ctsm_workbench.running.checkpoints import load_checkpoint, require_same_run, save_checkpoint
from ctsm_workbench.running.log import TrainingLog, in_words
from ctsm_workbench.running.processes import require_alike

LOG_EVERY = 20  # iterations; reading a loss makes a GPU wait
# No loss of a run that learns comes near: 16 random answers of 50 words have a sum of about 8,000.
EXPLODED = 1e6


def train(
    config: Config, prepared: Prepared, out: Path, *, resume: bool = False, cpu: bool = False,
    stop_after: int | None = None, progress: bool = True, tensorboard: bool = False,
    compiled: bool = False,
) -> dict:  # fmt: skip
    """Train one run, or continue it, as `ctsm_lib.training.train` does, with a guard.

    With `tensorboard` event files are written to `out/tensorboard`, too. Raises `RunError` as
    there; where another process trains in the folder; and where a loss is no sensible number (its
    batch is then kept in the folder).
    """
    if getattr(model_class(config), "is_fitted", False):
        return fit(config, prepared, out, resume=resume)
    if tensorboard and not find_spec("tensorboard"):
        raise RunError("--tensorboard needs the package tensorboard: pip install tensorboard.")
    guard = LongRunGuard(
        out=out, resume=resume, compiled=compiled, progress=progress, tensorboard=tensorboard
    )
    return training.train(config, prepared, out, cpu=cpu, stop_after=stop_after, guard=guard)


def fit(config: Config, prepared: Prepared, out: Path, *, resume: bool = False) -> dict:
    """Fit a model that one call trains. Every process does the same, and the main one writes."""
    begun = time.monotonic()
    if resume:
        require_same_run(out, config, prepared.corpus.vocabulary)
    elif not rank():
        Guard().open(out, config, prepared, {"device": "cpu", "versions": versions()})
    model = training.build_model(config, prepared)
    model.fit(prepared.pairs["train"])
    scores = teacher_forced(score_pairs(model, prepared.pairs["valid"]))
    best = scores | {"iteration": 0}
    if not rank():
        record = {"iteration": 0} | {f"dev_{name}": value for name, value in scores.items()}
        write_text(out / "log.jsonl", json.dumps(record) + "\n")
        save_weights(out / "best.safetensors", model, best)
    seconds = time.monotonic() - begun
    return vars(Progress(best=best, seconds=seconds, finished=True)) | {"interrupted": False}


@dataclass(kw_only=True)
class LongRunGuard(Guard):
    """Keeps a run folder for one process, logs, saves checkpoints, and refuses spoiled weights."""

    out: Path
    resume: bool  # continue a run that was begun
    compiled: bool  # compile the layers, for GPUs
    progress: bool  # show a bar
    tensorboard: bool
    stopped: float = 0.0  # when Ctrl-C or SIGTERM came
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        if not rank():  # the main process writes
            # A second training would overwrite what this one saves. The system gives the lock back
            # when a process ends, however it ends.
            lock = FileLock(self.out / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                found = f"{self.out} is being trained by another process"
                raise RunError(f"{found}. Wait for its end, or choose another --out.") from None
            except OSError as error:
                reason = f"{self.out} cannot be written ({error.strerror or error})"
                raise RunError(f"{reason}: make it writable, or resume a copy of it.") from error
            self.stack.callback(lock.release)
            self.stack.callback(remove, Path(lock.lock_file))
        # Python lets no other thread handle signals.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                previous = signal.signal(number, self._on_signal)
                self.stack.callback(signal.signal, number, previous)
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.__exit__(*error)

    def _on_signal(self, *_: object) -> None:
        """End after the iteration at hand. A second Ctrl-C ends at once."""
        # Within a second it is the same one: launchers of several processes pass on a Ctrl-C that
        # the terminal has sent already.
        if self.stopped and time.monotonic() - self.stopped > 1:
            raise KeyboardInterrupt
        self.stopped = self.stopped or time.monotonic()

    def stop(self) -> bool:
        """True after Ctrl-C or SIGTERM."""
        return bool(self.stopped)

    def open(self, out: Path, config: Config, prepared: Prepared, facts: dict) -> None:
        """Make the run folder, or require that it is of the same run."""
        if self.resume:
            require_same_run(out, config, prepared.corpus.vocabulary)
        else:
            super().open(out, config, prepared, facts | {"compiled": self.compiled})

    def begin(self, run: Training) -> None:
        """Go back to the newest checkpoint; refuse to work together on different things."""
        if self.compiled:
            compile_layers(run.model)
        window = None
        if self.resume and (checkpoint := newest_checkpoint(self.out)):
            state = load_checkpoint(checkpoint, run.model, run.optimizer)
            window = state.get("window")
            run.progress = Progress(**{n: state[n] for n in vars(Progress()) if n in state})
        done = run.progress.iteration
        total = run.config.max_iterations
        hide = None if self.progress and not rank() else True
        bar = self.stack.enter_context(tqdm(total=total, initial=done, unit="it", disable=hide))
        self.log = TrainingLog(self.out / "log.jsonl", run.accelerator.device, bar)
        if self.tensorboard and not rank():
            from torch.utils.tensorboard import SummaryWriter

            self.log.board = SummaryWriter(str(self.out / "tensorboard"))
        if self.resume:
            self.log.restore(window, done)
            # Another number of threads or processes adds up in another order.
            facts = {"threads": torch.get_num_threads(), "processes": world()}
            self.log.write({"iteration": done} | facts)
        require_alike(run.config.asdict() | run.prepared.description | {"iteration": done})

    def after_step(self, run: Training, step: Step) -> None:
        """Log the losses, and refuse unsound ones."""
        self.log.add(step)
        if run.progress.iteration % LOG_EVERY == 0 or step.is_last:
            self.before_dev(run)
            self.log.write_means(run.progress.iteration, step.rate)

    def before_dev(self, run: Training) -> None:
        """Refuse unsound losses and weights; a `RunError` names iteration, value and batch."""
        late, odd = unsound(self.log, run.model)
        if not odd:
            return
        iteration = run.progress.iteration - late
        path = self.out / f"bad-batch-{iteration:06d}.safetensors"
        if not rank():
            batch = vars(run.pairs.collate(run.order[iteration - 1]))
            facts = {"iteration": iteration, "lr": learning_rate(run.config, iteration), "odd": odd}
            save_tensors(path, {n: v for n, v in batch.items() if isinstance(v, Tensor)}, facts)
        found = ", ".join(f"{name} is {value}" for name, value in odd.items())
        kept = f"Its batch is in {path}; the saved weights are from before."
        way_out = "Lower learning_rate, or set clip=1."
        raise RunError(f"Iteration {iteration}: {found}. {kept} {way_out}")

    def after_dev(self, run: Training, scores: dict[str, float]) -> None:
        """Log and print the scores."""
        iteration = run.progress.iteration
        self.log.write({"iteration": iteration} | {f"dev_{name}": scores[name] for name in scores})
        if not rank():
            tqdm.write(f"iteration {iteration}: dev {in_words(scores)}")
        self.log.since = time.monotonic()

    def save(self, run: Training) -> None:
        """Write a checkpoint, in the main process, while the others wait."""
        state = asdict(run.progress) | {"window": self.log.state()}
        if not rank():
            save_checkpoint(self.out, run.progress.iteration, run.model, run.optimizer, state=state)
        run.accelerator.wait_for_everyone()


def compile_layers(model: nn.Module, backend: str = "inductor") -> None:
    """Compile each Transformer layer, for any length. The results are the same up to rounding."""
    # The rest of a step depends on the number of real words, and its operations are large anyway.
    for module in model.modules():
        if isinstance(module, (EncoderLayer, DecoderLayer)):
            module.compile(dynamic=True, backend=backend)


def unsound(log: TrainingLog, model: nn.Module) -> tuple[int, dict[str, str]]:
    """The first losses that are not finite or too large, and the number of iterations since then.

    Where all losses are sound: weights that the last step has spoiled, if there are any.
    """
    # A single steep batch is what clipping is for: its gradient may have any finite length.
    limits = [math.inf if name == "grad_norm" else EXPLODED for name in log.names]
    rows = log.rows().tolist()
    for late, row in zip(reversed(range(len(rows))), rows, strict=True):
        values = zip(log.names, row, limits, strict=True)
        # (False for NaN, too.)
        if odd := {name: f"{value:.4g}" for name, value, most in values if not abs(value) < most}:
            return late, odd
    named = dict(model.named_parameters())
    sound = torch.stack([weights.isfinite().all() for weights in named.values()])  # one transfer
    spoiled = [name for name, fine in zip(named, sound.tolist(), strict=True) if not fine]
    return 0, dict.fromkeys(spoiled[:1], "no longer finite")
