"""Beam search, batched. The paper's answers are greedy."""

from typing import Any

import torch

from ctsm_lib.corpus import EOS, SOS
from ctsm_lib.decoding import Answer, Decoding, adjusted, answer_of


def beam_search(model: Any, cache: Any, how: Decoding, step: int) -> list[Answer]:
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
                best[owner[i]] = (value, answer_of(row, float(probability[i, j])))
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
