"""From the judges' files to Table 2: wins and losses, agreement, and the judges' reliability.

Paper: Sec. 4.3.2 and Table 2 (win, lose and Fleiss' kappa). Added to it: an interval for kappa, a
sign test, a test of each judge's preference for A or B, and attention checks.
"""

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ctsm_lib.errors import ConfigError, DataError
from ctsm_lib.run_folder import versions
from ctsm_workbench.judging import files
from ctsm_workbench.judging.files import ASPECTS, CHOICES, Answers, Sheet

OUTCOMES = ("win", "tie", "lose")


@dataclass
class Judgements:
    """The sheet, its key, each judge's answers, and the items that some judge has not finished."""

    sheet: Sheet
    key: dict[str, Any]
    answers: dict[str, Answers]
    left_out: tuple[str, ...] = ()


def gather(
    folders: Sequence[Path], key: Path | None = None, only_complete: bool = False
) -> Judgements:
    """Merge the judges of one or several folders that hold the same sheet.

    `key` is by default that of the first folder that has one. `only_complete` leaves out items
    that some judge has not finished. DataError: unfinished items without it, no judge, different
    sheets, a key of another sheet, or one judge twice.
    """
    first = folders[0]
    sheet = files.read_sheet(first)
    for folder in folders[1:]:
        if (other := files.read_sheet(folder)) != sheet:
            differ = f"{folder} ({other.number}) and {first} ({sheet.number}) differ"
            raise DataError(f"The sheets of {differ}. Score each sheet by itself.")
    keys = [folder / files.KEY for folder in folders]
    secret = files.read_key(key or next(filter(Path.is_file, keys), keys[0]), sheet)
    paths: dict[str, Path] = {}
    answers: dict[str, Answers] = {}
    problems: list[str] = []
    unfinished: set[str] = set()
    for folder in folders:
        for path in sorted((folder / files.JUDGES).glob("*.csv")):
            judge = path.stem
            if judge in paths:
                raise DataError(f"{judge} has judged twice: {paths[judge]} and {path}. Keep one.")
            paths[judge] = path
            answers[judge], lines = files.read_answers(path, sheet)
            for item in (item.name for item in sheet.items):
                missing = ", ".join(a for a in ASPECTS if (item, a) not in answers[judge])
                if missing:
                    where = f"{path}:{lines[item]}" if item in lines else f"{path} (no row)"
                    problems.append(f"{where}: {judge} has not judged {missing} of {item}")
                    unfinished.add(item)
    if not paths:
        hint = f"Run `ctsm judge serve {first} --judge NAME` to judge."
        raise DataError(f"{first / files.JUDGES} holds no judgements. {hint}")
    if problems and not only_complete:
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        hint = "Finish them, or leave these items out for all judges with --only-complete."
        raise DataError(f"{len(problems)} missing: {'; '.join(problems[:5])}{more}. {hint}")
    return Judgements(sheet, secret, answers, tuple(sorted(unfinished)))


def score(judgements: Judgements, *, draws: int = 2000, seed: int = 0) -> dict[str, Any]:
    """All numbers of Table 2 and what they rest on, ready for JSON.

    Returns:
        `table`: a row for each comparison and aspect with `pooled` (share of all judgements, %),
        `majority` (share of items, %; an item without a majority counts as `none`), `test`
        (`sign_test` of the items' majorities; judgements of one item are not independent, so the
        pooled ones are not tested), `p_holm` (corrected for the rows of the table), and `kappa`
        (see `agreement`, also for `draws` and `seed`). `judges`: how often each judge chose A
        and B, and attention checks.
    """
    secrets = judgements.key["items"]
    ours, *others = [system["name"] for system in judgements.key["systems"]]
    judges = sorted(judgements.answers)
    kept = [item.name for item in judgements.sheet.items if item.name not in judgements.left_out]
    plain = [item for item in kept if secrets[item]["kind"] == "comparison"]
    checks = [item for item in kept if secrets[item]["kind"] != "comparison"]
    table: list[dict[str, Any]] = []
    for other in others:
        items = [i for i in plain if {secrets[i]["A"], secrets[i]["B"]} == {ours, other}]
        if not items:
            all_judges = f"all {len(judges)} judges"
            raise DataError(f"No item of {ours} against {other} was judged by {all_judges}.")
        for aspect in ASPECTS:
            codes = [
                [_outcome(judgements.answers[j][i, aspect], secrets[i], ours) for j in judges]
                for i in items
            ]
            names = {"comparison": f"{ours} vs. {other}", "aspect": aspect}
            table.append(names | _row(np.array(codes), draws, seed))
    multipletests = _statsmodels("multitest").multipletests
    tested = [row["test"]["p"] for row in table if row["test"]["p"] is not None]
    # Holm's correction: among many tests some have a small p by chance alone.
    corrected = iter(multipletests(tested, method="holm")[1] if tested else ())
    for row in table:
        row["p_holm"] = None if row["test"]["p"] is None else float(next(corrected))
    return {
        "sheet": judgements.sheet.number,
        "systems": judgements.key["systems"],
        "table": table,
        "judges": {j: _reliability(judgements.answers[j], secrets, plain, checks) for j in judges},
        "left_out": list(judgements.left_out),
        "seed": {"sheet": judgements.key["seed"], "bootstrap": seed},
        "draws": draws,
        "versions": versions() | {name: version(name) for name in ("scipy", "statsmodels")},
    }


