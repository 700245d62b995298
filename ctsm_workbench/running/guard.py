"""A guard of long runs: signals, one process in each run folder, losses that stay sensible numbers.

A loss that is NaN, infinite or absurdly large is found when the log or a checkpoint reads the
losses, up to 20 iterations late, since reading one makes a GPU wait. The guard still knows which
iteration it was, and collates its batch once more.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from tqdm import tqdm

from ctsm_lib.checkpoint import newest_checkpoint, save_tensors
from ctsm_lib.config import Config
from ctsm_lib.errors import RunError
from ctsm_lib.model.generation import DecoderLayer
from ctsm_lib.model.layers import EncoderLayer
from ctsm_lib.parallel import rank, world
from ctsm_lib.prepare import Prepared
from ctsm_lib.training import Guard, Progress, Step, Training, learning_rate
from ctsm_workbench.running.checkpoints import load_checkpoint, require_same_run, save_checkpoint
from ctsm_workbench.running.log import TrainingLog
from ctsm_workbench.running.processes import require_alike

LOG_EVERY = 20  # iterations; reading a loss makes a GPU wait
# No loss of a run that learns comes near: 16 random answers of 50 words have a sum of about 8,000.
EXPLODED = 1e6


class LongRunGuard(Guard):
    """Keeps a run folder for one process, logs, saves checkpoints, and refuses spoiled weights.

    Args:
        report: called with every record of the log, in the main process.
        resume: continue a run that was begun.
        compiled: compile the layers, for GPUs.
    """

    def __init__(
        self, out: Path, report: Callable[[dict], None], *, resume: bool = False,
        compiled: bool = False, progress: bool = True,
    ):  # fmt: skip
        self.out = out
        self.report = report
        self.resume = resume
        self.compiled = compiled
        self.hide_bar = None if progress and not rank() else True
        self.stopped = 0.0  # when Ctrl-C or SIGTERM came
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        self.stack.enter_context(alone(self.out))
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
            names = vars(Progress()).keys() & state.keys()
            run.progress = Progress(**{name: state[name] for name in names})
        done = run.progress.iteration
        total = run.config.max_iterations
        bar = tqdm(total=total, initial=done, unit="it", disable=self.hide_bar)
        self.stack.callback(bar.close)
        self.log = TrainingLog(self.out, run.accelerator.device, bar, self.report)
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
        """Refuse losses or weights that are no sensible numbers; the batch is kept in the folder.

        The `RunError` names the iteration, the value and the batch.
        """
        late, odd = unsound_losses(self.log)
        spoiled = None if odd else unsound_weights(run.model)
        if not odd and not spoiled:
            return
        iteration = run.progress.iteration - late
        path = self.out / f"bad-batch-{iteration:06d}.safetensors"
        rate = learning_rate(run.config, iteration)
        facts = {"iteration": iteration, "lr": rate, "odd": {n: str(v) for n, v in odd.items()}}
        if rank() == 0:
            batch = vars(run.pairs.collate(run.order[iteration - 1]))
            save_tensors(path, {n: v for n, v in batch.items() if isinstance(v, Tensor)}, facts)
        values = ", ".join(f"{name} is {value:.4g}" for name, value in odd.items())
        raise RunError(
            f"Iteration {iteration}: {values or f'{spoiled} is no longer finite'}. Its batch is in "
            f"{path}; the saved weights are from before. Lower learning_rate, or set clip=1."
        )

    def after_dev(self, run: Training, scores: dict[str, float]) -> None:
        """Log the scores."""
        self.log.write_dev(run.progress.iteration, scores)

    def save(self, run: Training) -> None:
        """Write a checkpoint, in the main process, while the others wait."""
        state = asdict(run.progress) | {"window": self.log.state()}
        if rank() == 0:
            save_checkpoint(
                self.out, run.progress.iteration, run.model, optimizer=run.optimizer, state=state
            )
        run.accelerator.wait_for_everyone()


def compile_layers(model: nn.Module, backend: str = "inductor") -> None:
    """Compile each Transformer layer, for any length. The results are the same up to rounding.

    The rest of a step depends on the number of real words, and its operations are large anyway.
    """
    for module in model.modules():
        if isinstance(module, (EncoderLayer, DecoderLayer)):
            module.compile(dynamic=True, backend=backend)


def unsound_losses(log: TrainingLog) -> tuple[int, dict[str, float]]:
    """Values of the first iteration whose losses are not finite or too large (none if all are
    sound), and how many iterations came after it."""
    rows = log.rows()
    bad = ~torch.isfinite(rows)
    for column, name in enumerate(log.names):
        if name != "grad_norm":  # a single steep batch is what clipping is for
            bad[:, column] |= rows[:, column].abs() > EXPLODED
    found = bad.any(dim=1).nonzero()
    if not len(found):
        return 0, {}
    row = int(found[0])
    values = {name: float(rows[row, i]) for i, name in enumerate(log.names) if bad[row, i]}
    return len(rows) - 1 - row, values


def unsound_weights(model: nn.Module) -> str | None:
    """The first weights with a value that is not finite: the last step may have spoiled them."""
    named = list(model.named_parameters())
    sound = torch.stack([torch.isfinite(weights).all() for _, weights in named]).tolist()
    return next((name for (name, _), fine in zip(named, sound, strict=True) if not fine), None)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep a second training out of a run folder: each would overwrite what the other saves.

    The system gives the lock back when a process ends, however it ends. Raises `RunError` where
    another process has it, or the folder cannot be written.
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
