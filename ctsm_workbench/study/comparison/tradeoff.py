"""The cost of diversity: runs scored at several strengths of copying, of the tilt, and of a penalty on frequent words.

None of these changes the predicted emotion. Copying and tilt change the model's own distribution, and so its
perplexity; the penalty belongs to decoding and leaves perplexity as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from ctsm_lib.decoding import Decoding
from ctsm_lib.errors import ConfigError
from ctsm_lib.prepare import Prepared
from ctsm_lib.runs import Run, evaluate
from ctsm_workbench.baselines.tfidf import TfIdf
from ctsm_workbench.study.comparison.published import ROWS, SCORES

KEPT = (*SCORES, "ppl_token", "mean_length", "distinct_responses", "looping", "copy_rate", "n")
# Settings of a run that tell two runs of the same name apart.
ABOUT = ("preset", "model", "seed", "weight_diversity", "dropout", "copy_once", "repeat_bias")


@dataclass(frozen=True, order=True)
class Point:
    """One way to answer: the settings copy_bias and tilt, and decoding's `unigram_penalty`."""

    copy_bias: float
    tilt: float = 0.0
    penalty: float = 0.0


def points(
    copy_biases: Sequence[float],
    tilts: Sequence[float],
    penalties: Sequence[float],
    copy_bias: float,
    tilt: float,
) -> list[Point]:
    """A line along each strength from the run's own `copy_bias` and `tilt` without penalty; the others stay."""
    found = {Point(copy_bias, tilt)}
    found |= {Point(bias, tilt) for bias in copy_biases}
    found |= {Point(copy_bias, other) for other in tilts}
    found |= {Point(copy_bias, tilt, penalty) for penalty in penalties}
    return sorted(found)


def measure(
    run: Run,
    prepared: Prepared,
    wanted: Sequence[Point],
    known: Sequence[dict] = (),
    split: str = "valid",
    device: str = "cpu",
    progress: bool = True,
    report: Callable[[dict], None] = lambda row: None,
) -> list[dict]:
    """Scores at every point with greedy decoding; those that `known` holds are not measured again.

    Args:
        known: rows of an earlier measurement.
        report: gets each new row at once, so that an interruption loses nothing.

    Returns:
        For each point: run, split, data, iteration, `ABOUT`, copy_bias, tilt, penalty and `KEPT`.

    Raises:
        ConfigError: the model generates no answers, so that there is nothing to vary.
    """
    if isinstance(run.model, TfIdf):
        raise ConfigError(f"{run.folder} generates no answers: there is no diversity to measure.")
    own = run.config
    about = {
        "run": run.folder.name,
        "split": split,
        "data": run.about(device, prepared.description)["fingerprint"],
        "iteration": run.iteration,
    }
    about |= {name: getattr(own, name) for name in ABOUT}
    rows = []
    try:
        for point in wanted:
            here = about | asdict(point)
            # Rows of before `repeat_bias` existed had none.
            same = [old for old in known if here.items() <= ({"repeat_bias": 0.0} | old).items()]
            row = same[0] if same else None
            if row is None:
                run.lean([f"copy_bias={point.copy_bias}", f"tilt={point.tilt}"])
                how = Decoding(max_length=own.max_response, unigram_penalty=point.penalty)
                scores, _ = evaluate(run, prepared, split, how, device=device, progress=progress)
                row = here | {name: scores[name] for name in KEPT}
                report(row)
            rows.append(row)
    finally:
        run.lean([f"copy_bias={own.copy_bias}", f"tilt={own.tilt}"])
    return rows


def table(rows: Sequence[dict]) -> str:
    """Markdown, a line for each point, with the paper's CTSM below."""
    heads = ("run", "L_div", "copying", "tilt", "penalty", "acc", "ppl_peer", "Dist-1", "Dist-2")
    lines = [f"| {' | '.join(heads)} | words | distinct |", "|---" * 11 + "|"]
    for row in rows:
        strengths = [row[name] for name in ("weight_diversity", "copy_bias", "tilt", "penalty")]
        scores = [row[name] for name in SCORES]
        cells = [
            row["run"],
            *(f"{strength:g}" for strength in strengths),
            *("-" if score is None else f"{score:.2f}" for score in scores),
            f"{row['mean_length']:.1f}",
            f"{row['distinct_responses']:.0f} %",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    paper = " | ".join(f"{value:.2f}" for value in ROWS["ctsm"].paper if value is not None)
    lines.append(f"| the paper, test | 1.5 | 0 | 0 | 0 | {paper} | - | - |")
    return "\n".join(lines) + "\n"
