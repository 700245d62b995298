"""Answers: greedy, beam and nucleus decoding, in batches, with a cache of keys and values.

Paper: Sec. 4.3 scores greedy answers of at most 50 tokens.
Shapes: R rows that have not ended, T words so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ctsm_lib.batches import Batch, Pairs
from ctsm_lib.corpus import CLS, EMOTIONS, EOS, PAD, SOS, SYS, UNK, USR
from ctsm_lib.errors import ConfigError
from ctsm_lib.interface import Memory, Model
from ctsm_lib.parallel import all_sum, share

NEVER = (UNK, PAD, SOS, USR, SYS, CLS)  # an answer holds words only


@dataclass(frozen=True)
class Decoding:
    """Settings of decoding.

    Attributes:
        max_length: tokens, EOS included.
        length_penalty: of beam search, whose score is log P / length^penalty.
        temperature: of nucleus sampling; below 1 sharpens.
        top_p: nucleus sampling uses the smallest set of words whose probability exceeds it.
        block_ngrams: no n-gram of this size occurs twice in an answer; 0: off.
        repetition_penalty: subtracted from the log-probability of words in the answer; 0: off.
        unigram_penalty: times the log frequency of a word in training answers, subtracted; 0: off.
        seed: of nucleus sampling.
    """

    method: Literal["greedy", "beam", "nucleus"] = "greedy"
    max_length: int = 50
    beams: int = 5
    length_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 0.9
    block_ngrams: int = 0
    repetition_penalty: float = 0.0
    unigram_penalty: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        checks: list[tuple[str, bool, str]] = [
            ("method", self.method in ("greedy", "beam", "nucleus"), "greedy, beam or nucleus"),
            ("max_length", self.max_length >= 1, "at least 1"),
            ("beams", self.beams >= 1, "at least 1"),
            ("temperature", 0 < self.temperature <= 100, "above 0 and at most 100"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("block_ngrams", self.block_ngrams >= 0, "0 (off) or more"),
            ("repetition_penalty", self.repetition_penalty >= 0, "0 (off) or more"),
            ("seed", 0 <= self.seed < 2**32, "a whole number from 0"),
            ("unigram_penalty", self.unigram_penalty >= 0, "0 (off) or more"),
        ]
        for name, valid, expected in checks:
            if not valid:
                value = getattr(self, name)
                raise ConfigError(f"{name}={value} is not possible: it must be {expected}.")


@dataclass
class Answer:
    """One answer."""

    ids: list[int]  # its words, without EOS
    log_prob: float  # log P of the model itself, EOS included, without penalties
    alpha: list[float]  # for each token, EOS included, P of generating it; empty for beam search


@torch.no_grad()
def answer_batch(
    model: Any, batch: Batch, how: Decoding, step: int = 0
) -> tuple[list[Answer], Memory]:
    """Answer every context of a batch.

    Args:
        step: makes the random numbers of one batch differ from the next one's.

    Returns:
        The answers in the order of the batch, and the encoded contexts (with emotion logits).
    """
    was_training = model.training
    model.eval()
    memory = model.encode(batch)
    if not model.predicts_words:
        return [Answer([], 0.0, [])] * len(memory.mask), memory
    decode = _beam if how.method == "beam" else _one_by_one
    answers = decode(model, model.start(memory), how, step)
    model.train(was_training)
    return answers, memory


def answer_pairs(
    model: Any,
    pairs: Pairs,
    how: Decoding,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    progress: bool = False,
) -> tuple[list[Answer], np.ndarray]:
    """Answer every pair of a split; several processes share the batches, and all get all answers.

    Returns:
        The answers in the order of the pairs, and the emotion logits [n, 32].
    """
    size = len(pairs)
    logits = torch.zeros(size, len(EMOTIONS))
    ids = torch.zeros(size, how.max_length, dtype=torch.int64)
    numbers = torch.zeros(size, how.max_length + 3, dtype=torch.float64)
    # Whole batches, each with its own number: the answers are the same, whoever finds them.
    batches = list(enumerate(pairs.in_order(batch_size)))[share()]
    total = sum(len(index) for _, index in batches)
    hide = None if progress else True
    with tqdm(total=total, desc="answering", unit="answer", disable=hide) as bar:
        for step, index in batches:
            # An answer must not see the reference.
            batch = replace(pairs.collate(index), target=None, label=None).to(device)
            found, memory = answer_batch(model, batch, how, step)
            for place, answer in zip(index, found, strict=True):
                words, alphas = len(answer.ids), len(answer.alpha)
                ids[place, :words] = torch.tensor(answer.ids, dtype=torch.int64)
                facts = [words, alphas, answer.log_prob, *answer.alpha]
                numbers[place, : alphas + 3] = torch.tensor(facts, dtype=torch.float64)
            logits[index] = memory.emotion_logits.float().cpu()
            bar.update(len(index))
    # Each process filled the rows of its batches and left the others 0.
    answers = []
    for row, (words, alphas, log_prob, *alpha) in zip(
        all_sum(ids).tolist(), all_sum(numbers).tolist(), strict=True
    ):
        answers.append(Answer(row[: int(words)], log_prob, alpha[: int(alphas)]))
    return answers, all_sum(logits).numpy()


def adjusted(model: Model, how: Decoding, log_prob: Tensor, words: Tensor) -> Tensor:
    """Scores [R, V] for choosing the next word, with penalties and blocked words.

    Args:
        log_prob: [R, V].
        words: [R, T] of the answers so far.
    """
    score = log_prob.clone()
    if how.unigram_penalty:
        score -= how.unigram_penalty * model.log_unigram.to(score.device)
    if how.repetition_penalty and words.shape[1]:
        used = words.masked_fill(words == EOS, PAD)
        score.scatter_(1, used, score.gather(1, used) - how.repetition_penalty)
    if how.block_ngrams and words.shape[1] >= how.block_ngrams:
        blocked = _repeated(words, how.block_ngrams, score.shape[1])
        score.masked_fill_(blocked, float("-inf"))
    score[:, list(NEVER)] = float("-inf")
    return score


def _repeated(words: Tensor, n: int, size: int) -> Tensor:
    """[R, V] True where a word would complete an n-gram that the answer has already."""
    windows = words.unfold(1, n, 1)  # R W n
    last = words[:, words.shape[1] - (n - 1) :].unsqueeze(1)
    match = (windows[:, :, : n - 1] == last).all(dim=2)
    blocked = torch.zeros(len(words), size, dtype=torch.int32, device=words.device)
    blocked.scatter_add_(1, windows[:, :, n - 1], match.to(torch.int32))
    blocked[:, EOS] = 0
    return blocked > 0


def _one_by_one(model: Any, cache: Any, how: Decoding, step: int) -> list[Answer]:
    """Greedy or nucleus: one word in each step, for every row that has not ended."""
    device, count = cache.mask.device, len(cache.mask)
    random = torch.Generator(device="cpu").manual_seed(how.seed * 1_000_003 + step)
    rows = torch.arange(count, device=device)
    token = torch.full((count,), SOS, device=device)
    words = torch.zeros(count, 0, dtype=torch.int64, device=device)
    ids = torch.full((count, how.max_length), PAD, device=device)
    alphas = torch.zeros(count, how.max_length, device=device)
    log_probs = torch.zeros(count, dtype=torch.float64, device=device)
    for position in range(how.max_length):
        log_prob, alpha, _ = model.step(cache, token)
        score = adjusted(model, how, log_prob, words)
        token = score.argmax(dim=1) if how.method == "greedy" else _sample(score, how, random)
        ids[rows, position], alphas[rows, position] = token, alpha
        log_probs[rows] += log_prob.gather(1, token.unsqueeze(1)).squeeze(1).double()
        words = torch.cat([words, token.unsqueeze(1)], dim=1)
        going = (token != EOS).nonzero().squeeze(1)
        if not len(going):
            break
        if len(going) < len(token):  # rows that have ended leave the batch
            rows, token, words, cache = rows[going], token[going], words[going], cache.select(going)
    found = zip(ids.tolist(), log_probs, alphas.tolist(), strict=True)
    return [_answer(row, float(log_prob), alpha) for row, log_prob, alpha in found]


def _answer(row: Sequence[int], log_prob: float, alpha: Sequence[float] = ()) -> Answer:
    words = [word for word in row if word not in (EOS, PAD)]
    return Answer(words, log_prob, list(alpha[: len(words) + (EOS in row)]))


def _sample(score: Tensor, how: Decoding, random: torch.Generator) -> Tensor:
    """One word for each row, from its nucleus. Source: Holtzman et al. (2020)."""
    ordered, words = (score / how.temperature).softmax(dim=1).sort(dim=1, descending=True)
    before = ordered.cumsum(dim=1) - ordered
    kept = torch.where(before < how.top_p, ordered, 0.0)  # the first word always stays
    chosen = torch.multinomial(kept.cpu(), 1, generator=random).to(score.device)
    return words.gather(1, chosen).squeeze(1)


def _beam(model: Any, cache: Any, how: Decoding, step: int) -> list[Answer]:
    """Beam search over all contexts; a context leaves when no unfinished beam can win any more."""
    device, count, width = cache.mask.device, len(cache.mask), how.beams
    cache = cache.select(torch.arange(count, device=device).repeat_interleave(width))
    owner = torch.arange(count, device=device)
    token = torch.full((count * width,), SOS, device=device)
    words = torch.zeros(count * width, 0, dtype=torch.int64, device=device)
    # All beams of a context begin alike, so only the first may branch.
    score = torch.full((count, width), float("-inf"), device=device)
    score[:, 0] = 0.0
    plain = torch.zeros(count, width, device=device)  # log P without penalties
    best: list[tuple[float, Answer]] = [(float("-inf"), Answer([], 0.0, []))] * count
    longest = how.max_length**how.length_penalty if how.length_penalty > 0 else 0.0
    for position in range(how.max_length):
        log_prob, _, _ = model.step(cache, token)
        size, length = log_prob.shape[1], position + 1
        total = score.view(-1, 1) + adjusted(model, how, log_prob, words)
        score, flat = total.view(len(owner), width * size).topk(2 * width, dim=1)
        parent = torch.arange(len(owner), device=device).unsqueeze(1) * width + flat // size
        word = flat % size
        probability = plain.view(-1)[parent] + log_prob[parent, word]
        ended = (word == EOS) | (length == how.max_length)
        penalty = length**how.length_penalty
        for i, j in (ended & torch.isfinite(score)).nonzero().tolist():
            if j < width and (value := float(score[i, j]) / penalty) > best[owner[i]][0]:
                row = [*words[parent[i, j]].tolist(), int(word[i, j])]
                best[owner[i]] = (value, _answer(row, float(probability[i, j])))
        # The best beams that go on. (topk gave twice as many, so there are enough.)
        score, pick = score.masked_fill(ended, float("-inf")).topk(width, dim=1)
        hope = score[:, 0] / max(penalty, longest)
        reached = torch.tensor([best[o][0] for o in owner.tolist()], device=device)
        going = ((hope > reached) & torch.isfinite(score[:, 0])).nonzero().squeeze(1)
        if not len(going) or length == how.max_length:
            break
        parent, word = parent.gather(1, pick)[going], word.gather(1, pick)[going]
        plain, score, owner = probability.gather(1, pick)[going], score[going], owner[going]
        words = torch.cat([words[parent.flatten()], word.flatten().unsqueeze(1)], dim=1)
        token, cache = word.flatten(), cache.select(parent.flatten())
    return [answer for _, answer in best]
