"""Scores of Section 4.3: two perplexities, emotion accuracy, Distinct, and what keeps them honest.

Perplexity and accuracy come from one pass over the pairs under teacher forcing; Dist, length and BLEU from answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from ctsm_lib.batches import Pairs
from ctsm_lib.parallel import all_sum, share

if TYPE_CHECKING:
    from nltk.tokenize import NLTKWordTokenizer

# None for a model that predicts no emotion, and for one that says nothing.
EMOTION_SCORES = ("acc", "acc_top3", "acc_top5", "macro_f1")
WORD_SCORES = (
    "ppl_peer",
    "ppl_token",
    "dist1",
    "dist2",
    "mean_length",
    "distinct_responses",
    "looping",
    "bleu",
    "copy_rate",
)


@torch.no_grad()
def score_pairs(
    model: torch.nn.Module,
    pairs: Pairs,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """Negative log-likelihood and emotion logits of every pair; several processes share out the batches.

    Args:
        model: not wrapped for several processes: where batches are few, some process does not call it.

    Returns:
        nll: [n] sum over target tokens; tokens: [n] how many, EOS included; logits: [n, 32]; label: [n]. What the model
        does not predict, words or emotions, is left out.
    """
    was_training = model.training
    model.eval()
    size = len(pairs)
    nll, tokens = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    logits = torch.zeros(size, 32, dtype=torch.float64)
    batches = list(pairs.in_order(batch_size))[
        share()
    ]  # whole ones: the same numbers, whoever computes them
    for index in tqdm(batches, desc="scoring", unit="batch", disable=None if progress else True):
        batch = pairs.collate(index)
        output = model(batch.to(device))
        # Summed on the CPU: not every accelerator has float64.
        rows, row, token_nll = batch.pair, output.token_row.cpu(), output.token_nll.cpu().double()
        nll[rows] = torch.zeros(len(batch), dtype=torch.float64).index_add(0, row, token_nll)
        tokens[rows] = torch.bincount(row, minlength=len(batch)).double()
        logits[rows] = output.emotion_logits.cpu().double()
    # Each process filled the rows of its batches and left the others 0.
    nll, tokens, logits = all_sum(nll), all_sum(tokens), all_sum(logits)
    model.train(was_training)
    scored = {"label": pairs.label}
    if getattr(model, "predicts_words", True):
        scored |= {"nll": nll.numpy(), "tokens": tokens.numpy()}
    if getattr(model, "predicts_emotion", True):
        scored["logits"] = logits.numpy()
    return scored


def perplexities(nll: np.ndarray, tokens: np.ndarray) -> dict[str, float]:
    """Both perplexities of n examples.

    Returns:
        ppl_peer: exp of the mean over examples of the example's mean; what Table 1 prints, since the baselines test with
            batches of one. ppl_token: exp(total / tokens), which is 15 to 20 % higher.
    """
    return {
        "ppl_peer": _exp(float(np.mean(nll / np.maximum(tokens, 1)))),
        "ppl_token": _exp(float(nll.sum() / max(tokens.sum(), 1))),
    }


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def emotion_scores(logits: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Accuracy among 32 emotions, top-3, top-5 and macro-F1 (over emotions that occur or are predicted), in percent.

    Args:
        logits: [n, 32]. label: [n].
    """
    better = (logits > logits[np.arange(len(label)), label][:, None]).sum(axis=1)
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((logits.shape[1], logits.shape[1]))
    np.add.at(confusion, (label, predicted), 1)
    hits = np.diag(confusion)
    support = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = (2 * hits / np.maximum(support, 1))[support > 0]
    return {
        "acc": 100 * float((predicted == label).mean()),
        "acc_top3": 100 * float((better < 3).mean()),
        "acc_top5": 100 * float((better < 5).mean()),
        "macro_f1": 100 * float(f1.mean()),
    }


def teacher_forced(scored: dict[str, np.ndarray]) -> dict[str, float]:
    """All scores that need no answers, from what `score_pairs` returned."""
    emotion = emotion_scores(scored["logits"], scored["label"]) if "logits" in scored else {}
    return emotion | (perplexities(scored["nll"], scored["tokens"]) if "nll" in scored else {})


def response_tokens(text: str) -> list[str]:
    """Words as Dist counts them: NLTK's word tokenizer on the lower-cased text."""
    return _word_tokenizer().tokenize(text.lower())


@cache
def _word_tokenizer() -> NLTKWordTokenizer:
    from nltk.tokenize import NLTKWordTokenizer  # takes seconds, and training does without

    return NLTKWordTokenizer()


def distinct(responses: Sequence[Sequence[str]], n: int) -> float:
    """Distinct n-grams divided by all n-grams over all responses, times 100; 0 where there is none.

    Source: Li et al. (2016).
    """
    ngrams = [tuple(words[i : i + n]) for words in responses for i in range(len(words) - n + 1)]
    return 100 * len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def loops(words: Sequence[str]) -> bool:
    """Whether some one to four words stand three times in a row."""
    return any(
        list(words[i : i + n])
        == list(words[i + n : i + 2 * n])
        == list(words[i + 2 * n : i + 3 * n])
        for n in range(1, 5)
        for i in range(len(words) - 3 * n + 1)
        if any(word.isalnum() for word in words[i : i + n])
    )


def response_scores(
    responses: Sequence[str], references: Sequence[str] | None = None
) -> dict[str, float | int | None]:
    """Scores of answers as text.

    Returns:
        dist1, dist2, mean_length (words), distinct_responses (percent), looping (percent), bleu (sacrebleu on lower-cased
        words; None without references or without sacrebleu), n.
    """
    words = [response_tokens(text) for text in responses]
    count = max(len(words), 1)
    return {
        "dist1": distinct(words, 1),
        "dist2": distinct(words, 2),
        "mean_length": sum(map(len, words)) / count,
        "distinct_responses": 100 * len({tuple(response) for response in words}) / count,
        "looping": 100 * sum(map(loops, words)) / count,
        "bleu": _bleu(words, references) if references is not None else None,
        "n": len(words),
    }


def _bleu(words: Sequence[Sequence[str]], references: Sequence[str]) -> float | None:
    try:
        import sacrebleu
    except ImportError:
        return None
    joined = [" ".join(response) for response in words]
    truth = [" ".join(response_tokens(text)) for text in references]
    return (
        float(sacrebleu.corpus_bleu(joined, [truth], tokenize="none", force=True).score)
        if joined
        else 0.0
    )
