"""What is measured, and the rows that come of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from ctsm_lib.config import Config
from ctsm_lib.prepare import Prepared, prepare
from ctsm_lib.runs import Run, load_run, require_same_words
from ctsm_lib.sources import Sources
from ctsm_workbench.bench.limits import Work
from ctsm_workbench.bench.memory import peak_memory


@dataclass(frozen=True)
class Task:
    """What is measured, in a form that JSON holds.

    Attributes:
        config: whose model and batch size count.
        seconds: how long training is measured; other parts take about as long or less.
        run: folder of a trained run to answer and read with; None: an untrained model.
        grow: also measure growth.
    """

    config: Config
    sources: Sources
    seconds: float
    run: Path | None = None
    grow: bool = True

    def dumps(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def loads(cls, text: str) -> Task:
        """What `dumps` wrote."""
        values = json.loads(text)
        sources: dict = {
            name: Path(v) if v and name != "origin" else v for name, v in values["sources"].items()
        }
        run = Path(values["run"]) if values["run"] else None
        config = Config.from_dict(values["config"])
        return cls(config, Sources(**sources), values["seconds"], run, values["grow"])

    @cached_property
    def loaded(self) -> Run | None:
        """The trained run, if there is one."""
        return load_run(self.run) if self.run else None

    def prepared(self, *splits: str, knowledge: bool = True) -> Prepared:
        """The data, from the cache where it is there."""
        config = self.config if knowledge else self.config.override(["knowledge=none"])
        found = prepare(config, self.sources, splits, progress=False)
        if self.loaded:
            require_same_words(self.loaded, found)
        return found

    def grew(self, **axes: dict) -> dict:
        """The growth of a row, where it was asked for."""
        return {"growth": axes} if self.grow else {}


@dataclass
class Measured:
    """Rows of the result by name, and what else is told beside them."""

    rows: dict[str, dict] = field(default_factory=dict)
    facts: dict = field(default_factory=dict)


def row(value: float, unit: str, began: float | None = None, **more: object) -> dict:
    """One row: a rate or a time, and the peak memory up to now.

    Args:
        began: the peak memory before the work, where the work was done in this process.
        more: limit (in `unit`), share_of_limit and bound; target (seconds); growth by axis; note.
    """
    memory = {} if began is None else {"peak_mb": round(peak_memory()), "before_mb": round(began)}
    values = {"value": value, "unit": unit} | memory | more
    return values


def beside_limit(work: Work, done: float, per_s: float, matrix: float, memory: float) -> dict:
    """Limit, share and bound of a rate, from the work that `done` examples cannot do without."""
    seconds, bound = work.at_best(matrix, memory)
    return {"limit": done / seconds, "share_of_limit": per_s * seconds / done, "bound": bound}
