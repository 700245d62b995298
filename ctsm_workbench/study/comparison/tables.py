"""From results of runs to a table: means over seeds, intervals, and differences of CTSM to each row.

Intervals: over two seeds or more, Student's t around their mean. With one seed, the percentile bootstrap over test
examples, which tells nothing about other seeds. Differences: paired bootstrap over test examples, with scores averaged
over the seeds that both systems have.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctsm_lib.checkpoint import read_json
from ctsm_lib.errors import DataError
from ctsm_workbench.study.comparison.published import SCORES, Row
from ctsm_workbench.study.intervals import percentiles, resampled, student_interval

DRAWS = 2_000
SHOWN = (*SCORES, "ppl_token", "mean_length", "distinct_responses")
PARTS = {"acc": "right", "ppl_peer": "nll"}  # the array of each example that a score is a mean of
Examples = dict[int, dict[str, np.ndarray]]


def collect(rows: Sequence[Row], folder: Path) -> dict:
    """The content of a table.

    Args:
        folder: results of `run_missing`: ROW-seedN.json and their examples.

    Returns:
        rows: for each its name, the paper's scores, seeds, and for each score mean, low, high and values;
        `against_ctsm` with the differences (CTSM minus the row) in acc and ln ppl_peer. budget, batch_size, data,
        knowledge, concepts: what all rows share (the last two: all rows that use them). not_run: names without a
        result.

    Raises:
        DataError: results of different budget or data lie in the folder.
    """
    found = {row.key: _results(folder, row.key) for row in rows}
    every = [result for results in found.values() for result in results]
    shared = _shared(every, folder) if every else {}
    examples = {key: _examples(folder, results) for key, results in found.items()}
    table = []
    for row in rows:
        results = found[row.key]
        entry: dict = {
            "key": row.key,
            "name": row.name,
            "paper": dict(zip(SCORES, row.paper, strict=True)),
            "seeds": [result["run"]["seed"] for result in results],
        }
        if results:
            entry["knowledge"] = results[0]["run"].get("knowledge")
            entry["scores"] = {
                score: _summary([result.get(score) for result in results], score, examples[row.key])
                for score in SHOWN
            }
            if row.key != "ctsm" and found.get("ctsm"):
                entry["against_ctsm"] = _against(examples["ctsm"], examples[row.key])
        table.append(entry)
    return shared | {"rows": table, "not_run": [row.name for row in rows if not found[row.key]]}


def _results(folder: Path, key: str) -> list[dict]:
    found = [read_json(path) for path in folder.glob(f"{key}-seed*.json")]
    return sorted(found, key=lambda result: result["run"]["seed"])


def _shared(results: Sequence[dict], folder: Path) -> dict:
    """The facts that all results must have in common to stand in one table."""

    def facts(result: dict) -> dict:
        names = ("data", "fingerprint", "vectors", "vocab", "precision")
        own = {"budget": result["budget"], "batch_size": result["config"]["batch_size"]}
        return own | {"n": result["n"]} | {name: result["run"][name] for name in names}

    first = facts(results[0])
    read: dict[str, str] = {}  # commonsense and concepts, of the first result that uses them
    for result in results:
        run = result["run"]
        used = {name: run.get(name) for name in ("knowledge", "concepts")}
        used = {name: value for name, value in used.items() if value not in (None, "not read")}
        read = used | read
        others = first | read
        for name, value in (facts(result) | used).items():
            if value != others[name]:
                raise DataError(
                    f"{folder}: {result['row']}, seed {run['seed']} has {name} {value}, others "
                    f"{others[name]}. All results in one table need the same budget and data: "
                    "move one of them elsewhere."
                )
    return first | read | {"preset": results[0]["config"]["preset"].partition("-wo-")[0]}


def _examples(folder: Path, results: Sequence[dict]) -> Examples:
    """By seed: right [n] (1 where the emotion is correct) and nll [n] (mean over tokens), where a row has them."""
    examples = {}
    for result in results:
        path = folder / result["examples"]
        if path.is_file():
            with np.load(path, allow_pickle=False) as kept:
                examples[result["run"]["seed"]] = dict(kept)
    return examples


def _bootstrap(values: np.ndarray) -> np.ndarray:
    """Means of resampled examples, [DRAWS]; equal draws for equally many examples, so pairs stay pairs."""
    random = np.random.default_rng(0)
    return resampled(lambda chosen: values[chosen].mean(), len(values), DRAWS, random)[1:]


def _summary(values: list[float | None], score: str, examples: Examples) -> dict | None:
    """Mean and 95 % interval of a score."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    interval: tuple[float | None, float | None] = (None, None)
    over = ""
    if len(known) > 1:
        interval = student_interval(known)
        over = "seeds"
    elif score in PARTS and examples:
        drawn = _bootstrap(next(iter(examples.values()))[PARTS[score]])
        interval = percentiles(100 * drawn if score == "acc" else np.exp(drawn))
        over = "examples"
    return {
        "mean": float(np.mean(known)),
        "low": interval[0],
        "high": interval[1],
        "interval_over": over,
        "values": values,
    }


