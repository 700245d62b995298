"""How much commonsense is found, and random cases of it for people to judge. Specification: "Commonsense"."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from ctsm_lib.corpus import quotation
from ctsm_lib.errors import DataError
from ctsm_lib.knowledge.phrases import RELATIONS, Inference

QUESTIONS = {
    "xIntent": "intended",
    "xNeed": "needed before",
    "xWant": "wants",
    "xEffect": "what happens",
    "xReact": "feels",
}


def coverage(inferences: Sequence[Inference]) -> dict:
    """How many utterances have phrases.

    Returns:
        n; covered: percent of utterances with a phrase of at least one relation; relations: percent for each; phrases:
        mean number over all relations together.
    """
    n = len(inferences)
    share = {
        name: 100 * sum(bool(found.get(name)) for found in inferences) / max(n, 1)
        for name in RELATIONS
    }
    covered = (
        100 * sum(any(found.get(name) for name in RELATIONS) for found in inferences) / max(n, 1)
    )
    phrases = sum(len(found.get(name, ())) for found in inferences for name in RELATIONS) / max(
        n, 1
    )
    return {"n": n, "covered": covered, "relations": share, "phrases": phrases}


def write_cases(
    path: Path,
    texts: Sequence[str],
    inferences: Sequence[Inference],
    about: str,
    count: int = 20,
    seed: int = 0,
) -> None:
    """Write random utterances with their phrases as Markdown, with a place for a verdict each.

    Args:
        about: how the file was made, for its first lines.
        seed: which utterances.

    Raises:
        DataError: the file exists: somebody's verdicts may be in it.
    """
    if path.exists():
        raise DataError(
            f"{path} exists, and verdicts may be in it. Choose another name, or move it away."
        )
    lines = [
        f"# Commonsense for {min(count, len(texts))} random utterances out of {len(texts):,}",
        "",
        about,
        "",
    ]
    for number, place in enumerate(
        random.Random(seed).sample(range(len(texts)), min(count, len(texts))), start=1
    ):
        lines += [f"**{number}.** “{quotation(texts[place])}”", ""]
        found = [(QUESTIONS[name], inferences[place].get(name, [])) for name in RELATIONS]
        lines += [f"- {question}: {'; '.join(phrases)}" for question, phrases in found if phrases]
        lines += [] if any(phrases for _, phrases in found) else ["- nothing found"]
        lines += ["", "Verdict: ", ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
