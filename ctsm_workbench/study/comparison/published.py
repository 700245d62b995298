"""The rows of Tables 1 and 3, and what the paper prints in them."""

from __future__ import annotations

from dataclasses import dataclass

# Score -> whether more is better. `acc` in percent; `ppl_peer` is how the baselines average, see `scores`.
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
        """What files and `--models` call it."""
        return self.part or self.model


_CTSM = Row("CTSM", "ctsm", paper=(43.41, 34.56, 2.00, 7.34))
TABLES: dict[str, tuple[Row, ...]] = {
    "table1": (
        Row("TF-IDF + logistic regression", "tfidf"),
        Row("Transformer", "transformer", paper=(None, 37.73, 0.47, 2.04)),
        Row("Transformer + emotion", "multi-transformer"),
        Row("MoEL", "moel", paper=(32.00, 38.04, 0.44, 2.10)),
        Row("MIME", "mime", paper=(34.24, 37.09, 0.47, 1.91)),
        Row("EmpDG", "empdg", paper=(34.31, 37.29, 0.46, 2.02)),
        Row("KEMP", "kemp", paper=(39.31, 36.89, 0.55, 2.29)),
        Row("CEM", "cem", paper=(39.11, 36.11, 0.66, 2.99)),
        Row("CASE", "case", paper=(40.20, 35.37, 0.74, 4.01)),
        _CTSM,
    ),
    "table3": (
        _CTSM,
        Row("w/o TEE", "ctsm", "wo-tee", (42.58, 34.68, 1.18, 4.28)),
        Row("w/o SEE", "ctsm", "wo-see", (42.63, 35.01, 1.42, 5.06)),
        Row("w/o EGM", "ctsm", "wo-egm", (39.66, 35.08, 1.72, 6.50)),
        Row("w/o CCL", "ctsm", "wo-ccl", (42.97, 34.42, 1.73, 6.27)),
        Row("w/o EGM & CCL", "ctsm", "wo-egm-ccl", (41.88, 36.35, 1.57, 5.42)),
    ),
}
ROWS: dict[str, Row] = {row.key: row for rows in TABLES.values() for row in rows}
