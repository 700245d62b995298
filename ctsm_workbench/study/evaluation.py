"""Evaluation of a run: all scores of a split, and the files that it leaves."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, astuple, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ctsm_lib.batches import Pairs
from ctsm_lib.corpus import EMOTIONS, SPLITS
from ctsm_lib.decoding import Answer, Decoding, answer_batch
from ctsm_lib.dialogues import quotation
from ctsm_lib.errors import RunError
from ctsm_lib.files import beside, write_text
from ctsm_lib.parallel import all_sum, share
from ctsm_lib.prepare import Prepared
from ctsm_lib.runs import Run, require_same_words
from ctsm_lib.scores import distinct, response_tokens, score_pairs, teacher_forced
from ctsm_workbench.running.processes import gather
from ctsm_workbench.study.comparison.tables import markdown_table

# In this order in results; None where a model predicts no emotion, or no words.
SCORES = (
    "acc", "acc_top3", "acc_top5", "macro_f1", "ppl_peer", "ppl_token", "dist1", "dist2",
    "mean_length", "distinct_responses", "looping", "bleu", "copy_rate", "acc_own", "acc_bag",
    "ead1", "self_bleu",
)  # fmt: skip
SAMPLED = 200  # answers whose similarity to each other is measured


def evaluate(
    run: Run, prepared: Prepared, split: str = "test", how: Decoding | None = None, *,
    device: str = "cpu", progress: bool = True,
    on_scored: Callable[[dict], None] | None = None,
) -> tuple[dict, list[dict]]:  # fmt: skip
    """All scores of a split, and every answer with its context (none without predicted words).

    Several processes share the work, and all get all of it. `on_scored` is called with the arrays
    of `score_pairs`, and those that `write_examples` keeps. An unknown split, or data with another
    vocabulary than the run's, raises a `RunError`.
    """
    if split not in SPLITS:
        raise RunError(f"There is no split {split!r}. There are: {', '.join(SPLITS)}.")
    require_same_words(run, prepared)
    how = how or Decoding(max_length=run.config.max_response)
    pairs = prepared.pairs[split]
    scored = score_pairs(run.model, pairs, device, progress=progress)
    scores: dict = dict.fromkeys(SCORES) | teacher_forced(scored)
    scores["acc_own"] = scores["acc"]
    if getattr(run.model, "bag", None) is not None:
        scores |= expert_accuracies(run.model.bag, pairs, scored["logits"], device)
    _, scored["dialogue"] = np.unique(pairs.split.pairs[: len(pairs), 5], return_inverse=True)
    rows: list[dict] = []
    if run.model.predicts_words:
        answers, logits = answer_pairs(run.model, pairs, how, device=device, progress=progress)
        texts = [" ".join(run.vocabulary.decode(answer.ids)) for answer in answers]
        references = [pairs.split.response_text(pair) for pair in range(len(pairs))]
        words = [response_tokens(text) for text in texts]
        scores |= _scores_of(words, references, len(run.vocabulary.words))
        for size in (1, 2) if on_scored else ():
            scored[f"dist{size}_without"] = distinct_without(words, scored["dialogue"], size)
        alphas = [alpha for answer in answers for alpha in answer.alpha]
        scores["copy_rate"] = 100 * (1 - sum(alphas) / len(alphas)) if alphas else None
        predicted = [EMOTIONS[emotion] for emotion in logits.argmax(axis=1)]
        for pair, text in enumerate(texts):
            row = {"emotion": EMOTIONS[pairs.label[pair]]}
            row["predicted"] = predicted[pair] if run.model.predicts_emotion else None
            row |= {"context": pairs.split.context_texts(pair), "response": text}
            rows.append(row | {"reference": references[pair]})
    if on_scored:
        on_scored(scored)
    scores |= {"n": len(pairs), "split": split, "decoding": asdict(how)}
    return scores | {"run": run.about(device, prepared.description)}, rows


def answer_pairs(
    model: Any, pairs: Pairs, how: Decoding, *, device: torch.device | str = "cpu",
    batch_size: int = 64, progress: bool = False,
) -> tuple[list[Answer], np.ndarray]:  # fmt: skip
    """Answers of all pairs, and emotion logits [n, 32]; several processes share the batches."""
    own: list[list] = []
    logits = torch.zeros(len(pairs), len(EMOTIONS))
    # Whole batches, each with its own number: the answers are the same, whoever finds them.
    batches = list(enumerate(pairs.in_order(batch_size)))[share()]
    for step, index in tqdm(batches, desc="answering", unit="batch", disable=not progress or None):
        # An answer must not see the reference.
        batch = replace(pairs.collate(index), target=None, label=None).to(device)
        found, memory = answer_batch(model, batch, how, step)
        own += [[n, *astuple(answer)] for n, answer in zip(index.tolist(), found, strict=True)]
        logits[index] = memory.emotion_logits.float().cpu()
    rows = sorted(row for part in gather(own) for row in part)
    # Each process filled the rows of its batches and left the others 0.
    return [Answer(*fields) for _, *fields in rows], all_sum(logits).numpy()


@torch.inference_mode()
def expert_accuracies(bag: Any, pairs: Pairs, logits: np.ndarray, device: str) -> dict[str, float]:
    """Accuracy of a system without its bag, and of the bag, from the mean of both, [n, 32]."""
    right = torch.zeros(2, dtype=torch.float64)
    for index in list(pairs.in_order(64))[share()]:
        batch = pairs.collate(index).to(device)
        own = bag(batch.context, batch.speaker).log_softmax(dim=1).cpu().numpy()
        found = np.stack([2 * logits[index] - own, own])  # the mean holds the system's part
        right += torch.from_numpy((found.argmax(axis=2) == pairs.label[index]).sum(axis=1))
    shares = 100 * all_sum(right) / len(pairs)
    return dict(zip(("acc_own", "acc_bag"), shares.tolist(), strict=True))


def loops(words: Sequence[str]) -> bool:
    """True if one to four words, not only marks, occur three times in a row."""
    words = list(words)
    return any(
        words[i : i + 3 * n] == 3 * words[i : i + n]
        and any(word.isalnum() for word in words[i : i + n])
        for n in range(1, 5)
        for i in range(len(words) - 3 * n + 1)
    )


def response_scores(
    responses: Sequence[str], references: Sequence[str] | None = None, vocabulary: int = 0
) -> dict:
    """Scores of answers as text: length in words, distinct responses and looping in percent.

    BLEU is sacrebleu's on lower-cased words; None without references or without sacrebleu. EAD-1
    needs the size of the vocabulary; it does not favour short answers (Liu et al., 2022).
    """
    return _scores_of(list(map(response_tokens, responses)), references, vocabulary)


def _scores_of(words: list[list[str]], references: Sequence[str] | None, vocabulary: int) -> dict:
    count = max(len(words), 1)
    return {
        "dist1": distinct(words, 1),
        "dist2": distinct(words, 2),
        "mean_length": sum(map(len, words)) / count,
        "ead1": expectation_adjusted(words, vocabulary) if vocabulary else None,
        "self_bleu": self_bleu(words),
        "distinct_responses": 100 * len(set(map(tuple, words))) / count,
        "looping": 100 * sum(map(loops, words)) / count,
        "bleu": None if references is None else _bleu(words, map(response_tokens, references)),
        "n": len(words),
    }


def expectation_adjusted(words: Sequence[Sequence[str]], vocabulary: int) -> float:
    """Distinct words in percent of those expected of random words, `V (1 - (1 - 1/V)^C)`."""
    tokens = sum(map(len, words))
    expected = vocabulary * -np.expm1(tokens * np.log1p(-1 / vocabulary))
    return 100 * len({word for answer in words for word in answer}) / expected if tokens else 0.0


def distinct_without(words: Sequence[Sequence[str]], of_pair: np.ndarray, size: int) -> np.ndarray:
    """`scores.distinct` of all answers but those of one dialogue, for each dialogue, [G]."""
    owner: dict[tuple[str, ...], int] = {}  # n-gram -> its only dialogue, or -1
    totals = np.zeros(int(of_pair.max()) + 1)
    for number, answer in zip(of_pair.tolist(), words, strict=True):
        grams = list(zip(*(answer[i:] for i in range(size)), strict=False))
        totals[number] += len(grams)
        for gram in grams:
            if owner.setdefault(gram, number) != number:
                owner[gram] = -1
    alone = np.bincount([number for number in owner.values() if number >= 0], minlength=len(totals))
    return 100 * (len(owner) - alone) / np.maximum(totals.sum() - totals, 1)


def self_bleu(words: Sequence[Sequence[str]]) -> float | None:
    """Mean BLEU of random answers with the others as references (Zhu et al., 2018), or None."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    chosen = random.Random(0).sample(list(words), min(SAMPLED, len(words)))
    if len(chosen) < 2:
        return None
    score = partial(sentence_bleu, smoothing_function=SmoothingFunction().method1)
    found = [score([*chosen[:i], *chosen[i + 1 :]], own) for i, own in enumerate(chosen)]
    return 100 * float(np.mean(found))


