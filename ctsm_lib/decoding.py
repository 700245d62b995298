"""Answers: greedy, beam and nucleus decoding, in batches, with a cache of keys and values.

Paper: Sec. 4.3 scores greedy answers of at most 50 tokens.
Shapes: R rows that have not ended, T words so far, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ctsm_lib.batches import Batch
from ctsm_lib.config import DECODING_LIMITS
from ctsm_lib.corpus import CLS, EOS, PAD, SOS, SYS, UNK, USR
from ctsm_lib.interface import Memory, Model
from ctsm_lib.registry import extension
from ctsm_lib.settings import require, require_limits

NEVER = (UNK, PAD, SOS, USR, SYS, CLS)  # an answer holds words only


@dataclass(frozen=True)
class Decoding:
    """Settings of decoding."""

    method: Literal["greedy", "beam", "nucleus"] = "greedy"
    max_length: int = 50  # tokens, EOS included
    beams: int = 5
    length_penalty: float = 1.0  # of beam search, whose score is log P / length^penalty
    temperature: float = 1.0  # of nucleus sampling; below 1 sharpens
    top_p: float = 0.9  # nucleus: the smallest set of words whose probability exceeds it
    block_ngrams: int = 0  # no n-gram of this size occurs twice in an answer; 0: off
    repetition_penalty: float = 0.0  # subtracted from log P of words in the answer
    unigram_penalty: float = 0.0  # times a word's log frequency in training answers, subtracted
    seed: int = 0  # of nucleus sampling

    def __post_init__(self) -> None:
        require_limits(self, DECODING_LIMITS)
        methods = get_args(type(self).__annotations__["method"])
        require(self.method in methods, "method", self.method, "greedy, beam or nucleus")


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
    """Answer every context of a batch; returns the answers and the encoded contexts.

    `step` makes the random numbers of one batch differ from the next one's.
    """
    was_training = model.training
    model.eval()
    memory = model.encode(batch)
    answers = [Answer([], 0.0, [])] * len(batch)
    if model.predicts_words:
        decode = extension("decoders", "beam") if how.method == "beam" else _one_by_one
        answers = decode(model, model.start(memory), how, step)
    model.train(was_training)
    return answers, memory


def adjusted(model: Model, how: Decoding, log_prob: Tensor, words: Tensor) -> Tensor:
    """Scores [R, V] of the next word: log P with penalties, given the words [R, T] so far."""
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
    device = cache.mask.device
    count = len(cache.mask)
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
    return [answer_of(row, float(log_prob), alpha) for row, log_prob, alpha in found]


def answer_of(row: Sequence[int], log_prob: float, alpha: Sequence[float] = ()) -> Answer:
    words = [word for word in row if word not in (EOS, PAD)]
    return Answer(words, log_prob, list(alpha[: len(words) + (EOS in row)]))


def _sample(score: Tensor, how: Decoding, random: torch.Generator) -> Tensor:
    """One word for each row, from its nucleus. Source: Holtzman et al. (2020)."""
    ordered, words = (score / how.temperature).softmax(dim=1).sort(dim=1, descending=True)
    before = ordered.cumsum(dim=1) - ordered
    kept = torch.where(before < how.top_p, ordered, 0.0)  # the first word always stays
    chosen = torch.multinomial(kept.cpu(), 1, generator=random).to(score.device)
    return words.gather(1, chosen).squeeze(1)
