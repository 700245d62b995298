"""From the judges' files to Table 2: wins and losses, agreement, and the judges' reliability.

Paper: Sec. 4.3.2 and Table 2 (win, lose and Fleiss' kappa). Added to it: an interval for kappa, a
sign test, a test of each judge's preference for A or B, and attention checks. `table.md` and
`table.toml` have the words and the looks of Table 2 as Markdown and as a figure.
"""

import html
import math
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jinja2 import Environment, StrictUndefined
from scipy.stats import binomtest

from ctsm_lib.errors import DataError
from ctsm_lib.files import write_text
from ctsm_lib.run_folder import versions
from ctsm_workbench.extras import needed_by
from ctsm_workbench.judging import files
from ctsm_workbench.judging.files import ASPECTS, CHOICES, Answers, Sheet
from ctsm_workbench.pictures import template, write_figure
from ctsm_workbench.pictures.house import COLOURS
from ctsm_workbench.study.intervals import holm, percentiles, resampled

OUTCOMES = ("win", "tie", "lose")
HERE = Path(__file__).parent
STYLE = tomllib.loads(Template((HERE / "table.toml").read_text("utf-8")).substitute(COLOURS))


@dataclass
class Judgements:
    """The sheet, its key, each judge's answers, and the items that some judge has not finished."""

    sheet: Sheet
    key: dict[str, Any]
    answers: dict[str, Answers]
    left_out: list[str]