def _bleu(*texts: Iterable[Sequence[str]]) -> float | None:
    try:
        from sacrebleu import corpus_bleu
    except ImportError:
        return None
    answers, truth = ([" ".join(words) for words in text] for text in texts)
    return corpus_bleu(answers, [truth], tokenize="none", force=True).score if answers else 0.0


def write_jsonl(path: Path, rows: Sequence[dict]) -> None:
    """Write one JSON object in each line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_examples(path: Path, scored: dict[str, np.ndarray]) -> None:
    """Write the `.npz` that intervals need: of pairs [n] `dialogue`, `right` and `nll` (mean of a
    token), of dialogues [G] Dist of all other answers."""
    arrays: dict[str, Any] = {"dialogue": scored["dialogue"].astype(np.int32)}
    arrays |= {name: scored[name] for name in ("dist1_without", "dist2_without") if name in scored}
    if "logits" in scored:
        arrays["right"] = (scored["logits"].argmax(axis=1) == scored["label"]).astype(np.int8)
    if "nll" in scored:
        arrays["nll"] = (scored["nll"] / np.maximum(scored["tokens"], 1)).astype(np.float32)
    with beside(path) as side, side.open("wb") as file:
        np.savez_compressed(file, **arrays)


def write_samples(path: Path, rows: Sequence[dict], count: int = 40, seed: int = 0) -> None:
    """Write random answers and the commonest ones as Markdown; contexts are short quotations."""
    drawn = random.Random(seed).sample(list(rows), min(count, len(rows)))
    chosen = []
    for row in drawn:
        turn = quotation(row["context"][-1])
        cells = (row["emotion"], row["predicted"] or "-", turn, row["response"])
        chosen.append([cell.replace("|", "/") for cell in cells])
    common = Counter(row["response"] for row in rows).most_common(15)
    times = [(text or "(nothing)", str(number)) for text, number in common]
    title = f"# {len(drawn)} random answers out of {len(rows):,}\n"
    first = markdown_table(("emotion", "predicted", "last turn", "answer"), chosen)
    second = markdown_table(("answer", "times"), times)
    write_text(path, "\n".join([title, first, "## The commonest answers\n", second]))
