"""The cost of diversity: runs scored at strengths of copying, tilt and a penalty on frequent words.

None of these changes the predicted emotion. Copying and tilt change the model's own distribution,
and so its perplexity; the penalty belongs to decoding and leaves perplexity as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from ctsm_lib.decoding import Decoding
from ctsm_lib.errors import ConfigError
from ctsm_lib.prepare import Prepared
from ctsm_lib.runs import Run
from ctsm_lib.settings import AnswerBias
from ctsm_workbench.study.comparison.tables import HEADS, ROWS, SCORES, markdown_table
from ctsm_workbench.study.evaluation import evaluate

KEPT = (*SCORES, "ppl_token", "mean_length", "distinct_responses", "looping", "copy_rate", "n")
# Settings of training that tell two runs of the same name apart.
ABOUT = ("preset", "model", "seed", "weight_diversity", "dropout", "copy_once", "repeat_bias")


@dataclass(frozen=True, order=True)
class Point:
    """One way to answer: the settings copy_bias and tilt, and decoding's `unigram_penalty`."""

    copy_bias: float
    tilt: float = 0.0
    penalty: float = 0.0


def points(
    copy_biases: Sequence[float], tilts: Sequence[float], penalties: Sequence[float],
    copy_bias: float, tilt: float,
) -> list[Point]:  # fmt: skip
    """A line along each strength, from the run's own `copy_bias` and `tilt` and no penalty."""
    copied = {Point(bias, tilt) for bias in (copy_bias, *copy_biases)}
    tilted = {Point(copy_bias, other) for other in tilts}
    return sorted(copied | tilted | {Point(copy_bias, tilt, penalty) for penalty in penalties})


def measure(
    run: Run, prepared: Prepared, wanted: Sequence[Point], known: Sequence[dict] = (),
    split: str = "valid", device: str = "cpu", progress: bool = True,
    report: Callable[[dict], None] = lambda row: None,
) -> list[dict]:  # fmt: skip
    """Scores at every point with greedy decoding: run, split, data, `ABOUT`, the point and `KEPT`.

    Points in `known`, the rows of an earlier measurement, are not measured again. `report` gets
    each new row at once. A `ConfigError`: the model gives no answers.
    """
    if not run.model.predicts_words:
        raise ConfigError(f"{run.folder} generates no answers: there is no diversity to measure.")
    data = run.about(device, prepared.description)["fingerprint"]
    about = {"run": run.folder.name, "split": split, "data": data, "iteration": run.iteration}
    about |= {name: getattr(run.config, name) for name in ABOUT}
    rows = []
    for point in wanted:
        here = about | asdict(point)
        # Older rows are of before `repeat_bias` existed.
        same = [old for old in known if here.items() <= ({"repeat_bias": 0.0} | old).items()]
        if same:
            rows.append(same[0])
            continue
        biased = run.biased(AnswerBias(point.copy_bias, point.tilt, run.config.repeat_bias))
        how = Decoding(max_length=run.config.max_response, unigram_penalty=point.penalty)
        scores, _ = evaluate(biased, prepared, split, how, device=device, progress=progress)
        rows.append(here | {name: scores[name] for name in KEPT})
        report(rows[-1])
    return rows


def table(rows: Sequence[dict]) -> str:
    """Markdown, a line for each point, with the paper's CTSM below."""
    strengths = ("weight_diversity", "copy_bias", "tilt", "penalty")
    lines = []
    for row in rows:
        cells = [row["run"], *(f"{row[name]:g}" for name in strengths)]
        cells += ["-" if row[score] is None else f"{row[score]:.2f}" for score in SCORES]
        lines.append([*cells, f"{row['mean_length']:.1f}", f"{row['distinct_responses']:.0f} %"])
    paper = [f"{value:.2f}" for value in ROWS["ctsm"].paper]
    lines.append(["the paper, test", "1.5", "0", "0", "0", *paper, "-", "-"])
    return markdown_table(HEADS["tradeoff"], lines)
