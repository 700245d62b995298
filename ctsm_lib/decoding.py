"""Answers: greedy, beam, nucleus; batched, with a key/value cache; finished rows leave the batch.

Paper: Sec. 4.3 scores greedy answers of at most 50 tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ctsm_lib import parallel
from ctsm_lib.batches import Batch, Pairs
from ctsm_lib.corpus import CLS, EOS, PAD, SOS, SYS, UNK, USR
from ctsm_lib.errors import ConfigError
from ctsm_lib.interface import Memory, Model
from ctsm_lib.model.generation import DecoderCache

NEVER = (UNK, PAD, SOS, USR, SYS, CLS)  # an answer holds words only


@dataclass(frozen=True)
class Decoding:
    """How to answer.

    Attributes:
        method: "greedy", "beam" or "nucleus".
        max_length: tokens, EOS included.
        beams: for "beam".
        length_penalty: for "beam": the score is log P / length^penalty.
        temperature: for "nucleus"; below 1 sharpens.
        top_p: for "nucleus": the smallest set of words whose probability exceeds it.
        block_ngrams: no n-gram of this size twice in an answer; 0: off.
        repetition_penalty: subtracted from the log-probability of words already said; 0: off.
        unigram_penalty: subtracts this times the log unigram frequency of training answers; 0: off.
        seed: for "nucleus".
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
                raise ConfigError(
                    f"{name}={getattr(self, name)} is not possible: it must be {expected}."
                )


@dataclass
class Answer:
    """One answer.

    Attributes:
        ids: its words, without EOS.
        log_prob: of the model itself, EOS included, without penalties.
        alpha: for each token (EOS included, where it was reached) the probability of generating rather than copying;
            empty for beam search.
    """

    ids: list[int]
    log_prob: float
    alpha: list[float]


@torch.no_grad()
def answer_batch(
    model: Model,
    batch: Batch,
    how: Decoding,
    log_unigram: Tensor | None = None,
    step: int = 0,
) -> tuple[list[Answer], Memory]:
    """Answer every context of a batch.

    Args:
        log_unigram: [V], needed by `unigram_penalty`.
        step: makes the random numbers of one batch differ from the next one's.

    Returns:
        The answers in the order of the batch, and what the model read (emotion logits among it).
    """
    was_training = model.training
    model.eval()
    memory = model.encode(batch)
    adjust = _adjuster(how, log_unigram)
    decode = _beam if how.method == "beam" else _one_by_one
    answers = decode(model, model.start(memory), how, adjust, step)
    model.train(was_training)
    return answers, memory


def answer_pairs(
    model: Model,
    pairs: Pairs,
    how: Decoding,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    log_unigram: Tensor | None = None,
    progress: bool = False,
) -> tuple[list[Answer], np.ndarray]:
    """Answer every pair of a split; several processes share out the batches, and all get all answers.

    Returns:
        The answers in the order of the pairs, and the student's emotion logits [n, 32].
    """
    answers: list[Answer] = [Answer([], 0.0, [])] * len(pairs)
    logits = torch.zeros(len(pairs), 32)
    # Whole batches, each with its own number: the same answers, whoever finds them.
    batches = list(enumerate(pairs.in_order(batch_size)))[parallel.share()]
    total = sum(len(index) for _, index in batches)
    bar = tqdm(total=total, desc="answering", unit="answer", disable=None if progress else True)
    for step, index in batches:
        batch = replace(
            pairs.collate(index), target=None, label=None
        )  # an answer never sees the truth
        found, memory = answer_batch(model, batch.to(device), how, log_unigram, step)
        for place, answer in zip(index, found, strict=True):
            answers[place] = answer
        logits[index] = memory.emotion_logits.float().cpu()
        bar.update(len(index))
    bar.close()
    if parallel.world() > 1:
        own = {int(place): astuple(answers[place]) for _, index in batches for place in index}
        for part in parallel.gather(own):
            for place, values in part.items():
                answers[int(place)] = Answer(*values)
    return answers, parallel.all_sum(logits).numpy()


Adjust = Callable[[Tensor, Tensor], Tensor]


def _adjuster(how: Decoding, log_unigram: Tensor | None) -> Adjust:
    """From log-probabilities [R, V] and what was said so far [R, T] to scores for choosing the next word."""
    if how.unigram_penalty and log_unigram is None:
        raise ConfigError(
            "unigram_penalty needs the training answers' word frequencies, which this run lacks."
        )

    def adjust(log_prob: Tensor, said: Tensor) -> Tensor:
        score = log_prob.clone()
        if how.unigram_penalty and log_unigram is not None:
            score -= how.unigram_penalty * log_unigram.to(score.device)
        if how.repetition_penalty and said.shape[1]:
            words = said.clone()
            words[words == EOS] = PAD
            score.scatter_(1, words, score.gather(1, words) - how.repetition_penalty)
        if how.block_ngrams and said.shape[1] >= how.block_ngrams:
            score.masked_fill_(_repeated(said, how.block_ngrams, score.shape[1]), float("-inf"))
        score[:, list(NEVER)] = float("-inf")
        return score

    return adjust


