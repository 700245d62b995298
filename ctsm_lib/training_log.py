"""The log of a run: means of the losses every few iterations, dev scores, a progress bar."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ctsm_lib.batches import Batch
from ctsm_lib.errors import RunError
from ctsm_lib.files import write_text
from ctsm_lib.interface import Output
from ctsm_lib.parallel import all_sum, rank, world

log = logging.getLogger(__name__)

# These losses are of the whole batch; the others are a process's share of it.
WHOLE = frozenset(("contrast", "coarse", "fine", "total", "grad_norm"))


class TrainingLog:
    """Losses since the last line of `log.jsonl`, and what becomes of them.

    Nothing is read from the device before `rows`, since reading makes a GPU wait.

    Args:
        out: the run folder.
        saved: state from a checkpoint (`asdict`), of a run that goes on.
        report: called with every record.
    """

    def __init__(
        self, out: Path, saved: dict[str, Any] | None, device: torch.device, *,
        progress: bool = True, report: Callable[[dict], None] | None = None,
    ):  # fmt: skip
        self.path = out / "log.jsonl"
        self.report = report
        self.show_bar = progress and rank() == 0
        self.names: list[str] = saved["names"] if saved else []
        rows = torch.tensor(saved["rows"] if saved else [], device=device)
        self.kept = list(rows if rank() == 0 else torch.zeros_like(rows))
        self.seen, self.since = 0, time.monotonic()

    def begin(self, iteration: int, total: int, *, resumed: bool) -> None:
        """Open the log behind a checkpoint's last line."""
        if resumed and rank() == 0:
            self._forget_after(iteration)
        self.file = self.path.open("a", encoding="utf-8") if rank() == 0 else None
        hide = None if self.show_bar else True
        self.bar = tqdm(total=total, initial=iteration, unit="it", disable=hide)
        if resumed:
            # Another number of threads or processes adds up in another order.
            now = {"threads": torch.get_num_threads(), "processes": world()}
            self.write({"iteration": iteration} | now)

    def add(self, output: Output, batch: Batch, norm: Tensor | None, *, examples: int) -> None:
        """Keep the losses of an iteration, its right emotions, and the gradients' norm."""
        values = {name: value.detach().float() for name, value in output.losses.items()}
        if values.keys() & {"emotion", "student_label"}:  # else no emotion is predicted
            assert batch.label is not None
            hits = output.emotion_logits.argmax(dim=-1).eq(batch.label).float().sum()
            values["acc"] = 100 * hits / batch.total_pairs
        if norm is not None:
            values["grad_norm"] = norm.detach().float()
        for name in WHOLE & values.keys():
            values[name] = values[name] / world()
        self.names = list(values)
        self.kept.append(torch.stack(list(values.values())))
        self.seen += examples
        self.bar.update()

    def rows(self) -> Tensor:
        """[n, names] the losses of n iterations over all processes, which must ask together."""
        return (
            all_sum(torch.stack(self.kept)).cpu() if self.kept else torch.zeros(0, len(self.names))
        )

    def asdict(self) -> dict[str, Any]:
        """State for a checkpoint, so that the log goes on as if nothing had happened."""
        return {"names": self.names, "rows": self.rows().tolist()}

    def write_means(self, iteration: int, rate: float) -> None:
        """Write the means of the losses, and begin anew."""
        means = dict(zip(self.names, self.rows().mean(dim=0).tolist(), strict=True))
        means["ppl"] = math.exp(min(means["generation"], 50))
        speed = self.seen / max(time.monotonic() - self.since, 1e-9)
        self.bar.set_postfix_str(_postfix(means, speed))
        self.write({"iteration": iteration, "lr": rate, "examples_per_s": speed, **means})
        self.names, self.kept, self.seen, self.since = [], [], 0, time.monotonic()

    def write_dev(self, iteration: int, scores: dict[str, float]) -> None:
        """Write dev scores."""
        self.write({"iteration": iteration} | {f"dev_{n}": value for n, value in scores.items()})
        log.info("iteration %d: dev %s", iteration, {n: round(s, 2) for n, s in scores.items()})
        self.since = time.monotonic()

    def write(self, record: dict) -> None:
        """Append a record, in the main process.

        Raises:
            RunError: the log cannot be written.
        """
        if self.file is None:
            return
        try:
            self.file.write(json.dumps(record) + "\n")
            self.file.flush()
        except OSError as error:
            reason = f"{self.path} cannot be written: {error.strerror}."
            raise RunError(f"{reason} Then use --resume.") from error
        if self.report:
            self.report(record)

    def close(self) -> None:
        """Close the file and the bar."""
        self.bar.close()
        if self.file is not None:
            self.file.close()

    def _forget_after(self, iteration: int) -> None:
        """Drop lines behind the checkpoint: they will be written again."""
        if not self.path.is_file():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["iteration"] <= iteration:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue  # a line cut off by a kill
        write_text(self.path, "".join(f"{line}\n" for line in kept))


def _postfix(record: dict[str, float], speed: float) -> str:
    names = ("generation", "emotion", "teacher", "student", "contrast", "diversity")
    losses = " ".join(f"{name[:3]} {record[name]:.2f}" for name in names if name in record)
    accuracy = f" acc {record['acc']:.0f}%" if "acc" in record else ""
    return f"{losses} | ppl {record['ppl']:.1f}{accuracy} | {speed:.0f} ex/s"
