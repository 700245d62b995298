"""The rows of Tables 1 and 3; the numbers that the paper prints are in `published.toml`."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

# Score -> whether more is better. `ppl_peer` is averaged as the baselines do it, see `scores`.
SCORES = {"acc": True, "ppl_peer": False, "dist1": True, "dist2": True}


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    name: str  # as the tables print it
    model: str  # for `ctsm train --model`
    part: str = ""  # the ablation, as presets name it
    paper: tuple[float | None, ...] = (None,) * len(SCORES)  # None where the paper has no number

    @property
    def key(self) -> str:
        """The row's name in files and for `--models`."""
        return self.part or self.model


TABLES: dict[str, list[Row]] = {"table1": [], "table3": []}
ROWS: dict[str, Row] = {}
for _fields in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))["row"]:
    _tables = _fields.pop("tables")
    _paper = _fields.pop("paper", {})
    _row = Row(**_fields, paper=tuple(map(_paper.get, SCORES)))
    ROWS[_row.key] = _row
    for _table in _tables:
        TABLES[_table].append(_row)
