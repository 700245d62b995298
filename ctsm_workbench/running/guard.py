"""A guard of long runs: signals, one process in each run folder, losses that stay sensible numbers.

A loss that is NaN, infinite or absurdly large is found when the log or a checkpoint reads the losses,
up to 20 iterations late, since reading one makes a GPU wait. The guard still knows which iteration it
was, and puts its batch together once more.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.checkpoint import newest_checkpoint, save_tensors
from ctsm_lib.config import Config
from ctsm_lib.errors import RunError
from ctsm_lib.model.generation import DecoderLayer
from ctsm_lib.model.layers import EncoderLayer
from ctsm_lib.parallel import rank, world
from ctsm_lib.prepare import Prepared
from ctsm_lib.training import Guard, Progress, Step, Training, learning_rate
from ctsm_workbench.running.checkpoints import (
    load_checkpoint,
    log_state,
    require_same_run,
    restore_log,
    save_checkpoint,
)
from ctsm_workbench.running.log import LOG_EVERY, TrainingLog
from ctsm_workbench.running.processes import require_alike

# No loss of a run that learns comes near: 16 random answers of 50 words have a sum of about 8,000.
EXPLODED = 1e6


class LongRunGuard(Guard):
    """Keeps a run folder for one process, saves checkpoints, and refuses spoiled weights.

    Args:
        resume: continue a run that was begun.
        compiled: compile the layers, for GPUs.
    """

    def __init__(
        self, out: Path, *, resume: bool = False, compiled: bool = False, progress: bool = True,
        report: Callable[[dict], None] | None = None,
    ):  # fmt: skip
        self.out = out
        self.show_progress = progress
        self.report = report
        self.resume = resume
        self.compiled = compiled
        self.caught: list[int] = []
        self.stack = ExitStack()

    def __enter__(self) -> LongRunGuard:
        self.stack.enter_context(alone(self.out))
        self.caught = self.stack.enter_context(graceful_stop())
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.__exit__(*error)

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
        self.log = TrainingLog(
            self.out, run.accelerator.device, progress=self.show_progress, report=self.report
        )
        if self.resume:
            window = None
            if checkpoint := newest_checkpoint(self.out):
                state = load_checkpoint(checkpoint, run.model, run.optimizer)
                window = state.pop("window", None)
                names = vars(Progress())
                run.progress = Progress(**{name: state[name] for name in names if name in state})
            restore_log(self.log, window, run.progress.iteration)
            # Another number of threads or processes adds up in another order.
            facts = {"threads": torch.get_num_threads(), "processes": world()}
            self.log.write({"iteration": run.progress.iteration} | facts)
        facts = run.config.asdict() | run.prepared.description
        require_alike(facts | {"iteration": run.progress.iteration})
        self.log.begin(run.progress.iteration, run.config.max_iterations)
        self.stack.callback(self.log.bar.close)

    def save(self, run: Training) -> None:
        """Write a checkpoint, in the main process, while the others wait."""
        state = asdict(run.progress) | {"window": log_state(self.log)}
        if rank() == 0:
            save_checkpoint(
                self.out, run.progress.iteration, run.model, optimizer=run.optimizer, state=state
            )
        run.accelerator.wait_for_everyone()

    def stop(self) -> bool:
        """Whether Ctrl-C or SIGTERM came."""
        return bool(self.caught)

    def after_step(self, run: Training, step: Step) -> None:
        """Log the losses, and refuse unsound ones."""
        self.log.add(step)
        if run.progress.iteration % LOG_EVERY == 0 or step.is_last:
            self.before_dev(run)
            self.log.write_means(run.progress.iteration, step.rate)

    def after_dev(self, run: Training, scores: dict[str, float]) -> None:
        """Log the scores."""
        self.log.write_dev(run.progress.iteration, scores)

    def before_dev(self, run: Training) -> None:
        """Refuse losses or weights that are no sensible numbers; the batch is kept in the folder.

        Raises:
            RunError: names the iteration, the value and the batch.
        """
        late, odd = unsound_losses(self.log) or (0, {})
        spoiled = None if odd else unsound_weights(run.model)
        if not odd and not spoiled:
            return
        iteration = run.progress.iteration - late
        path = self.out / f"bad-batch-{iteration:06d}.safetensors"
        rate = learning_rate(run.config, iteration)
        facts = {"iteration": iteration, "lr": rate, "odd": {n: str(v) for n, v in odd.items()}}
        if rank() == 0:
            save_batch(path, run.pairs.collate(run.order[iteration - 1]), facts)
        values = ", ".join(f"{name} is {value:.4g}" for name, value in odd.items())
        raise RunError(
            f"Iteration {iteration}: {values or f'{spoiled} is no longer finite'}. Its batch is in "
            f"{path}; the saved weights are from before. Lower learning_rate, or set clip=1."
        )


def compile_layers(model: nn.Module, backend: str = "inductor") -> None:
    """Compile each Transformer layer, for any length. The results are the same up to rounding.

    The rest of a step depends on the number of real words, and its operations are large anyway.
    """
    for module in model.modules():
        if isinstance(module, (EncoderLayer, DecoderLayer)):
            module.compile(dynamic=True, backend=backend)


def unsound_losses(log: TrainingLog) -> tuple[int, dict[str, float]] | None:
    """The first iteration whose losses are not finite or too large.

    Returns:
        How many iterations came after it, and the values; None where all are sound.
    """
    rows = log.rows()
    bad = ~torch.isfinite(rows)
    for column, name in enumerate(log.names):
        if name != "grad_norm":  # a single steep batch is what clipping is for
            bad[:, column] |= rows[:, column].abs() > EXPLODED
    found = bad.any(dim=1).nonzero()
    if not len(found):
        return None
    row = int(found[0])
    values = {name: float(rows[row, i]) for i, name in enumerate(log.names) if bad[row, i]}
    return len(rows) - 1 - row, values


def unsound_weights(model: nn.Module) -> str | None:
    """The first weights with a value that is not finite: the last step may have spoiled them."""
    named = list(model.named_parameters())
    sound = torch.stack([torch.isfinite(weights).all() for _, weights in named]).tolist()
    return next((name for (name, _), fine in zip(named, sound, strict=True) if not fine), None)


def save_batch(path: Path, batch: Batch, facts: dict[str, Any]) -> None:
    """Keep a batch to look at: `ctsm_lib.checkpoint.load_tensors` reads it."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    save_tensors(path, tensors, facts)


@contextmanager
def graceful_stop() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM: the loop ends after the iteration at hand. A second Ctrl-C ends at once."""
    caught: list[int] = []
    first = 0.0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal first
        # Launchers of several processes pass on a Ctrl-C that the terminal has sent already: that is not a second one.
        if caught and time.monotonic() - first > 1:
            raise KeyboardInterrupt
        first = first or time.monotonic()
        caught.append(number)

    try:
        old = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever runs us handles signals
        yield caught
        return
    try:
        yield caught
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep a second training out of a run folder: each would overwrite what the other saves.

    The system gives the lock back when a process ends, however it ends.

    Raises:
        RunError: another process has it, or the folder cannot be written.
    """
    if rank():  # the main process writes
        yield
        return
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            f"{out} is being trained by another process. Wait for its end, or choose another --out."
        ) from None
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps what is open, and then the file stays
            (out / ".lock").unlink()
        lock.release()