def gather(folders: list[Path], key: Path | None = None, only_complete: bool = False) -> Judgements:
    """Merge the judges of one or several folders that hold the same sheet.

    `key` is by default that of the first folder that has one. Raises `DataError` for no judge, one
    judge twice, different sheets, another sheet's key, or unfinished items without `only_complete`.
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
    problems: list[tuple[str, str]] = []  # an item, and what is missing of it
    found = (path for f in folders for path in sorted((f / files.JUDGES).glob("*.csv")))
    for judge, path in ((path.stem, path) for path in found):
        if judge in paths:
            raise DataError(f"{judge} has judged twice: {paths[judge]} and {path}. Keep one.")
        paths[judge] = path
        answers[judge], places = files.read_answers(path, sheet)
        for item in (item.name for item in sheet.items):
            if missing := ", ".join(a for a in ASPECTS if (item, a) not in answers[judge]):
                place = places.get(item, f"{path} (no row)")
                problems.append((item, f"{place}: {judge} has not judged {missing} of {item}"))
    if not paths:
        hint = f"Run `ctsm judge serve {first} --judge NAME` to judge."
        raise DataError(f"{first / files.JUDGES} holds no judgements. {hint}")
    if problems and not only_complete:
        listed = "; ".join(text for _, text in problems[:5])
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        hint = "Finish them, or leave these items out for all judges with --only-complete."
        raise DataError(f"{len(problems)} missing: {listed}{more}. {hint}")
    return Judgements(sheet, secret, answers, left_out=sorted({item for item, _ in problems}))


def score(judgements: Judgements, *, draws: int = 2000, seed: int = 0) -> dict[str, Any]:
    """All numbers of Table 2 and what they rest on, ready for JSON.

    `table` has a row for each comparison and aspect with `pooled` (share of all judgements, %),
    `majority` (share of items, %; an item without a majority counts as `none`), `test` (`sign_test`
    of the majorities: the judgements of one item are not independent), `p_holm` (corrected for the
    rows of the table), and `kappa` (see `agreement`, also for `draws` and `seed`). `judges` tells
    how often each judge chose A and B, and has the attention checks.
    """
    ours, *others = [system["name"] for system in judgements.key["systems"]]
    judges = sorted(judgements.answers)
    secrets: dict[str, dict] = judgements.key["items"]
    kept = [item.name for item in judgements.sheet.items if item.name not in judgements.left_out]
    plain = [item for item in kept if secrets[item]["kind"] == "comparison"]
    table: list[dict[str, Any]] = []
    for other in others:
        items = [i for i in plain if {secrets[i]["A"], secrets[i]["B"]} == {ours, other}]
        if not items:
            everybody = f"all {len(judges)} judges"
            raise DataError(f"No item of {ours} against {other} was judged by {everybody}.")
        ours_is_b = np.array([[secrets[item]["B"] == ours] for item in items])
        for aspect in ASPECTS:
            given = ([judgements.answers[judge][i, aspect] for judge in judges] for i in items)
            choices = np.array([list(map(CHOICES.index, row)) for row in given])
            codes = np.where(ours_is_b, 2 - choices, choices)  # a choice of ours is a win
            names = {"comparison": f"{ours} vs. {other}", "aspect": aspect}
            table.append(names | _row(codes, draws, seed))
    # Holm's correction: among many tests some have a small p by chance alone.
    if tested := [row for row in table if row["test"]["p"] is not None]:
        corrected = holm([row["test"]["p"] for row in tested])
        for row, p in zip(tested, corrected, strict=True):
            row["p_holm"] = p
    return {
        "sheet": judgements.sheet.number, "systems": judgements.key["systems"], "table": table,
        "judges": {j: _reliability(judgements.answers[j], secrets, kept) for j in judges},
        "left_out": judgements.left_out,
        "seed": {"sheet": judgements.key["seed"], "bootstrap": seed}, "draws": draws,
        "versions": versions() | {name: version(name) for name in ("scipy", "statsmodels")},
    }  # fmt: skip


def _row(codes: np.ndarray, draws: int, seed: int) -> dict[str, Any]:
    """Numbers of one comparison and aspect from positions in `OUTCOMES` [ITEMS, JUDGES]."""
    items, judges = codes.shape
    votes = (codes[:, :, None] == range(len(OUTCOMES))).sum(axis=1)  # [ITEMS, OUTCOMES]
    pooled = (100 * votes.sum(axis=0) / codes.size).tolist()
    wins, ties, losses = (2 * votes > judges).sum(axis=0).tolist()
    majority = {"win": wins, "tie": ties, "lose": losses, "none": items - wins - ties - losses}
    return {
        "items": items, "judges": judges, "pooled": dict(zip(OUTCOMES, pooled, strict=True)),
        "majority": {name: 100 * count / items for name, count in majority.items()},
        "test": sign_test(wins, losses), "kappa": agreement(codes, draws=draws, seed=seed),
        "p_holm": None,
    }  # fmt: skip


def sign_test(wins: int, losses: int) -> dict[str, Any]:
    """Two-sided binomial test of wins against losses, without ties; None where there are neither.

    The `share` of wins has a 95 % interval (Wilson) from `low` to `high`.
    """
    numbers: Iterable[float | None] = [None] * 4
    if wins + losses:
        test = binomtest(wins, wins + losses)
        numbers = map(float, (test.pvalue, test.statistic, *test.proportion_ci(method="wilson")))
    found = dict(zip(("p", "share", "low", "high"), numbers, strict=True))
    return {"wins": wins, "losses": losses} | found


def agreement(codes: np.ndarray, *, draws: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Fleiss' kappa with a percentile interval from bootstrap samples of the items.

    `codes` [ITEMS, JUDGES] are the categories that judges gave items. The result has
    `value`, `low`, `high` (95 %), and `note`, which gives the reason when one of them is None.
    `undefined_draws` counts the bootstrap samples without a kappa. They are left out.
    Source: Fleiss (1971), as statsmodels computes it.
    """
    with needed_by("Fleiss' kappa"):
        from statsmodels.stats import inter_rater
    counts, _ = inter_rater.aggregate_raters(codes)  # [ITEMS, CATEGORIES]

    def kappa(chosen: np.ndarray) -> float:
        # In a single category chance alone brings full agreement: kappa is 0 / 0.
        if np.count_nonzero(counts[chosen].sum(axis=0)) == 1:
            return math.nan
        return float(inter_rater.fleiss_kappa(counts[chosen], method="fleiss"))

    items, judges = codes.shape
    result: dict[str, Any] = dict.fromkeys(("value", "low", "high"))
    result |= {"note": "", "undefined_draws": 0}
    if judges < 2:
        return result | {"note": "one judge: agreement needs two"}
    drawn = resampled(kappa, items, draws, np.random.default_rng(seed))
    if math.isnan(drawn[0]):
        return result | {"note": "all judgements are the same: kappa is undefined"}
    undefined = int(np.isnan(drawn).sum())
    result |= {"value": float(drawn[0]), "undefined_draws": undefined}
    if items < 2 or undefined > draws / 2 or not draws:
        few = "one item" if items < 2 else "too few different judgements"
        return result | {"note": f"{few}: no interval"}
    low, high = percentiles(drawn[1:])
    return result | {"low": low, "high": high}


