"""The log of a run: means of the losses every few iterations, dev scores, a progress bar."""

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ctsm_lib.errors import RunError
from ctsm_lib.files import write_text
from ctsm_lib.parallel import all_sum, rank, world
from ctsm_lib.training import Step

# These losses are of the whole batch; the others are a process's share of it.
WHOLE = frozenset(("contrast", "coarse", "fine", "total", "grad_norm"))
SHOWN = ("generation", "emotion", "teacher", "student", "contrast", "diversity")


@dataclass
class TrainingLog:
    """Losses since the last line of `log.jsonl`.

    Nothing is read from the device before `rows`, since reading makes a GPU wait.
    """

    path: Path
    device: torch.device
    bar: tqdm  # one step for each iteration
    board: Any = None  # a writer of TensorBoard's event files, if they are wanted
    names: list[str] = field(default_factory=list)  # of the losses
    kept: list[Tensor] = field(default_factory=list)  # the losses of each iteration
    seen: int = 0  # examples
    since: float = field(default_factory=time.monotonic)

    def add(self, step: Step) -> None:
        """Keep the losses of an iteration, its right emotions, and the gradients' norm."""
        output, batch = step.output, step.batch
        values = {name: value.detach().float() for name, value in output.losses.items()}
        if values.keys() & {"emotion", "student_label"}:  # else no emotion is predicted
            assert batch.label is not None
            hits = output.emotion_logits.argmax(dim=-1).eq(batch.label).float().sum()
            values["acc"] = 100 * hits / batch.total_pairs
        if step.norm is not None:
            values["grad_norm"] = step.norm.detach().float()
        for name in WHOLE & values.keys():
            values[name] = values[name] / world()
        self.names = list(values)
        self.kept.append(torch.stack(list(values.values())))
        self.seen += batch.total_pairs
        self.bar.update()

    def rows(self) -> Tensor:
        """Losses of n iterations over all processes, [n, names]; all must ask together."""
        if not self.kept:
            return torch.zeros(0, len(self.names))
        return all_sum(torch.stack(self.kept)).cpu()

    def write_means(self, iteration: int, rate: float) -> None:
        """Write the means of the losses, and begin anew."""
        means = dict(zip(self.names, self.rows().mean(dim=0).tolist(), strict=True))
        means["ppl"] = math.exp(min(means["generation"], 50))
        speed = self.seen / max(time.monotonic() - self.since, 1e-9)
        losses = " ".join(f"{name[:3]} {means[name]:.2f}" for name in SHOWN if name in means)
        accuracy = f" acc {means['acc']:.0f}%" if "acc" in means else ""
        self.bar.set_postfix_str(f"{losses} | ppl {means['ppl']:.1f}{accuracy} | {speed:.0f} ex/s")
        self.write({"iteration": iteration, "lr": rate, "examples_per_s": speed, **means})
        self.kept = []
        self.seen = 0
        self.since = time.monotonic()

    def write(self, record: dict) -> None:
        """Append a record, in the main process; a `RunError` if the log cannot be written."""
        if rank():
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            reason = f"{self.path} cannot be written: {error.strerror}."
            raise RunError(f"{reason} Make room, and continue with --resume.") from error
        for name, value in record.items() if self.board else ():
            self.board.add_scalar(name, value, record["iteration"])

    def state(self) -> dict[str, Any]:
        """Losses that the log has not written yet; all processes must ask together."""
        return {"names": self.names, "rows": self.rows().tolist()}

    def restore(self, saved: dict[str, Any] | None, iteration: int) -> None:
        """Go back to where a checkpoint has the log; lines after it will be written again."""
        if saved:
            rows = torch.tensor(saved["rows"], device=self.device)
            self.names = saved["names"]
            self.kept = list(torch.zeros_like(rows) if rank() else rows)
        if rank() or not self.path.is_file():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["iteration"] <= iteration:
                    kept.append(f"{line}\n")
            except (ValueError, KeyError, TypeError):
                continue  # a line cut off by a kill
        write_text(self.path, "".join(kept))


def in_words(scores: dict[str, float]) -> str:
    """The scores of a dev check as text; a model has those of what it predicts."""
    names = [name for name in ("ppl_token", "acc") if name in scores]
    return ", ".join(f"{name} {scores[name]:.2f}" for name in names)


def read_log(folder: Path) -> list[dict]:
    """The records of a run's log; a `RunError` where a line of it is not a JSON object."""
    path = folder / "log.jsonl"
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("a line of it is not an object")
    except FileNotFoundError:
        raise RunError(f"{path} is missing: {folder} is no folder of `ctsm train`.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({error}).") from error
    return records
