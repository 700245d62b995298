"""From results of runs to a table: means over seeds, intervals, and whether CTSM differs from each row.

Intervals: over two seeds or more, Student's t around their mean; with one seed the percentile bootstrap over test
examples, which says nothing of other seeds. Differences: paired bootstrap over test examples, scores averaged over the
seeds that both systems have. Sources: Efron and Tibshirani (1993); Koehn (2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from ctsm_lib.checkpoint import read_json
from ctsm_lib.errors import DataError
from ctsm_workbench.study.comparison.published import SCORES, Row

DRAWS = 2_000


def collect(rows: Sequence[Row], folder: Path) -> dict:
    """Everything that a table shows.

    Args:
        folder: results of `run_missing`: ROW-seedN.json and their examples.

    Returns:
        rows: for each its name, the paper's scores, seeds, and for each score mean, low, high and values; `against_ctsm`
        with the differences (CTSM minus the row) in acc and ln ppl_peer. budget, batch_size, data, knowledge, concepts:
        what all share (of the last two those that read them). not_run: names without a result.

    Raises:
        DataError: results of different budget or data lie in the folder.
    """
    found = {row.key: _results(folder, row.key) for row in rows}
    every = [result for results in found.values() for result in results]
    shared = _shared(every, folder) if every else {}
    examples = {key: _examples(folder, results) for key, results in found.items()}
    table = []
    for row in rows:
        entry: dict = {
            "key": row.key,
            "name": row.name,
            "paper": dict(zip(SCORES, row.paper, strict=True)),
        }
        results = found[row.key]
        entry["seeds"] = [result["run"]["seed"] for result in results]
        if results:
            entry["knowledge"] = results[0]["run"].get("knowledge")
            entry["scores"] = {
                score: _summary([result.get(score) for result in results], score, examples[row.key])
                for score in (*SCORES, "ppl_token", "mean_length", "distinct_responses")
            }
            if row.key != "ctsm" and found.get("ctsm"):
                entry["against_ctsm"] = _against(examples["ctsm"], examples[row.key])
        table.append(entry)
    return shared | {"rows": table, "not_run": [row.name for row in rows if not found[row.key]]}


def _results(folder: Path, key: str) -> list[dict]:
    found = [read_json(path) for path in sorted(folder.glob(f"{key}-seed*.json"))]
    return sorted(found, key=lambda result: result["run"]["seed"])


def _shared(results: Sequence[dict], folder: Path) -> dict:
    """What all results must have in common to stand in one table."""

    def facts(result: dict) -> dict:
        run, config = result["run"], result["config"]
        data = {
            name: run[name] for name in ("data", "fingerprint", "vectors", "vocab", "precision")
        }
        return {
            "budget": result["budget"],
            "batch_size": config["batch_size"],
            "n": result["n"],
        } | data

    first = facts(results[0])
    read: dict[str, str] = {}
    for result in results:
        run = result["run"]
        optional = {
            name: value
            for name in ("knowledge", "concepts")
            if (value := run.get(name)) not in (None, "not read")
        }
        read = optional | read  # of the first one that reads it
        own, others = facts(result) | optional, first | read
        if differing := [name for name, value in own.items() if value != others[name]]:
            name = differing[0]
            raise DataError(
                f"{folder}: {result['row']}, seed {run['seed']} has {name} {own[name]}, others {others[name]}. "
                "One table needs the same budget and data for all: move one of them elsewhere."
            )
    return first | read | {"preset": results[0]["config"]["preset"].partition("-wo-")[0]}


def _examples(folder: Path, results: Sequence[dict]) -> dict[int, dict[str, np.ndarray]]:
    """Seed -> right [n] (1: emotion right; None without emotions) and nll [n] (mean of its tokens; None without words)."""
    examples = {}
    for result in results:
        path = folder / result["examples"]
        if path.is_file():
            with np.load(path, allow_pickle=False) as kept:
                examples[result["run"]["seed"]] = {name: kept[name] for name in kept.files}
    return examples


def _summary(
    values: Sequence[float | None], score: str, examples: dict[int, dict[str, np.ndarray]]
) -> dict | None:
    """Mean and 95 % interval of a score."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean, of = float(np.mean(known)), ""
    interval: tuple[float, float] | tuple[None, None] = (None, None)
    if len(known) > 1:
        half = float(
            stats.t.ppf(0.975, len(known) - 1) * np.std(known, ddof=1) / np.sqrt(len(known))
        )
        interval, of = (mean - half, mean + half), "seeds"
    elif (part := {"acc": "right", "ppl_peer": "nll"}.get(score)) and examples:
        drawn = _bootstrap(next(iter(examples.values()))[part])
        drawn = 100 * drawn if score == "acc" else np.exp(drawn)
        low, high = np.quantile(drawn, [0.025, 0.975])
        interval, of = (float(low), float(high)), "examples"
    return {
        "mean": mean,
        "low": interval[0],
        "high": interval[1],
        "interval_over": of,
        "values": list(values),
    }