def _outcome(choice: str, secret: dict, ours: str) -> int:
    outcome = "tie" if choice == "tie" else "win" if secret[choice] == ours else "lose"
    return OUTCOMES.index(outcome)


def _row(codes: np.ndarray, draws: int, seed: int) -> dict[str, Any]:
    """Numbers of one comparison and aspect from positions in `OUTCOMES` [ITEMS, JUDGES]."""
    counts = Counter(codes.ravel().tolist())
    verdicts: Counter[str] = Counter()
    for row in codes.tolist():
        code, votes = Counter(row).most_common(1)[0]
        verdicts[OUTCOMES[code] if 2 * votes > len(row) else "none"] += 1
    return {
        "items": codes.shape[0],
        "judges": codes.shape[1],
        "pooled": {name: 100 * counts[code] / codes.size for code, name in enumerate(OUTCOMES)},
        "majority": {name: 100 * verdicts[name] / len(codes) for name in (*OUTCOMES, "none")},
        "test": sign_test(verdicts["win"], verdicts["lose"]),
        "kappa": agreement(codes, draws=draws, seed=seed),
    }


def sign_test(wins: int, losses: int) -> dict[str, Any]:
    """Two-sided binomial test of wins against losses, without ties.

    Returns:
        `wins`, `losses`, `p`, the `share` of wins, and its 95 % interval (Wilson) from `low` to
        `high`. All but the first two are None when there are neither wins nor losses.
    """
    from scipy.stats import binomtest

    result: dict[str, Any] = {"wins": wins, "losses": losses}
    if not wins + losses:
        return result | dict.fromkeys(("p", "share", "low", "high"))
    test = binomtest(wins, wins + losses)
    low, high = test.proportion_ci(method="wilson")
    result |= {"p": float(test.pvalue), "share": wins / (wins + losses)}
    return result | {"low": float(low), "high": float(high)}


def agreement(
    codes: np.ndarray, *, categories: int = 3, draws: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Fleiss' kappa with a percentile interval from bootstrap samples of the items.

    `codes` [ITEMS, JUDGES] are the categories, from 0, that judges gave items. The result has
    `value`, `low`, `high` (95 %), and `note`, which gives the reason when one of them is None.
    `undefined_draws` counts the bootstrap samples without a kappa. They are left out.
    Source: Fleiss (1971), as statsmodels computes it.
    """
    inter_rater = _statsmodels("inter_rater")
    counts, _ = inter_rater.aggregate_raters(codes, n_cat=categories)  # [ITEMS, CATEGORIES]

    def kappa(counts: np.ndarray) -> float:
        # In a single category chance alone brings full agreement: kappa is 0 / 0.
        if np.count_nonzero(counts.sum(axis=0)) == 1:
            return math.nan
        with warnings.catch_warnings():
            # A division by zero would mean that the line above has missed a case.
            warnings.simplefilter("error", RuntimeWarning)
            return float(inter_rater.fleiss_kappa(counts, method="fleiss"))

    result: dict[str, Any] = {"value": None, "low": None, "high": None}
    result |= {"note": "", "undefined_draws": 0}
    items, judges = codes.shape
    if judges < 2:
        return result | {"note": "one judge: agreement needs two"}
    value = kappa(counts)
    if math.isnan(value):
        return result | {"note": "all judgements are the same: kappa is undefined"}
    result["value"] = value
    if items < 2:
        return result | {"note": "one item: no interval"}
    random = np.random.default_rng(seed)
    samples = np.array([kappa(counts[random.integers(items, size=items)]) for _ in range(draws)])
    defined = samples[~np.isnan(samples)]
    result["undefined_draws"] = draws - len(defined)
    if len(defined) < draws / 2 or not draws:
        return result | {"note": "too few different judgements: no interval"}
    low, high = np.percentile(defined, [2.5, 97.5])
    return result | {"low": float(low), "high": float(high)}


def _statsmodels(module: str) -> Any:
    try:
        return import_module(f"statsmodels.stats.{module}")
    except ImportError:
        hint = "pip install 'ctsm-lab[notebooks]'"
        raise ConfigError(f"Fleiss' kappa needs statsmodels: {hint}.") from None


def _reliability(
    answers: Answers, secrets: dict, plain: Sequence[str], checks: Sequence[str]
) -> dict[str, Any]:
    """How often a judge chose A and B (each hides our system half of the time), and the checks."""
    sides = Counter(answers[item, aspect] for item in plain for aspect in ASPECTS)
    # One vote per item, not per answer: the three answers to one item depend on each other.
    votes = [[answers[item, aspect] for aspect in ASPECTS] for item in plain]
    balance = [vote.count("A") - vote.count("B") for vote in votes]
    failed = [i for i in checks if answers[i, secrets[i]["aspect"]] != secrets[i]["expected"]]
    return {
        "sides": {side: sides[side] for side in CHOICES},
        "side_test": sign_test(sum(x > 0 for x in balance), sum(x < 0 for x in balance)),
        "checks": len(checks),
        "passed": len(checks) - len(failed),
        "failed": failed,
    }
