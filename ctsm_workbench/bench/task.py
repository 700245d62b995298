"""The task of a part, and the rows that it returns."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from ctsm_lib.config import Config
from ctsm_lib.prepare import Prepared, prepare
from ctsm_lib.runs import Run, load_run, require_same_words
from ctsm_lib.sources import Sources
from ctsm_workbench.bench import peak_memory

Measured = tuple[dict[str, dict], dict]  # rows by name, and facts about all of them


@dataclass(frozen=True)
class Task:
    """The model and the data that are measured."""

    config: Config
    sources: Sources
    seconds: float = 20.0  # to measure training for; other parts take about as long or less
    run: Path | None = None  # reads, and answers the whole test split; else an untrained model
    grow: bool = True  # also measure how time grows with batch, context, vocabulary and corpus

    def as_json(self) -> str:
        """The task as text, for the process of a part."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The task that `as_json` wrote."""
        given = json.loads(text)
        config = Config.from_dict(given.pop("config"))
        origin, *paths = given.pop("sources").values()
        run, *paths = (path and Path(path) for path in (given.pop("run"), *paths))
        return cls(config, Sources(origin, *paths), run=run, **given)

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


def row(value: float, unit: str, began: float | None = None, **more: object) -> dict:
    """A rate or a time; the peak memory before and after it, if it was done in this process.

    `more` may have limit (in `unit`), share_of_limit, bound, target (seconds), growth, and note.
    """
    memory = {} if began is None else {"peak_mb": round(peak_memory()), "before_mb": round(began)}
    return {"value": value, "unit": unit} | memory | more