def _reliability(answers: Answers, secrets: dict[str, dict], items: list[str]) -> dict[str, Any]:
    """Counts of a judge's A and B (each hides our system half of the time), and the checks."""
    plain = [item for item in items if secrets[item]["kind"] == "comparison"]
    checks = [item for item in items if item not in plain]
    failed = [i for i in checks if answers[i, secrets[i]["aspect"]] != secrets[i]["expected"]]
    # One vote per item, not per answer: the three answers to one item depend on each other.
    votes = [Counter(answers[item, aspect] for aspect in ASPECTS) for item in plain]
    balance = [vote["A"] - vote["B"] for vote in votes]
    sides = sum(votes, Counter())
    return {
        "sides": {side: sides[side] for side in CHOICES},
        "side_test": sign_test(sum(x > 0 for x in balance), sum(x < 0 for x in balance)),
        "checks": len(checks), "passed": len(checks) - len(failed), "failed": failed,
    }  # fmt: skip


def in_words(kappa: float) -> str:
    """Landis and Koch's word for a kappa."""
    # Rounding may bring a kappa of 1 a little above the last limit.
    return next(word for word, limit in STYLE["kappa"].items() if min(kappa, 1) <= limit)


def write_table(result: dict[str, Any], out: Path, note: str = "") -> list[Path]:
    """Write table2.md, .json, .html and, where possible, .png and .svg; return the paths."""
    path = out / "table2.md"
    write_text(path, markdown(result, note))
    noted = result | ({"note": note} if note else {})
    return [path, *write_figure(figure(result, note), noted, out, "table2")]


def markdown(result: dict[str, Any], note: str = "") -> str:
    """Table 2 below a note (such as whose judgements these are), and the judges' reliability."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # Names are in cells, without the signs that would end the cell or be markup.
    signs = {ord(sign): f"&#{ord(sign)};" for sign in r"\`*_<>|[]"}
    environment.filters |= {"cell": lambda name: name.translate(signs), "in_words": in_words}
    text = environment.from_string((HERE / "table.md").read_text("utf-8"))
    return text.render(result, note=note)


def figure(result: dict[str, Any], note: str = "") -> go.Figure:
    """A bar for each comparison and aspect: win, tie and lose of all judgements, and kappa."""
    rows = result["table"]
    aspects = [row["aspect"] for row in rows]
    begins = [aspect == aspects[0] for aspect in aspects]  # a line above has the comparison's name
    heights = [place + lines - 1.0 for place, lines in enumerate(accumulate(begins))]
    drawn = go.Figure(layout=STYLE["layout"])
    for style in STYLE["bars"]:
        shares = [row["pooled"][style["name"]] for row in rows]
        labels = [f"{share:.0f}" if share >= 6 else "" for share in shares]
        tip = f"{style['name']}: %{{x:.1f}} %<extra></extra>"
        bar = go.Bar(STYLE["bar"], x=shares, y=heights, text=labels, hovertemplate=tip)
        drawn.add_trace(bar.update(style))
    texts = STYLE["text"]
    for y, row, first in zip(heights, rows, begins, strict=True):
        kappa = row["kappa"]["value"]
        drawn.add_annotation(texts["kappa"], y=y, text="-" if kappa is None else f"{kappa:.2f}")
        if first:
            name = f"<b>{html.escape(row['comparison'], False)}</b>"
            drawn.add_annotation(texts["comparison"], y=y - 0.75, text=name)
    drawn.add_annotation(texts["kappa"], y=heights[0] - 0.75, text="kappa")
    if note:
        drawn.add_annotation(texts["note"], text=html.escape(note, False))
        drawn.layout.margin.b = 96
    drawn.update_yaxes(range=[heights[-1] + 0.6, -1.1], tickvals=heights, ticktext=aspects)
    size = f"{rows[0]['items']} items, {rows[0]['judges']} judge{'s' * (rows[0]['judges'] != 1)}"
    title = f"Whose answer is better? ({size})"
    height = int(210 + 40 * heights[-1])
    return drawn.update_layout(template=template(), height=height, title_text=title)
