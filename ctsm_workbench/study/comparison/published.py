"""The rows of Tables 1 and 3; what the paper prints in them is read from `published.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

# Score -> whether more is better. `acc` is in percent; `ppl_peer` is averaged as the baselines do it, see `scores`.
SCORES = {"acc": True, "ppl_peer": False, "dist1": True, "dist2": True}


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: as the tables print it.
        model: what `ctsm train --model` takes.
        part: the ablation, as presets name it, or "".
        paper: its scores in the order of `SCORES`, None where the paper prints none.
    """

    name: str
    model: str
    part: str = ""
    paper: tuple[float | None, ...] = (None,) * len(SCORES)

    @property
    def key(self) -> str:
        """The row's name in files and for `--models`."""
        return self.part or self.model


TABLES: dict[str, list[Row]] = {"table1": [], "table3": []}
ROWS: dict[str, Row] = {}
for _entry in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))["row"]:
    _paper = _entry.get("paper", {})
    _row = Row(
        name=_entry["name"],
        model=_entry["model"],
        part=_entry.get("part", ""),
        paper=tuple(_paper.get(score) for score in SCORES),
    )
    ROWS[_row.key] = _row
    for _table in _entry["tables"]:
        TABLES[_table].append(_row)
