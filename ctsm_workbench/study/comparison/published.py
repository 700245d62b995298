"""The rows of Tables 1 and 3; the numbers that the paper prints are in `published.toml`."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

# Score -> whether more is better. `ppl_peer` is averaged as the baselines do it, see `scores`.
SCORES = {"acc": True, "ppl_peer": False, "dist1": True, "dist2": True}


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    name: str  # as the tables print it
    model: str  # for `ctsm train --model`
    tables: list[str]  # that have this row
    part: str = ""  # the ablation, as presets name it
    printed: dict[str, float] = field(default_factory=dict)  # score -> the paper's number

    @property
    def key(self) -> str:
        """The row's name in files and for `--models`."""
        return self.part or self.model

    @property
    def paper(self) -> tuple[float | None, ...]:
        """The paper's number for each of `SCORES`; None where it prints none."""
        return tuple(map(self.printed.get, SCORES))


_FIELDS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["row"]
_ROWS = [Row(**fields) for fields in _FIELDS]
ROWS = {row.key: row for row in _ROWS}
TABLES = {name: [row for row in _ROWS if name in row.tables] for name in ("table1", "table3")}
