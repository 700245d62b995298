"""What training watches: the means for its log, whether every loss is still a sensible number, and who wants it to stop.

A loss that is NaN, infinite or absurdly large is found where the log or a checkpoint reads the losses, up to 20
iterations late: reading one makes a GPU wait. Which iteration it was is known all the same, and its batch is put
together once more.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from ctsm_lib import parallel
from ctsm_lib.batches import Batch
from ctsm_lib.checkpoint import save_tensors
from ctsm_lib.errors import RunError
from ctsm_lib.interface import Output

# No loss of a run that learns comes near: 16 answers of 50 words by chance have about 8,000, where losses are summed.
EXPLODED = 1e6


class Window:
    """The losses of each iteration since the last log line; nothing is read from the device before `read`.

    Args:
        saved: what `asdict` gave, of a run that goes on.
        device: where the model computes.
    """

    # Of the whole batch; the others are a process's share of it.
    WHOLE = frozenset(("contrast", "coarse", "fine", "total", "grad_norm"))

    def __init__(
        self, saved: dict[str, Any] | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.names: list[str] = saved["names"] if saved else []
        self.rows: list[Tensor] = []
        if saved:
            rows = torch.tensor(saved["rows"], device=device)
            self.rows = list(rows if parallel.rank() == 0 else torch.zeros_like(rows))

    def add(self, output: Output, batch: Batch, norm: Tensor | None) -> None:
        """Keep the losses of an iteration, its share of emotions that were right, and the gradients' norm."""
        values = {name: value.detach().float() for name, value in output.losses.items()}
        if values.keys() & {"emotion", "student_label"}:  # else the model predicts no emotion
            hits = output.emotion_logits.argmax(dim=-1).eq(cast(Tensor, batch.label)).float().sum()
            values["acc"] = 100 * hits / batch.total_pairs
        if norm is not None:
            values["grad_norm"] = norm.detach().float()
        for name in self.WHOLE & values.keys():
            values[name] = values[name] / parallel.world()
        self.names = list(values)
        self.rows.append(torch.stack(list(values.values())))

    def read(self) -> Tensor:
        """[n, names] what n iterations came to, of all processes, which must ask together."""
        return (
            parallel.all_sum(torch.stack(self.rows)).cpu()
            if self.rows
            else torch.zeros(0, len(self.names))
        )

    def asdict(self) -> dict[str, Any]:
        """As a checkpoint keeps it, so that the log goes on as if nothing had been; all processes must ask together."""
        return {"names": self.names, "rows": self.read().tolist()}

    def means(self) -> dict[str, float]:
        """Means by name, and the perplexity."""
        found = dict(zip(self.names, self.read().mean(dim=0).tolist(), strict=True))
        return found | {"ppl": math.exp(min(found["generation"], 50))}

    def unsound(self) -> tuple[int, dict[str, float]] | None:
        """The first iteration that has a value which is not finite or too large: how many came after it, and the values."""
        rows = self.read()
        bad = ~torch.isfinite(rows)
        for column, name in enumerate(self.names):
            if name != "grad_norm":  # a single steep batch is what clipping is for
                bad[:, column] |= rows[:, column].abs() > EXPLODED
        found = bad.any(dim=1).nonzero()
        if not len(found):
            return None
        row = int(found[0])
        values = {name: float(rows[row, i]) for i, name in enumerate(self.names) if bad[row, i]}
        return len(rows) - 1 - row, values


def unsound_weights(model: torch.nn.Module) -> str | None:
    """The first weights that hold a value which is not finite: the last step has spoiled them, if no loss has told."""
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
    if parallel.rank():  # the main process writes
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
