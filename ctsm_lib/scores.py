"""The scores of Section 4.3: two perplexities, emotion accuracy and Distinct, with checks of them.

Perplexity and accuracy come from one pass under teacher forcing, the others from answers.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm

from ctsm_lib.batches import Pairs
from ctsm_lib.dialogues import tokenizers
from ctsm_lib.parallel import all_sum, share


@torch.no_grad()
def score_pairs(
    model: torch.nn.Module,
    pairs: Pairs,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """Negative log-likelihood and emotion logits of every pair; processes share out the batches.

    `model` must not be wrapped for several processes: where batches are few, one may not call it.

    Returns:
        nll: [n] sum over target tokens; tokens: [n] their number, EOS included; logits: [n, 32];
        label: [n]. Words or emotions that the model does not predict are left out.
    """
    was_training = model.training
    model.eval()
    nll = torch.zeros(len(pairs), dtype=torch.float64)
    tokens = torch.zeros(len(pairs), dtype=torch.float64)
    logits = torch.zeros(len(pairs), 32, dtype=torch.float64)
    # Whole batches: the numbers do not depend on which process computes them.
    batches = list(pairs.in_order(batch_size))[share()]
    for index in tqdm(batches, desc="scoring", unit="batch", disable=None if progress else True):
        output = model(pairs.collate(index).to(device))
        # Summed on the CPU: not every accelerator has float64.
        row = output.token_row.cpu()
        sums = torch.zeros(len(index), dtype=torch.float64)
        nll[index] = sums.index_add(0, row, output.token_nll.cpu().double())
        tokens[index] = torch.bincount(row, minlength=len(index)).double()
        logits[index] = output.emotion_logits.cpu().double()
    model.train(was_training)
    # Each process filled the rows of its batches and left the others 0.
    scored = {"label": pairs.label}
    if getattr(model, "predicts_words", True):
        scored["nll"] = all_sum(nll).numpy()
        scored["tokens"] = all_sum(tokens).numpy()
    if getattr(model, "predicts_emotion", True):
        scored["logits"] = all_sum(logits).numpy()
    return scored


def perplexities(nll: np.ndarray, tokens: np.ndarray) -> dict[str, float]:
    """Both perplexities, of n examples with sums of NLL and numbers of tokens.

    `ppl_peer`, exp of the mean over examples of the example's mean, is that of Table 1, since the
    baselines test with batches of one. `ppl_token`, exp(total / tokens), is 15 to 20 % higher.
    """
    return {
        "ppl_peer": _exp(float(np.mean(nll / np.maximum(tokens, 1)))),
        "ppl_token": _exp(float(nll.sum() / max(tokens.sum(), 1))),
    }


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def emotion_scores(logits: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Accuracy among 32 emotions, top-3, top-5 and macro-F1, in percent.

    `logits` are [n, 32], `label` [n]. Macro-F1 is over emotions that occur or are predicted.
    """
    better = (logits > logits[np.arange(len(label)), label][:, None]).sum(axis=1)
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((logits.shape[1], logits.shape[1]))
    np.add.at(confusion, (label, predicted), 1)
    support = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = (2 * np.diag(confusion) / np.maximum(support, 1))[support > 0]
    return {
        "acc": 100 * float((predicted == label).mean()),
        "acc_top3": 100 * float((better < 3).mean()),
        "acc_top5": 100 * float((better < 5).mean()),
        "macro_f1": 100 * float(f1.mean()),
    }


def teacher_forced(scored: dict[str, np.ndarray]) -> dict[str, float]:
    """All scores that need no answers, from the result of `score_pairs`."""
    emotion = emotion_scores(scored["logits"], scored["label"]) if "logits" in scored else {}
    return emotion | (perplexities(scored["nll"], scored["tokens"]) if "nll" in scored else {})


def response_tokens(text: str) -> list[str]:
    """Words as Distinct counts them: NLTK's word tokenizer on the lower-cased text."""
    return tokenizers()[1].tokenize(text.lower())


def distinct(responses: Sequence[Sequence[str]], n: int) -> float:
    """Distinct n-grams divided by all n-grams, times 100; 0 for none. Source: Li et al. (2016)."""
    ngrams = [tuple(words[i : i + n]) for words in responses for i in range(len(words) - n + 1)]
    return 100 * len(set(ngrams)) / len(ngrams) if ngrams else 0.0
