"""From results of runs to a table: means over seeds, intervals, and differences to CTSM.

Intervals of accuracy and perplexity are bootstraps over dialogues, and over seeds where there are
several. Those of Dist are jackknives over dialogues. Other scores have an interval over seeds only
(Student's t). Differences to CTSM are paired; their p values are corrected over the rows (Holm).
"""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from ctsm_lib.errors import DataError
from ctsm_lib.files import read_json
from ctsm_workbench.study import intervals, sentence
from ctsm_workbench.study.intervals import Array

# Score -> whether more is better. `ppl_peer` is averaged as the baselines do it, see `scores`.
SCORES = {"acc": True, "ppl_peer": False, "dist1": True, "dist2": True}
DRAWS = 2_000
NORMAL = 1.96  # standard errors on either side of an interval of 95 %
_TABLES = tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))
HEADS = _TABLES["heads"]
SUMMARISED = (*SCORES, "ppl_token", "mean_length", "distinct_responses", *HEADS["quality"])
MEANS = {"acc": "right", "ppl_peer": "nll"}  # the array of each pair that a score is a mean of
DIST = {"dist1": "dist1_without", "dist2": "dist2_without"}  # values without each dialogue
PARTS = MEANS | DIST
SHARED = ("data", "fingerprint", "vectors", "vocab", "precision")  # alike in all runs of a table


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    name: str  # as the tables print it
    model: str  # for `ctsm train --model`
    tables: list[str]  # that have this row
    part: str = ""  # the ablation, as presets name it
    variant: str = ""  # the name of a row that differs from another one in its settings
    settings: tuple[str, ...] = ()  # `key=value` of this row alone
    printed: dict[str, float] = field(default_factory=dict)  # score -> the paper's number

    @property
    def key(self) -> str:
        """The row's name in files and for `--models`."""
        return self.variant or self.part or self.model

    @property
    def paper(self) -> tuple[float | None, ...]:
        """The paper's number for each of `SCORES`; None where it prints none."""
        return tuple(map(self.printed.get, SCORES))


_ROWS = [Row(**fields) for fields in _TABLES["row"]]
ROWS = {row.key: row for row in _ROWS}
TITLES: dict[str, str] = _TABLES["titles"]
TABLES = {name: [row for row in _ROWS if name in row.tables] for name in TITLES}


def collect(rows: Sequence[Row], folder: Path) -> dict:
    """The content of a table, from a folder of results and examples that `run_missing` filled.

    Each of `rows` has its name, the paper's scores, seeds, for each score mean, low, high and
    values, and `against_ctsm` with the differences (CTSM minus the row) in these scores. Beside
    them stand the facts that all rows share, the commonsense of those that use it, and `not_run`.
    Results of different budget or data in one folder raise a `DataError`.
    """
    found = {row.key: _results(row.key, folder) for row in rows}
    table = []
    for row in rows:
        results = found[row.key]
        paper = dict(zip(SCORES, row.paper, strict=True))
        entry: dict = {"key": row.key, "name": row.name, "paper": paper, "seeds": sorted(results)}
        if results:
            entry["knowledge"] = results[min(results)]["run"].get("knowledge")
            entry["scores"] = {score: _summary(results, score) for score in SUMMARISED}
            if row.key != "ctsm" and found.get("ctsm"):
                entry["against_ctsm"] = _against(found["ctsm"], results)
        table.append(entry)
    # A p value has to hold for all rows of the table together.
    for score in PARTS:
        against = (entry.get("against_ctsm", {}).get(score) for entry in table)
        differences = list(filter(None, against))
        corrected = intervals.holm([difference["p"] for difference in differences])
        for difference, p in zip(differences, corrected, strict=True):
            difference["p_holm"] = p
    shared = _shared([own[seed] for own in found.values() for seed in sorted(own)], folder)
    return shared | {"rows": table, "not_run": [row.name for row in rows if not found[row.key]]}


def _results(key: str, folder: Path) -> dict[int, dict]:
    """The results of a row in order of seeds, each with the arrays of `write_examples`."""
    found = {}
    for result in map(read_json, folder.glob(f"{key}-seed*.json")):
        result["arrays"] = {}
        if (path := folder / result["examples"]).is_file():
            with np.load(path) as kept:
                result["arrays"] = dict(kept)
        found[result["run"]["seed"]] = result
    return dict(sorted(found.items()))


def _shared(results: Sequence[dict], folder: Path) -> dict:
    """The facts that all results must have in common to stand in one table."""
    shared: dict = {}
    used = ("knowledge", "concepts")  # rows that use none stand beside any
    for result in results:
        run = result["run"]
        facts = {"budget": result["budget"], "batch_size": result["config"]["batch_size"]}
        facts |= {"n": result["n"]} | {name: run[name] for name in SHARED}
        facts |= {name: run[name] for name in used if run.get(name) not in (None, "not read")}
        shared = facts | {"preset": result["config"]["preset"].partition("-wo-")[0]} | shared
        for name, value in facts.items():
            if value != shared[name]:
                found = f"{result['row']}, seed {run['seed']} has {name} {value}"
                rule = "All results in one table need the same budget and data"
                others = f"others {shared[name]}"
                raise DataError(f"{folder}: {found}, {others}. {rule}: move one of them elsewhere.")
    return shared


def _stacked(results: dict[int, dict], part: str, seeds: Iterable[int]) -> Array | None:
    """An array of each seed, [S, ...]; None if one lacks it, or does not name the dialogues."""
    kept = [results[seed]["arrays"] for seed in seeds]
    if not kept or any(part not in arrays or "dialogue" not in arrays for arrays in kept):
        return None
    return np.stack([arrays[part] for arrays in kept])


