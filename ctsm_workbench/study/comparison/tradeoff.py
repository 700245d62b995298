"""What diversity costs: runs scored at several strengths of copying, of the tilt, and of a penalty on frequent words.

None of them touches how an emotion is heard. Copying and tilt change the model's own distribution, and so its perplexity;
the penalty is one of decoding and leaves perplexity as it is. Runs trained with other strengths of L_div change all of it.
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


@dataclass(frozen=True, order=True)
class Point:
    """One way to answer: copying and tilt as settings of the model have them, `penalty` as decoding's `unigram_penalty`."""

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
    """A line along each strength from what the run has, `copy_bias` and `tilt` and no penalty; the others stay."""
    copied, tilted = (
        (Point(bias, tilt) for bias in copy_biases),
        (Point(copy_bias, other) for other in tilts),
    )
    return sorted(
        {
            Point(copy_bias, tilt),
            *copied,
            *tilted,
            *(Point(copy_bias, tilt, more) for more in penalties),
        }
    )


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
    """Scores at every point, greedy; those that `known` holds are not measured again.

    Args:
        known: rows of an earlier measurement.
        report: told of each new row, so that nothing is lost.

    Returns:
        For each point: run, split, data, preset, seed, iteration, weight_diversity, dropout, copy_once, repeat_bias,
        copy_bias, tilt, penalty and `KEPT`.

    Raises:
        ConfigError: the model says nothing, so that there is nothing to vary.
    """
    if isinstance(run.model, TfIdf):
        raise ConfigError(f"{run.folder} gives no answers: there is no diversity to measure.")
    own, told = run.config, run.about(device, prepared.description)
    about = {
        "run": run.folder.name, "split": split, "data": told["fingerprint"], "preset": own.preset,
        "model": own.model, "seed": own.seed, "iteration": run.iteration,
        "weight_diversity": own.weight_diversity, "dropout": own.dropout,
        "copy_once": own.copy_once, "repeat_bias": own.repeat_bias,
    }  # fmt: skip
    rows = []
    try:
        for point in wanted:
            here = about | asdict(point)
            row = next(
                (old for old in known if here.items() <= ({"repeat_bias": 0.0} | old).items()), None
            )
            if row is None:
                run.lean([f"copy_bias={point.copy_bias}", f"tilt={point.tilt}"])
                how = Decoding(max_length=own.max_response, unigram_penalty=point.penalty)
                scores, _ = evaluate(run, prepared, split, how, device, progress)
                row = here | {name: scores[name] for name in KEPT}
                report(row)
            rows.append(row)
    finally:
        run.lean([f"copy_bias={own.copy_bias}", f"tilt={own.tilt}"])
    return rows


def table(rows: Sequence[dict]) -> str:
    """Markdown, a line a point, with the paper's CTSM below."""
    head = "| run | L_div | copying | tilt | penalty | acc | ppl_peer | Dist-1 | Dist-2 | words | distinct |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        acc = "-" if row["acc"] is None else f"{row['acc']:.2f}"
        lines.append(
            f"| {row['run']} | {row['weight_diversity']:g} | {row['copy_bias']:g} | {row['tilt']:g} "
            f"| {row['penalty']:g} | {acc} | {row['ppl_peer']:.2f} | {row['dist1']:.2f} | {row['dist2']:.2f} | {row['mean_length']:.1f} "
            f"| {row['distinct_responses']:.0f} % |"
        )
    paper = " | ".join(f"{value:.2f}" for value in ROWS["ctsm"].paper if value is not None)
    lines.append(f"| the paper, test | 1.5 | 0 | 0 | 0 | {paper} | - | - |")
    return "\n".join(lines) + "\n"