def _repeated(said: Tensor, n: int, size: int) -> Tensor:
    """[R, V] True where a word would complete an n-gram that was said before."""
    windows = said.unfold(1, n, 1)  # R W n
    last = said[:, said.shape[1] - (n - 1) :].unsqueeze(1)
    match = (windows[:, :, : n - 1] == last).all(dim=2)
    blocked = torch.zeros(len(said), size, dtype=torch.int32, device=said.device)
    blocked.scatter_add_(1, windows[:, :, n - 1], match.to(torch.int32))
    blocked[:, EOS] = 0
    return blocked > 0


def _one_by_one(
    model: Model, cache: DecoderCache, how: Decoding, adjust: Adjust, step: int
) -> list[Answer]:
    """Greedy or nucleus: one word a step for every row that has not ended."""
    device, count = cache.mask.device, len(cache.mask)
    random = torch.Generator(device="cpu").manual_seed(how.seed * 1_000_003 + step)
    rows = torch.arange(count, device=device)
    token = torch.full((count,), SOS, device=device)
    said = torch.zeros(count, 0, dtype=torch.int64, device=device)
    ids = torch.full((count, how.max_length), PAD, device=device)
    alphas = torch.zeros(count, how.max_length, device=device)
    log_probs = torch.zeros(count, dtype=torch.float64, device=device)
    for position in range(how.max_length):
        log_prob, alpha, _ = model.step(cache, token)
        score = adjust(log_prob, said)
        token = score.argmax(dim=1) if how.method == "greedy" else _sample(score, how, random)
        ids[rows, position], alphas[rows, position] = token, alpha
        log_probs[rows] += log_prob.gather(1, token.unsqueeze(1)).squeeze(1).double()
        said = torch.cat([said, token.unsqueeze(1)], dim=1)
        going = (token != EOS).nonzero().squeeze(1)
        if not len(going):
            break
        if len(going) < len(token):
            rows, token, said, cache = rows[going], token[going], said[going], cache.select(going)
    return [
        _answer(row, float(log_prob), alpha)
        for row, log_prob, alpha in zip(ids.tolist(), log_probs, alphas.tolist(), strict=True)
    ]


def _answer(row: Sequence[int], log_prob: float, alpha: Sequence[float] = ()) -> Answer:
    words = [i for i in row if i not in (EOS, PAD)]
    length = len(words) + (EOS in row)
    return Answer(words, log_prob, list(alpha[:length]))


def _sample(score: Tensor, how: Decoding, random: torch.Generator) -> Tensor:
    """One word a row out of its nucleus. Source: Holtzman et al. (2020)."""
    ordered, words = (score / how.temperature).softmax(dim=1).sort(dim=1, descending=True)
    before = ordered.cumsum(dim=1) - ordered
    kept = torch.where(before < how.top_p, ordered, 0.0)  # the first word always stays
    chosen = torch.multinomial(kept.cpu(), 1, generator=random).to(score.device)
    return words.gather(1, chosen).squeeze(1)


def _beam(
    model: Model, cache: DecoderCache, how: Decoding, adjust: Adjust, step: int
) -> list[Answer]:
    """Beam search over all contexts at once; a context whose best unfinished beam cannot win any more leaves."""
    device, count, width = cache.mask.device, len(cache.mask), how.beams
    cache = cache.select(torch.arange(count, device=device).repeat_interleave(width))
    owner = torch.arange(count, device=device)
    token = torch.full((count * width,), SOS, device=device)
    said = torch.zeros(count * width, 0, dtype=torch.int64, device=device)
    # All beams of a context begin alike, so only the first may branch.
    score = torch.full((count, width), float("-inf"), device=device)
    score[:, 0] = 0.0
    plain = torch.zeros(count, width, device=device)
    best: list[tuple[float, Answer]] = [(float("-inf"), Answer([], 0.0, []))] * count
    for position in range(how.max_length):
        log_prob, _, _ = model.step(cache, token)
        size, length = log_prob.shape[1], position + 1
        total = score.view(-1, 1) + adjust(log_prob, said)
        score, flat = total.view(len(owner), width * size).topk(2 * width, dim=1)
        parent = torch.arange(len(owner), device=device).unsqueeze(1) * width + flat // size
        word = flat % size
        probability = plain.view(-1)[parent] + log_prob[parent, word]
        ended = (word == EOS) | (length == how.max_length)
        penalty = length**how.length_penalty
        for i, j in (ended & torch.isfinite(score)).nonzero().tolist():
            if j < width and (value := float(score[i, j]) / penalty) > best[owner[i]][0]:
                row = [*said[parent[i, j]].tolist(), int(word[i, j])]
                best[owner[i]] = (value, _answer(row, float(probability[i, j])))
        # The width best that go on (topk gave twice as many, so there are enough).
        alive = score.masked_fill(ended, float("-inf"))
        score, pick = alive.topk(width, dim=1)
        hope = score[:, 0] / max(
            penalty, how.max_length**how.length_penalty if how.length_penalty > 0 else penalty
        )
        reached = torch.tensor([best[o][0] for o in owner.tolist()], device=device)
        going = ((hope > reached) & torch.isfinite(score[:, 0])).nonzero().squeeze(1)
        if not len(going) or length == how.max_length:
            break
        parent, word = parent.gather(1, pick)[going], word.gather(1, pick)[going]
        plain, score, owner = probability.gather(1, pick)[going], score[going], owner[going]
        said = torch.cat([said[parent.flatten()], word.flatten().unsqueeze(1)], dim=1)
        token, cache = word.flatten(), cache.select(parent.flatten())
    return [answer for _, answer in best]
