"""From the judges' files to Table 2: who won how often, how far judges agree, and whether they can be believed.

Paper: Sec. 4.3.2 and Table 2 (win, lose and Fleiss' kappa). Added to it: an interval for kappa, a sign test, each judge's
bias to one side, attention checks.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ctsm_lib.errors import ConfigError, DataError
from ctsm_lib.versions import versions
from ctsm_workbench.judging.files import (
    ASPECTS,
    JUDGES,
    KEY,
    SHEET,
    Answers,
    Sheet,
    read_answers,
    read_key,
    read_sheet,
)

OUTCOMES = ("win", "tie", "lose")


@dataclass
class Judgements:
    """Everything that was judged on one sheet: the sheet, what its key says, each judge's answers and their file."""

    sheet: Sheet
    key: dict[str, Any]
    answers: dict[str, Answers]
    files: dict[str, Path]
    left_out: tuple[str, ...] = ()


def gather(
    folders: Sequence[Path], key: Path | None = None, only_complete: bool = False
) -> Judgements:
    """Merge the judges of one or several folders that hold the same sheet.

    Args:
        folders: of `ctsm judge make`, or copies of it that came back from judges.
        key: the sealed key; by default the first folder's that has one.
        only_complete: leave out items that some judge has not finished, instead of refusing them.

    Raises:
        DataError: no judge, different sheets, a key of another sheet, one judge twice, a judgement that is missing,
            there twice or none of A, tie, B; with names and lines.
    """
    if not folders:
        raise ConfigError("Name a folder of `ctsm judge make`.")
    sheet = read_sheet(folders[0])
    for folder in folders[1:]:
        if (other := read_sheet(folder)) != sheet:
            raise DataError(
                f"{folder / SHEET} ({other.number}) and {folders[0] / SHEET} ({sheet.number}) differ. "
                "Score each sheet by itself."
            )
    paths = [folder / KEY for folder in folders]
    secret = read_key(key or next((path for path in paths if path.is_file()), paths[0]), sheet)
    answers: dict[str, Answers] = {}
    files: dict[str, Path] = {}
    problems: list[str] = []
    unfinished: set[str] = set()
    for path in (path for folder in folders for path in sorted((folder / JUDGES).glob("*.csv"))):
        judge = path.stem
        if judge in files:
            raise DataError(f"{judge} has judged twice: {files[judge]} and {path}. Leave one.")
        files[judge] = path
        answers[judge], lines = read_answers(path, sheet)
        for item in sheet.items:
            missing = [aspect for aspect in ASPECTS if (item.name, aspect) not in answers[judge]]
            if missing:
                where = f"{path}:{lines[item.name]}" if item.name in lines else f"{path} (no row)"
                problems.append(
                    f"{where}: {judge} has not judged {', '.join(missing)} of {item.name}"
                )
                unfinished.add(item.name)
    if not files:
        raise DataError(
            f"{folders[0] / JUDGES} holds no judgements. `ctsm judge serve {folders[0]} --judge NAME` asks."
        )
    if problems and not only_complete:
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise DataError(
            f"{len(problems)} missing: {'; '.join(problems[:5])}{more}. Finish them, or leave these items out for all "
            "judges with --only-complete."
        )
    return Judgements(sheet, secret, answers, files, tuple(sorted(unfinished)))


def score(judgements: Judgements, *, draws: int = 2000, seed: int = 0) -> dict[str, Any]:
    """All of Table 2 and what it rests on, ready for JSON.

    Args:
        draws: bootstrap samples of the items, for the interval of kappa.
        seed: of the bootstrap.

    Returns:
        `table`: a row for each comparison and aspect with `pooled` (share of all judgements, %), `majority` (share of
        items, %; an item without a majority counts as `none`), `test` (binomial test of wins against losses among the
        items' majorities; judgements of one item are not independent, so the pooled ones are not tested), `p_holm` (corrected
        for the rows of the table), and `kappa` as `agreement` says. `judges`: each judge's sides, and attention checks.

    Raises:
        DataError: no item of a comparison is left.
    """
    secrets, judges = judgements.key["items"], sorted(judgements.answers)
    ours = judgements.key["systems"][0]["name"]
    kept = [item.name for item in judgements.sheet.items if item.name not in judgements.left_out]
    table: list[dict[str, Any]] = []
    for system in judgements.key["systems"][1:]:
        pair = {ours, system["name"]}
        items = [
            i
            for i in kept
            if secrets[i]["kind"] == "comparison" and {secrets[i]["A"], secrets[i]["B"]} == pair
        ]
        if not items:
            raise DataError(
                f"No item of {ours} against {system['name']} was judged by all {len(judges)} judges."
            )
        for aspect in ASPECTS:
            codes = np.array(
                [
                    [_outcome(judgements.answers[j][i, aspect], secrets[i], ours) for j in judges]
                    for i in items
                ]
            )
            table.append(
                {"comparison": f"{ours} vs. {system['name']}", "aspect": aspect}
                | _row(codes, draws, seed)
            )
    _holm(table)
    return {
        "sheet": judgements.sheet.number,
        "systems": judgements.key["systems"],
        "table": table,
        "judges": {judge: _reliability(judgements, judge, kept) for judge in judges},
        "left_out": list(judgements.left_out),
        "seed": {"sheet": judgements.key["seed"], "bootstrap": seed},
        "draws": draws,
        "versions": versions()
        | {package: version(package) for package in ("scipy", "statsmodels")},
    }


def _outcome(choice: str, secret: dict, ours: str) -> int:
    if choice == "tie":
        return OUTCOMES.index("tie")
    return OUTCOMES.index("win" if secret[choice] == ours else "lose")