def _summary(results: dict[int, dict], score: str) -> dict | None:
    """Mean and 95 % interval of a score, and what the interval covers."""
    values = [results[seed].get(score) for seed in sorted(results)]
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = float(np.mean(known))
    low = high = None
    over = ""
    if (arrays := _stacked(results, PARTS.get(score, ""), results)) is not None:
        over = "dialogues" if len(known) == 1 else "seeds and dialogues"
        if score in DIST:
            half = NORMAL * intervals.jackknife_error(arrays)
            low, high = mean - half, mean + half
        else:
            dialogue = next(iter(results.values()))["arrays"]["dialogue"]
            drawn = intervals.resampled_means(arrays, dialogue, DRAWS)[1:]
            low, high = intervals.percentiles(100 * drawn if score == "acc" else np.exp(drawn))
    elif len(known) > 1:
        over = "seeds"
        low, high = intervals.student_interval(known)
    return {"mean": mean, "low": low, "high": high, "interval_over": over, "values": values}


def _against(ctsm: dict[int, dict], other: dict[int, dict]) -> dict:
    """CTSM minus a row over common seeds, with interval and p: acc and Dist in points.

    The difference of ppl_peer is the ratio minus 1, in percent.
    """
    common = sorted(ctsm.keys() & other.keys())
    seeds = [seed for seed in common if ctsm[seed]["arrays"] and other[seed]["arrays"]]
    result: dict = {"seeds": seeds}
    for score, part in PARTS.items():
        own = _stacked(ctsm, part, seeds)
        others = _stacked(other, part, seeds)
        if own is None or others is None:
            continue
        if score in DIST:
            middle = np.mean([ctsm[seed][score] - other[seed][score] for seed in seeds])
            error = intervals.jackknife_error(own - others)
            values = middle + NORMAL * error * np.array([0, -1, 1])
            p = 2 * stats.norm.sf(abs(middle) / error) if error else 1.0
        else:
            dialogue = ctsm[seeds[0]]["arrays"]["dialogue"]
            drawn = intervals.resampled_means(own - others, dialogue, DRAWS)
            values = np.array([drawn[0], *intervals.percentiles(drawn[1:])])
            values = 100 * (values if score == "acc" else np.exp(values) - 1)
            p = intervals.p_value(drawn)
        named = zip(("difference", "low", "high"), values.tolist(), strict=True)
        result[score] = dict(named) | {"p": float(p)}
    return result


def markdown(table: dict) -> str:
    """The table as Markdown: the paper's numbers, ours, intervals; quality; the shared facts."""
    known = [row.get("scores", {}) for row in table["rows"]]
    measured = {name for scores in known for name, found in scores.items() if found}
    if "acc_bag" not in measured:
        measured -= {"acc_own"}  # without a bag it is the accuracy
    heads = {name: head for name, head in HEADS["quality"].items() if name in measured}
    lines = []
    quality = []
    for row, scores in zip(table["rows"], known, strict=True):
        against = row.get("against_ctsm", {})
        cells = [row["name"]]
        for score, paper in row["paper"].items():
            cells += ["-" if paper is None else f"{paper:.2f}", _cell(scores.get(score))]
        length = scores.get("mean_length")
        cells += [f"{length['mean']:.1f}" if length else "-", str(len(row["seeds"]) or "not run")]
        better = [_verdict(against.get("acc"), "points", sign=1)]
        lines.append([*cells, *better, _verdict(against.get("ppl_peer"), "%", sign=-1)])
        found = [scores.get(score) for score in heads]
        quality.append([row["name"], *(f"{one['mean']:.2f}" if one else "-" for one in found)])
    note = f"{caption(table)} {sentence('comparison', 'better')}\n"
    first = markdown_table(HEADS["table"], lines)
    if not heads:
        return "\n".join([first, note])
    second = markdown_table(["", *heads.values()], quality)
    return "\n".join([first, note, second, sentence("comparison", "quality"), ""])


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of a Markdown table."""
    lines = [" | ".join(row) for row in (heads, *rows)]
    lines = [f"| {line.lstrip()} |\n" for line in lines]
    return "".join([lines[0], "|---" * len(heads) + "|\n", *lines[1:]])


def caption(table: dict) -> str:
    """The facts that all rows share, as sentences."""
    if "budget" not in table:
        return sentence("comparison", "nothing")
    facts = {"knowledge": "not read", "concepts": "not read"} | table
    facts["vectors"] = (table["vectors"] or {}).get("name")
    texts = [sentence("comparison", "shared", **facts), sentence("comparison", "intervals")]
    if table["not_run"]:
        texts.append(sentence("comparison", "not_run", rows=", ".join(table["not_run"])))
    return " ".join(texts)


def _cell(summary: dict | None) -> str:
    if summary is None:
        return "-"
    interval = "" if summary["low"] is None else " ({low:.2f} to {high:.2f})"
    return ("{mean:.2f}" + interval).format(**summary)


def _verdict(difference: dict | None, unit: str, sign: int) -> str:
    if difference is None:
        return "-"
    text = f"{sign * difference['difference']:+.2f} {unit}"
    p = difference["p_holm"]
    relation = "<=" if difference["p"] <= 1 / DRAWS else "="  # no sample had the other sign
    return f"{text}, {'not clear, ' if p > 0.05 else ''}p {relation} {p:.4f}"
