"""From results of runs to a table: means over seeds, intervals, and differences to CTSM.

Intervals of accuracy and perplexity are bootstraps over dialogues, and over seeds where there are
several. Those of Dist are jackknives over dialogues. Other scores have an interval over seeds only
(Student's t). Differences to CTSM are paired; their p values are corrected over the rows (Holm).
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from ctsm_lib.errors import DataError
from ctsm_lib.files import read_json
from ctsm_workbench.study.by_dialogue import Dialogues, holm, jackknife_error, p_value
from ctsm_workbench.study.comparison.published import SCORES, Row
from ctsm_workbench.study.intervals import percentiles, student_interval
from ctsm_workbench.study.sentences import sentence

DRAWS = 2_000
NORMAL = 1.96  # standard errors on either side of an interval of 95 %
QUALITY_HEADS = {
    "acc_own": "acc without the bag", "acc_bag": "acc of the bag", "bleu": "BLEU", "ead1": "EAD-1",
    "self_bleu": "self-BLEU", "looping": "loops, %", "copy_rate": "copied, %",
}  # fmt: skip
SUMMARISED = (*SCORES, "ppl_token", "mean_length", "distinct_responses", *QUALITY_HEADS)
PARTS = {"acc": "right", "ppl_peer": "nll"}  # the array of each example that a score is a mean of
DATA = ("data", "fingerprint", "vectors", "vocab", "precision")  # alike in all runs of a table
WITHOUT = {"dist1": "dist1_without", "dist2": "dist2_without"}  # values without each dialogue
Examples = dict[int, dict[str, np.ndarray]]  # seed -> the arrays of `write_examples`, and Dist


def collect(rows: Sequence[Row], folder: Path) -> dict:
    """The content of a table, from a folder of results and examples that `run_missing` filled.

    Each of `rows` has its name, the paper's scores, seeds, for each score mean, low, high and
    values, and `against_ctsm` with the differences (CTSM minus the row) in these scores. Beside
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
                    dist = {score: result.get(score) for score in WITHOUT}
                    examples[row.key][result["run"]["seed"]] = dict(kept) | dist
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
    _correct(table)
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


def _stacked(examples: Examples, part: str, seeds: Collection[int]) -> np.ndarray | None:
    """An array of each seed, [S, ...]; None if one lacks it, or does not name the dialogues."""
    whole = [
        kept for kept in map(examples.get, seeds) if kept and {part, "dialogue"} <= kept.keys()
    ]
    return np.stack([kept[part] for kept in whole]) if len(whole) == len(seeds) > 0 else None


def _resampled(values_SN: np.ndarray, examples: Examples) -> np.ndarray:
    dialogue = next(kept["dialogue"] for kept in examples.values() if "dialogue" in kept)
    return Dialogues(dialogue).resampled_means(values_SN, DRAWS)


def _summary(values: list[float | None], score: str, examples: Examples) -> dict | None:
    """Mean and 95 % interval of a score, and what the interval covers."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = float(np.mean(known))
    low = high = None
    over = ""
    part = PARTS.get(score) or WITHOUT.get(score)
    arrays = _stacked(examples, part, examples) if part else None
    if arrays is not None and len(arrays) == len(known):
        over = "dialogues" if len(known) == 1 else "seeds and dialogues"
        if score in WITHOUT:
            half = NORMAL * jackknife_error(arrays)
            low, high = mean - half, mean + half
        else:
            drawn = _resampled(arrays, examples)[1:]
            low, high = percentiles(100 * drawn if score == "acc" else np.exp(drawn))
    elif len(known) > 1:
        low, high = student_interval(known)
        over = "seeds"
    return {"mean": mean, "low": low, "high": high, "interval_over": over, "values": values}


def _against(ctsm: Examples, other: Examples) -> dict:
    """CTSM minus a row over common seeds, with interval and p: acc and Dist in points.

    The difference of ppl_peer is the ratio minus 1, in percent.
    """
    seeds = sorted(ctsm.keys() & other.keys())
    result: dict = {"seeds": seeds}
    for score, part in (PARTS | WITHOUT).items():
        own, others = (_stacked(examples, part, seeds) for examples in (ctsm, other))
        if own is None or others is None or len(own) != len(others):
            continue
        if score in WITHOUT:
            middle = np.mean([ctsm[seed][score] - other[seed][score] for seed in seeds])
            error = jackknife_error(own - others)
            values = middle + NORMAL * error * np.array([0, -1, 1])
            p = 2 * stats.norm.sf(abs(middle) / error) if error else 1.0
        else:
            drawn = _resampled(own - others, ctsm)
            values = np.array([drawn[0], *percentiles(drawn[1:])])
            values = 100 * (values if score == "acc" else np.exp(values) - 1)
            p = p_value(drawn)
        named = zip(("difference", "low", "high"), values.tolist(), strict=True)
        result[score] = dict(named) | {"p": float(p)}
    return result


def _correct(table: list[dict]) -> None:
    """Add to each difference the p value that is corrected for all rows of the table (Holm)."""
    for score in PARTS | WITHOUT:
        against = [entry.get("against_ctsm", {}).get(score) for entry in table]
        found = [difference for difference in against if difference]
        corrected = holm([difference["p"] for difference in found])
        for difference, p in zip(found, corrected, strict=True):
            difference["p_holm"] = p


def markdown(table: dict) -> str:
    """The table as Markdown: the paper's numbers, ours, intervals; quality; the shared facts."""
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
    quality = markdown_table(["", *QUALITY_HEADS.values()], list(map(_quality, table["rows"])))
    return "\n".join(
        [markdown_table(heads, lines), f"{note}\n", quality, sentence("comparison", "quality"), ""]
    )


def _quality(row: dict) -> list[str]:
    """A row's quality beside its diversity."""
    found = [row.get("scores", {}).get(score) for score in QUALITY_HEADS]
    return [row["name"], *("-" if score is None else f"{score['mean']:.2f}" for score in found)]


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
    return f"{text}, {'not clear, ' if p > 0.05 else ''}p = {p:.3f}"
