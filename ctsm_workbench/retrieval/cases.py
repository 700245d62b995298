"""Coverage of the commonsense, and random cases of it for people to judge."""

import random
from collections.abc import Sequence
from pathlib import Path

from ctsm_lib.dialogues import quotation
from ctsm_lib.errors import DataError
from ctsm_lib.files import write_text
from ctsm_lib.knowledge import RELATIONS, Inference

QUESTIONS = ("intended", "needed before", "wants", "what happens", "feels")  # as RELATIONS


def coverage(inferences: Sequence[Inference]) -> dict:
    """Numbers about the utterances that have phrases.

    Returns:
        n; covered: per cent of utterances with a phrase of at least one relation; relations: per
        cent for each; phrases: mean number over all relations together.
    """
    n = max(len(inferences), 1)
    counts = {name: [len(found.get(name, ())) for found in inferences] for name in RELATIONS}
    phrases = [sum(found) for found in zip(*counts.values(), strict=True)]  # of each utterance
    return {
        "n": len(inferences),
        "covered": 100 * sum(map(bool, phrases)) / n,
        "relations": {name: 100 * sum(map(bool, found)) / n for name, found in counts.items()},
        "phrases": sum(phrases) / n,
    }


def write_cases(
    path: Path, texts: Sequence[str], inferences: Sequence[Inference], about: str, *,
    count: int = 20, seed: int = 0,
) -> None:  # fmt: skip
    """Write random utterances with their phrases as Markdown, each with a line for a verdict.

    `about` is a paragraph for the file's first lines; `seed` chooses the utterances. A file that
    exists raises a `DataError`: somebody's verdicts may be in it.
    """
    if path.exists():
        raise DataError(f"{path} exists, and verdicts may be in it. Choose another name.")
    count = min(count, len(texts))
    lines = [f"# Commonsense for {count} random utterances out of {len(texts):,}", "", about, ""]
    for number, place in enumerate(random.Random(seed).sample(range(len(texts)), count), start=1):
        pairs = zip(QUESTIONS, map(inferences[place].get, RELATIONS), strict=True)
        answers = [f"- {question}: {'; '.join(phrases)}" for question, phrases in pairs if phrases]
        lines += [f"**{number}.** “{quotation(texts[place])}”", ""]
        lines += [*(answers or ["- nothing found"]), "", "Verdict: ", ""]
    write_text(path, "\n".join(lines))
