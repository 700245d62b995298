"""From results of runs to a table: means over seeds, intervals, and differences to CTSM.

The interval of a mean over seeds is Student's t; with one seed it is a bootstrap over test
examples. Differences: paired bootstrap over examples, scores averaged over common seeds.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ctsm_lib.errors import DataError
from ctsm_lib.files import read_json
from ctsm_workbench.study.comparison.published import SCORES, Row
from ctsm_workbench.study.intervals import means, percentiles, student_interval
from ctsm_workbench.study.sentences import sentence

DRAWS = 2_000
SUMMARISED = (*SCORES, "ppl_token", "mean_length", "distinct_responses")
PARTS = {"acc": "right", "ppl_peer": "nll"}  # the array of each example that a score is a mean of
DATA = ("data", "fingerprint", "vectors", "vocab", "precision")  # alike in all runs of a table
Examples = dict[int, dict[str, np.ndarray]]  # seed -> right [n] and nll [n], where a row has them


def collect(rows: Sequence[Row], folder: Path) -> dict:
    """The content of a table, from a folder of results and examples that `run_missing` filled.

    Each of `rows` has its name, the paper's scores, seeds, for each score mean, low, high and
    values, and `against_ctsm` with the differences (CTSM minus the row) in acc and ppl_peer. Beside
    them stand the facts that all rows share, the commonsense of those that use it, and `not_run`.
    Results of different budget or data in one folder raise a `DataError`.
    """
    found = {}
    examples: dict[str, Examples] = {}
    for row in rows:
        results = [read_json(path) for path in folder.glob(f"{row.key}-seed*.json")]
        found[row.key] = sorted(results, key=lambda result: result["run"]["seed"])
        examples[row.key] = {}
        for result in results:
            if (path := folder / result["examples"]).is_file():
                with np.load(path) as kept:
                    examples[row.key][result["run"]["seed"]] = dict(kept)
    table = []
    for row in rows:
        results = found[row.key]
        paper = dict(zip(SCORES, row.paper, strict=True))
        seeds = [result["run"]["seed"] for result in results]
        entry: dict = {"key": row.key, "name": row.name, "paper": paper, "seeds": seeds}
        if results:
            entry["knowledge"] = results[0]["run"].get("knowledge")
            entry["scores"] = {
                score: _summary([result.get(score) for result in results], score, examples[row.key])
                for score in SUMMARISED
            }
            if row.key != "ctsm" and found.get("ctsm"):
                entry["against_ctsm"] = _against(examples["ctsm"], examples[row.key])
        table.append(entry)
    shared = _shared([result for results in found.values() for result in results], folder)
    return shared | {"rows": table, "not_run": [row.name for row in rows if not found[row.key]]}


def _shared(results: Sequence[dict], folder: Path) -> dict:
    """The facts that all results must have in common to stand in one table."""
    shared: dict = {}
    for result in results:
        run = result["run"]
        facts = {"budget": result["budget"], "batch_size": result["config"]["batch_size"]}
        facts |= {"n": result["n"]} | {name: run[name] for name in DATA}
        used = ("knowledge", "concepts")  # rows that use none stand beside any
        facts |= {name: run[name] for name in used if run.get(name) not in (None, "not read")}
        shared = facts | {"preset": result["config"]["preset"].partition("-wo-")[0]} | shared
        for name, value in facts.items():
            if value != shared[name]:
                found = f"{result['row']}, seed {run['seed']} has {name} {value}"
                rule = "All results in one table need the same budget and data"
                others = f"others {shared[name]}"
                raise DataError(f"{folder}: {found}, {others}. {rule}: move one of them elsewhere.")
    return shared


def _bootstrap(values: np.ndarray) -> np.ndarray:
    """Means of resampled examples, [DRAWS]; the same draws for every array of this length."""
    return means(values, DRAWS, np.random.default_rng(0))[1:]


def _summary(values: list[float | None], score: str, examples: Examples) -> dict | None:
    """Mean and 95 % interval of a score."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low = high = None
    over = ""
    if len(known) > 1:
        low, high = student_interval(known)
        over = "seeds"
    elif score in PARTS and examples:
        drawn = _bootstrap(next(iter(examples.values()))[PARTS[score]])
        low, high = percentiles(100 * drawn if score == "acc" else np.exp(drawn))
        over = "examples"
    mean = float(np.mean(known))
    return {"mean": mean, "low": low, "high": high, "interval_over": over, "values": values}


def _against(ctsm: Examples, other: Examples) -> dict:
    """CTSM minus a row over common seeds: acc in points, ppl_peer as ratio minus 1 in percent."""
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
        values = 100 * (values if name == "acc" else np.exp(values) - 1)
        result[name] = dict(zip(("difference", "low", "high"), values.tolist(), strict=True))
        result[name]["p"] = min(1.0, 2 * reverse + 1 / DRAWS)
    return result


def markdown(table: dict) -> str:
    """The table as Markdown: the paper's numbers, ours, intervals; below it the shared facts."""
    heads = ["", "acc, paper", "acc", "ppl_peer, paper", "ppl_peer", "Dist-1, paper", "Dist-1"]
    heads += ["Dist-2, paper", "Dist-2", "words", "seeds", "CTSM better in acc", "in ppl_peer"]
    lines = []
    for row in table["rows"]:
        scores = row.get("scores", {})
        against = row.get("against_ctsm", {})
        length = scores.get("mean_length")
        cells = [row["name"]]
        for score, paper in row["paper"].items():
            cells += ["-" if paper is None else f"{paper:.2f}", _cell(scores.get(score))]
        cells += [f"{length['mean']:.1f}" if length else "-", str(len(row["seeds"]) or "not run")]
        cells.append(_verdict(against.get("acc"), "points", sign=1))
        cells.append(_verdict(against.get("ppl_peer"), "%", sign=-1))
        lines.append(cells)
    note = f"{caption(table)} {sentence('comparison', 'better')}"
    return f"{markdown_table(heads, lines)}\n{note}\n"


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
    if difference["low"] <= 0 <= difference["high"]:
        return f"{text}, not clear"
    p = difference["p"]
    return f"{text}, p {'<' if p <= 1 / DRAWS else '='} {max(p, 1 / DRAWS):.3f}"