def _against(ctsm: Examples, other: Examples) -> dict:
    """CTSM minus another row over their common seeds: acc in points, ppl_peer as ratio minus 1 in percent."""
    seeds = sorted(ctsm.keys() & other.keys())
    result: dict = {"seeds": seeds}
    for name, part in PARTS.items():
        both = [seed for seed in seeds if part in ctsm[seed] and part in other[seed]]
        if not both:
            continue
        difference = np.mean([ctsm[seed][part] - other[seed][part] for seed in both], axis=0)
        drawn = _bootstrap(difference)
        # Two-sided: twice the share of samples in which the sign is the other one.
        reverse = min(float((drawn <= 0).mean()), float((drawn >= 0).mean()))
        values = np.array([difference.mean(), *percentiles(drawn)])
        value, low, high = 100 * (values if name == "acc" else np.exp(values) - 1)
        result[name] = {"difference": float(value), "low": float(low), "high": float(high)}
        result[name]["p"] = min(1.0, 2 * reverse + 1 / DRAWS)
    return result


def markdown(table: dict) -> str:
    """The table as Markdown: the paper's number, ours, seeds, interval; below it the shared facts."""
    names = ("acc", "ppl_peer", "Dist-1", "Dist-2")
    heads = [head for name in names for head in (f"{name}, paper", name)]
    heads += ["words", "seeds", "CTSM better in acc", "in ppl_peer"]
    lines = [f"| {_line(heads)}", "|---" * (1 + len(heads)) + "|"]
    for row in table["rows"]:
        scores = row.get("scores", {})
        against = row.get("against_ctsm", {})
        length = scores.get("mean_length")
        cells = [row["name"]]
        for score in SCORES:
            cells += [_number(row["paper"][score]), _cell(scores.get(score))]
        cells.append(f"{length['mean']:.1f}" if length else "-")
        cells.append(str(len(row["seeds"])) if row["seeds"] else "not run")
        cells.append(_verdict(against.get("acc"), "points", sign=1))
        cells.append(_verdict(against.get("ppl_peer"), "%", sign=-1))
        lines.append(_line(cells))
    note = f"{caption(table)} CTSM better: paired bootstrap over test examples."
    return "\n".join([*lines, "", note]) + "\n"


def caption(table: dict) -> str:
    """The facts that all rows share, as sentences."""
    if "budget" not in table:
        return "Nothing has been run yet."
    vectors = table["vectors"] or {}
    text = (
        f"Every run: preset {table['preset']}, {table['budget']:,} iterations x "
        f"{table['batch_size']}, the last weights; data {table['data']}, {table['n']:,} test pairs, "
        f"vectors {vectors.get('name')}, commonsense {table.get('knowledge', 'not read')}, "
        f"emotion concepts {table.get('concepts', 'not read')}, {table['precision']}. "
        "Intervals of 95 %: over seeds by Student's t; with one seed over test examples by "
        "bootstrap, which tells nothing about other seeds."
    )
    return text + (f" Not run: {', '.join(table['not_run'])}." if table["not_run"] else "")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cell(summary: dict | None) -> str:
    if summary is None:
        return "-"
    if summary["low"] is None:
        return _number(summary["mean"])
    return f"{summary['mean']:.2f} ({summary['low']:.2f} to {summary['high']:.2f})"


def _verdict(difference: dict | None, unit: str, sign: int) -> str:
    if difference is None:
        return "-"
    text = f"{sign * difference['difference']:+.2f} {unit}"
    if difference["low"] <= 0 <= difference["high"]:
        return f"{text}, not clear"
    p = difference["p"]
    return f"{text}, p {'<' if p <= 1 / DRAWS else '='} {max(p, 1 / DRAWS):.3f}"