def _row(codes: np.ndarray, draws: int, seed: int) -> dict[str, Any]:
    """Numbers of one comparison and aspect.

    Args:
        codes: position in `OUTCOMES` of what each judge said of each item. [ITEMS, JUDGES]
    """
    counts = Counter(codes.ravel().tolist())
    verdicts = Counter(_majority(row) for row in codes.tolist())
    wins, losses = verdicts["win"], verdicts["lose"]
    return {
        "items": codes.shape[0],
        "judges": codes.shape[1],
        "pooled": {name: 100 * counts[code] / codes.size for code, name in enumerate(OUTCOMES)},
        "majority": {name: 100 * verdicts[name] / len(codes) for name in (*OUTCOMES, "none")},
        "test": sign_test(wins, losses),
        "kappa": agreement(codes, draws=draws, seed=seed),
    }


def _majority(row: Sequence[int]) -> str:
    """What more than half of the judges say of an item, or "none"."""
    code, count = Counter(row).most_common(1)[0]
    return OUTCOMES[code] if 2 * count > len(row) else "none"


def sign_test(wins: int, losses: int) -> dict[str, Any]:
    """Two-sided binomial test of wins against losses, ties left out.

    Returns:
        `wins`, `losses`, `p`, `share` of wins and its 95 % interval (Wilson); the last three None without wins or losses.
    """
    from scipy.stats import binomtest

    result: dict[str, Any] = {
        "wins": wins,
        "losses": losses,
        "p": None,
        "share": None,
        "low": None,
        "high": None,
    }
    if wins + losses:
        test = binomtest(wins, wins + losses)
        interval = test.proportion_ci(method="wilson")
        result |= {"p": float(test.pvalue), "share": wins / (wins + losses)}
        result |= {"low": float(interval.low), "high": float(interval.high)}
    return result


def agreement(
    codes: np.ndarray, *, categories: int = 3, draws: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Fleiss' kappa with a percentile interval from bootstrap samples of the items.

    Args:
        codes: category, from 0, that each judge gave each item. [ITEMS, JUDGES]
        categories: how many there are.
        draws, seed: of the bootstrap.

    Returns:
        `value`, `low`, `high` (95 %), and `note`, which says why one of them is None: kappa compares judges, so one judge
        has none; it is 0 / 0 where all judgements are in one category; one item has no interval. `undefined_draws` counts
        the bootstrap samples in which kappa is undefined: they are left out.

    Source: Fleiss (1971), as statsmodels computes it.
    """
    try:
        from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa
    except ImportError:
        raise ConfigError(
            "Fleiss' kappa needs statsmodels: pip install 'ctsm-lab[notebooks]'."
        ) from None

    def kappa(some: np.ndarray) -> float:
        if (
            len(np.unique(some)) == 1
        ):  # expected agreement is 1: nothing is left to agree on beyond chance
            return math.nan
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error", RuntimeWarning
            )  # a division by zero would be a hole in the guard above
            return float(fleiss_kappa(aggregate_raters(some, n_cat=categories)[0], method="fleiss"))

    result: dict[str, Any] = {
        "value": None,
        "low": None,
        "high": None,
        "note": "",
        "undefined_draws": 0,
    }
    items, judges = codes.shape
    if judges < 2:
        return result | {"note": "one judge: agreement needs two"}
    value = kappa(codes)
    if math.isnan(value):
        return result | {"note": "all judgements are the same: kappa is undefined"}
    if items < 2:
        return result | {"value": value, "note": "one item: no interval"}
    random = np.random.default_rng(seed)
    samples = np.array([kappa(codes[random.integers(items, size=items)]) for _ in range(draws)])
    defined = samples[~np.isnan(samples)]
    result |= {"value": value, "undefined_draws": int(draws - len(defined))}
    if len(defined) < draws / 2 or not draws:
        return result | {"note": "too few different judgements: no interval"}
    low, high = np.percentile(defined, [2.5, 97.5])
    return result | {"low": float(low), "high": float(high)}


def _holm(table: list[dict[str, Any]]) -> None:
    """Add `p_holm`: a table of many tests finds something by chance alone."""
    from statsmodels.stats.multitest import multipletests

    rows = [row for row in table if row["test"]["p"] is not None]
    corrected = multipletests([row["test"]["p"] for row in rows], method="holm")[1] if rows else []
    for row in table:
        row["p_holm"] = None
    for row, p in zip(rows, corrected, strict=True):
        row["p_holm"] = float(p)


def _reliability(judgements: Judgements, judge: str, kept: Sequence[str]) -> dict[str, Any]:
    """How often a judge took either side, which by design has our system half of the time, and the attention checks."""
    secrets, answers = judgements.key["items"], judgements.answers[judge]
    plain = [item for item in kept if secrets[item]["kind"] == "comparison"]
    checks = [item for item in kept if secrets[item]["kind"] != "comparison"]
    sides = Counter(answers[item, aspect] for item in plain for aspect in ASPECTS)
    failed = [
        item
        for item in checks
        if answers[item, secrets[item]["aspect"]] != secrets[item]["expected"]
    ]
    # One test for an item, not for an answer: a judge's three answers to one item hang together.
    lean = [
        sum({"A": 1, "B": -1}.get(answers[item, aspect], 0) for aspect in ASPECTS) for item in plain
    ]
    return {
        "sides": {side: sides[side] for side in ("A", "tie", "B")},
        "side_test": sign_test(sum(x > 0 for x in lean), sum(x < 0 for x in lean)),
        "checks": len(checks),
        "passed": len(checks) - len(failed),
        "failed": failed,
    }
