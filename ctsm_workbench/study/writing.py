"""Files that an evaluation leaves: answers, a readable sample of them, scores of each example."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctsm_lib.dialogues import quotation
from ctsm_lib.files import beside, write_text


def write_jsonl(path: Path, rows: Sequence[dict]) -> None:
    """Write one JSON object in each line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_examples(path: Path, scored: dict[str, np.ndarray]) -> None:
    """Write scores of each example to a `.npz`.

    `right` [n] is 1 where the emotion was predicted; `nll` [n] is the mean over an answer's tokens.
    A model that predicts no emotion, or no words, has none.
    """
    arrays = {}
    if "logits" in scored:
        arrays["right"] = (scored["logits"].argmax(axis=1) == scored["label"]).astype(np.int8)
    if "nll" in scored:
        arrays["nll"] = (scored["nll"] / np.maximum(scored["tokens"], 1)).astype(np.float32)
    with beside(path) as side, side.open("wb") as file:
        np.savez_compressed(file, **arrays)


def write_samples(path: Path, rows: Sequence[dict], count: int = 40, seed: int = 0) -> None:
    """Write random answers and the commonest ones as Markdown; contexts are short quotations."""
    chosen = random.Random(seed).sample(list(rows), min(count, len(rows)))
    lines = [
        f"# {len(chosen)} random answers out of {len(rows):,}",
        "",
        "| emotion | predicted | last turn | answer |",
        "|---|---|---|---|",
    ]
    for row in chosen:
        last = quotation(row["context"][-1])
        cells = (row["emotion"], row["predicted"] or "-", last, row["response"])
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    common = Counter(row["response"] for row in rows).most_common(15)
    lines += ["", "## The commonest answers", "", "| answer | times |", "|---|---|"]
    lines += [f"| {text or '(nothing)'} | {times} |" for text, times in common]
    write_text(path, "\n".join(lines) + "\n")