def _bootstrap(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Means of resampled examples, [DRAWS]. The same draws for every call with as many values: pairs stay pairs."""
    random, means = np.random.default_rng(seed), np.empty(DRAWS)
    for draw in range(DRAWS):  # a matrix of all draws would need 80 MB
        means[draw] = values[random.integers(0, len(values), len(values))].mean()
    return means


def _against(
    ctsm: dict[int, dict[str, np.ndarray]], other: dict[int, dict[str, np.ndarray]]
) -> dict:
    """CTSM minus another row, over the seeds that both have: acc in points, ppl_peer as a ratio minus 1 in percent."""
    seeds = sorted(ctsm.keys() & other.keys())
    result: dict = {"seeds": seeds}
    for part, name in (("right", "acc"), ("nll", "ppl_peer")):
        pairs = [
            (ctsm[seed][part], other[seed][part])
            for seed in seeds
            if part in ctsm[seed] and part in other[seed]
        ]
        if not pairs:
            continue
        difference = np.mean([mine - theirs for mine, theirs in pairs], axis=0)
        drawn = _bootstrap(difference)
        # Two-sided: how often resampling turns the sign round.
        p = min(1.0, 2 * min(float((drawn <= 0).mean()), float((drawn >= 0).mean())) + 1 / DRAWS)
        value, (low, high) = float(difference.mean()), np.quantile(drawn, [0.025, 0.975])
        scale = (lambda x: 100 * x) if name == "acc" else (lambda x: 100 * (np.exp(x) - 1))
        result[name] = {
            "difference": scale(value),
            "low": float(scale(low)),
            "high": float(scale(high)),
            "p": p,
        }
    return result


def markdown(table: dict) -> str:
    """The table for people: the paper's number, ours, seeds, interval; below it what was compared."""
    lines = [
        "| | acc, paper | acc | ppl_peer, paper | ppl_peer | Dist-1, paper | Dist-1 | Dist-2, paper | Dist-2 | words | seeds | CTSM better in acc | in ppl_peer |",
        "|---|" + "---|" * 12,
    ]
    for row in table["rows"]:
        cells = [row["name"]]
        for score in SCORES:
            cells += [_number(row["paper"][score]), _cell(row.get("scores", {}).get(score))]
        length = row.get("scores", {}).get("mean_length")
        cells += [
            f"{length['mean']:.1f}" if length else "-",
            str(len(row["seeds"])) if row["seeds"] else "not run",
        ]
        against = row.get("against_ctsm", {})
        cells += [
            _verdict(against.get("acc"), "points", True),
            _verdict(against.get("ppl_peer"), "%", False),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return (
        "\n".join(
            [*lines, "", f"{caption(table)} CTSM better: paired bootstrap over test examples."]
        )
        + "\n"
    )


def caption(table: dict) -> str:
    """What all rows share, in words."""
    if "budget" not in table:
        return "Nothing has been run yet."
    vectors = table["vectors"] or {}
    text = (
        f"Every run: preset {table['preset']}, {table['budget']:,} iterations x {table['batch_size']}, the last weights; "
        f"data {table['data']}, {table['n']:,} test pairs, vectors {vectors.get('name')}, "
        f"commonsense {table.get('knowledge', 'not read')}, emotion concepts {table.get('concepts', 'not read')}, "
        f"{table['precision']}. "
        "Intervals of 95 %: over seeds by Student's t; with one seed over test examples by bootstrap, which says nothing of "
        "other seeds."
    )
    return text + (f" Not run: {', '.join(table['not_run'])}." if table["not_run"] else "")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cell(summary: dict | None) -> str:
    if summary is None:
        return "-"
    if summary["low"] is None:
        return _number(summary["mean"])
    return f"{summary['mean']:.2f} ({summary['low']:.2f} to {summary['high']:.2f})"


def _verdict(difference: dict | None, unit: str, more: bool) -> str:
    if difference is None:
        return "-"
    sign = 1 if more else -1
    clear = difference["low"] > 0 or difference["high"] < 0
    text = f"{sign * difference['difference']:+.2f} {unit}"
    return (
        f"{text}, p {'<' if difference['p'] <= 1 / DRAWS else '='} {max(difference['p'], 1 / DRAWS):.3f}"
        if clear
        else f"{text}, not clear"
    )
