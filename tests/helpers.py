"""Builders and slow references that the tests of the model share.

The references (`slow_...`) are the specification's equations for one pair at a time, without batch,
padding or mask, in numpy's float64 and plain loops. They take a module's weights and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import CLS, EOS, PAD, SYS, USR
from ctsm_lib.interface import Tables
from ctsm_lib.model import CTSM

DIM, SIZE = 12, 50  # width and vocabulary of the tiny model
FIRST_WORD = 7  # ids below are special
M = TypeVar("M", bound=nn.Module)

# ----------------------------------------------------------------------------------------- builders


@dataclass(frozen=True)
class Pair:
    """One (context, response) pair as lists of ids, without padding."""

    context: list[int]  # CLS first
    speaker: list[int]
    knowledge: list[list[int]]  # of the five relations, without CLS; [] where there is none
    target: list[int]  # EOS last
    label: int


def random_pairs(count: int, seed: int = 0, *, target: int = 7) -> list[Pair]:
    """Pairs of different lengths, with repeated, shared and missing parts.

    Words of the context repeat, and targets share words with it. Among any three neighbours each of
    the five relations is missing once, and no pair lacks all five.
    """
    random = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        words = random.integers(FIRST_WORD, SIZE, random.integers(2, 10)).tolist()
        words += words[:1]  # stands twice
        turn = random.integers(1, len(words))
        speaker = [USR] * turn + [SYS] * (len(words) - turn)
        knowledge = []
        for relation in range(5):
            phrases = random.integers(FIRST_WORD, SIZE, random.integers(1, 6)).tolist()
            knowledge.append([] if (number + relation) % 3 == 0 else phrases)
        answer = random.integers(FIRST_WORD, SIZE, random.integers(2, target)).tolist()
        answer[0] = words[-1]
        pairs.append(
            Pair(
                context=[CLS, *words],
                speaker=[CLS, *speaker],
                knowledge=knowledge,
                target=[*answer, EOS],
                label=int(random.integers(32)),
            )
        )
    return pairs


def padded(rows: Sequence[Sequence[int]], extra: int = 0) -> Tensor:
    """[n, width] ids, PAD on the right, `extra` columns more than needed."""
    width = max(map(len, rows)) + extra
    return torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows])


def collate(pairs: Sequence[Pair], extra: int = 0) -> Batch:
    """The pairs as one batch, with `extra` columns of PAD at contexts, targets and knowledge."""
    knowledge = padded([[CLS, *ids] for pair in pairs for ids in pair.knowledge], extra)
    return Batch(
        padded([pair.context for pair in pairs], extra),
        padded([pair.speaker for pair in pairs], extra),
        knowledge.view(len(pairs), 5, -1),
        padded([pair.target for pair in pairs], extra),
        torch.tensor([pair.label for pair in pairs]),
        torch.arange(len(pairs)),
        total_tokens=sum(len(pair.target) for pair in pairs),
        total_pairs=len(pairs),
    )


def tiny_config(**changes: Any) -> Config:
    """Preset `paper` with small widths; no two widths alike where that could hide a mistake."""
    small: dict[str, Any] = dict(
        dim=DIM, heads=2, key_depth=10, ffn_dim=9, small_heads=2, small_key_depth=6,
        small_ffn_dim=8, compressed_dim=4, embedding_scale=2.0,
    )  # fmt: skip
    return Config(**(small | changes))


def tiny_tables(seed: int = 0, size: int = SIZE, dim: int = DIM) -> Tables:
    """Random word tables with zeros where the specification wants them."""
    random = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random)

    vectors = torch.randn(size, dim, generator=random) * 0.5
    vectors[PAD] = 0
    idf, intensity = rand(size), rand(size)
    for table in (idf, intensity):
        table[[PAD, CLS]] = 0
    log_unigram = (rand(size) + 0.01).log().log_softmax(dim=0)
    labels = torch.randperm(size - FIRST_WORD, generator=random)[:32] + FIRST_WORD
    return Tables(
        vectors=vectors, vad=rand(size, 3), idf=idf, intensity=intensity, labels=labels,
        log_unigram=log_unigram,
    )  # fmt: skip


def randomise(module: M, seed: int = 0, scale: float = 0.3) -> M:
    """Random parameters everywhere: biases, norms and vectors of 0 or 1 would hide mistakes."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not name.startswith("embed."):
                centre = 1.0 if name.endswith("norm.weight") else 0.0
                parameter.copy_(centre + scale * torch.randn(parameter.shape, generator=random))
    return module


def tiny_model(seed: int = 0, **changes: Any) -> CTSM:
    """A tiny CTSM in training mode, all parameters random; for the paper's settings only."""
    config = tiny_config(**changes)
    assert not config.goes_beyond_paper(), "`beyond_cases.tiny_extended` makes such models"
    return randomise(CTSM(config, tiny_tables(seed)), seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers that depend on the seed only."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def real_mask(lengths: Sequence[int], extra: int = 0) -> Tensor:
    """[B, L] True at the first `lengths[b]` places."""
    return torch.arange(max(lengths) + extra) < torch.tensor(lengths).unsqueeze(1)


def close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Both are equal within the tolerance, absolute and relative; the shapes, too."""
    actual, expected = array(actual), array(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def differ(first: Any, second: Any, by: float = 1e-3) -> None:
    """Both differ visibly: the change that a test makes does have an effect."""
    assert np.abs(array(first) - array(second)).max() > by


def array(values: Any) -> np.ndarray:
    """float64, without gradient."""
    return (
        values.detach().double().numpy()
        if isinstance(values, Tensor)
        else np.asarray(values, dtype=np.float64)
    )


# ---------------------------------------------------------------------------------- slow references


def slow_softmax(scores: Sequence[float]) -> list[float]:
    """`exp(s_i) / sum_j exp(s_j)`."""
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    return [power / math.fsum(powers) for power in powers]


def sigmoid(values: Any) -> Any:
    """`1 / (1 + e^-x)`."""
    return 1 / (1 + np.exp(-values))


def slow_linear(layer: nn.Module, rows: Any) -> np.ndarray:
    """`W x + b` for each row."""
    weight = array(layer.weight)
    bias = array(layer.bias) if layer.bias is not None else 0.0
    return np.array([weight @ row + bias for row in rows])


def slow_norm(norm: nn.LayerNorm, rows: Any) -> np.ndarray:
    """`(x - mean) / sqrt(variance + eps) * w + b` for each row."""
    weight, bias = array(norm.weight), array(norm.bias)
    return np.array(
        [(row - row.mean()) / math.sqrt(row.var() + norm.eps) * weight + bias for row in rows]
    )


def slow_positions(length: int, dim: int, start: int = 0) -> np.ndarray:
    """`sin(p / 10000^(2i/D))` at 2i, the cosine at 2i + 1."""
    signal = np.zeros((length, dim))
    for row in range(length):
        for column in range(dim):
            angle = (start + row) / 10_000 ** ((column - column % 2) / dim)
            signal[row, column] = math.cos(angle) if column % 2 else math.sin(angle)
    return signal


def slow_embedding(
    embed: nn.Module, ids: list[int], speaker: list[int] | None = None, start: int = 0
) -> np.ndarray:
    """`(word + speaker state) * scale + position` for each token."""
    table = array(embed.words.weight)
    rows = table[ids] if speaker is None else table[ids] + table[speaker]
    return rows * embed.scale + slow_positions(len(ids), table.shape[1], start)


def slow_attention(
    attention: nn.Module,
    queries: Any,
    memory: Any,
    allowed: Callable[[int, int], bool] = lambda query, key: True,
) -> tuple[np.ndarray, np.ndarray]:
    """`softmax(q k / sqrt(depth)) v` of each head, side by side, through the output matrix.

    Returns:
        [L, D], and the weights [H, L, M].
    """
    heads = attention.heads
    depth = attention.depth
    query_matrix = array(attention.query.weight)
    both = array(attention.key_value.weight)
    key_matrix = both[: heads * depth]
    value_matrix = both[heads * depth :]
    result = array(attention.result.weight)
    weights = np.zeros((heads, len(queries), len(memory)))
    mixed = np.zeros((len(queries), heads * depth))
    for head in range(heads):
        part = slice(head * depth, (head + 1) * depth)
        for i in range(len(queries)):
            query = query_matrix[part] @ queries[i]
            keys = [j for j in range(len(memory)) if allowed(i, j)]
            if not keys:
                continue
            scores = [
                float(query @ (key_matrix[part] @ memory[j])) / math.sqrt(depth) for j in keys
            ]
            for j, weight in zip(keys, slow_softmax(scores), strict=True):
                weights[head, i, j] = weight
                mixed[i, part] += weight * (value_matrix[part] @ memory[j])
    return np.array([result @ row for row in mixed]), weights


def slow_feed_forward(ffn: nn.Module, states: np.ndarray, causal: bool = False) -> np.ndarray:
    """`W_2 relu(W_1 x)`; a convolution also reads the neighbours (causal: the two before)."""

    def project(layer: nn.Module, rows: np.ndarray) -> np.ndarray:
        if isinstance(layer, nn.Linear):
            return slow_linear(layer, rows)
        weight = array(layer.weight)
        left = 2 if causal else 1
        out = []
        for place in range(len(rows)):
            total = array(layer.bias).copy()
            for tap in range(3):
                if 0 <= place + tap - left < len(rows):
                    total += weight[:, :, tap] @ rows[place + tap - left]
            out.append(total)
        return np.array(out)

    return project(ffn.second, np.maximum(project(ffn.first, states), 0))


def slow_encoder(encoder: nn.Module, states: np.ndarray) -> np.ndarray:
    """Pre-norm layers (`x + Attention(norm x)`, `x + FFN(norm x)`) and a final norm."""
    for layer in encoder.layers:
        normed = slow_norm(layer.attention_norm, states)
        states = states + slow_attention(layer.attention, normed, normed)[0]
        states = states + slow_feed_forward(layer.ffn, slow_norm(layer.ffn_norm, states))
    return slow_norm(encoder.norm, states)


def slow_knowledge(knowledge: nn.Module, embedded: Sequence[np.ndarray]) -> np.ndarray:
    """`K_r`: CLS of Encoder_cog; `k_e`: mean of Encoder_emo over the words.

    A relation without phrases has a learned vector.

    Args:
        embedded: of each of the five relations [1 + words, D], CLS first.
    """
    rows = []
    for relation, states in enumerate(embedded):
        if len(states) == 1:
            rows.append(array(knowledge.absent)[relation])
        elif relation < 4:
            rows.append(slow_encoder(knowledge.cognitive, states)[0])
        else:
            rows.append(slow_encoder(knowledge.emotional, states[1:]).mean(axis=0))
    return np.array(rows)


def slow_separate_fusion(
    fusion: nn.Module, context: np.ndarray, knowledge: np.ndarray
) -> np.ndarray:
    """`U_r = Encoder_cr([H ; K_r])`, `U_e = Encoder_er([H ; k_e])`, then the gated MLP.

    The MLP is `W_2 relu(W_1 (sigmoid(Z) * Z))`.
    """
    cognitive = np.concatenate(
        [array(fusion.context_in.weight), array(fusion.knowledge_in.weight)], axis=1
    )  # D 2D
    emotional = np.concatenate(
        [array(fusion.emotion_context_in.weight), array(fusion.emotion_knowledge_in.weight)], axis=1
    )
    refined = []
    for relation in range(5):
        matrix = cognitive if relation < 4 else emotional
        joined = np.array(
            [matrix @ np.concatenate([state, knowledge[relation]]) for state in context]
        )
        refined.append(slow_encoder(fusion.cognitive if relation < 4 else fusion.emotional, joined))
    rows = []
    for place in range(len(context)):
        z = np.concatenate([states[place] for states in refined])
        rows.append(
            array(fusion.second.weight)
            @ np.maximum(array(fusion.first.weight) @ (sigmoid(z) * z), 0)
        )
    return np.array(rows)


def slow_cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`a . b / (|a| |b|)` for each row of the first with each of the second."""
    return np.array([[a @ b / math.sqrt((a @ a) * (b @ b)) for b in second] for a in first])


def slow_predictor(
    predictor: nn.Module, values: np.ndarray, intensity: Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Eq. (11) to (14): logits before the softmax of Eq. (14), and S.

    `C_l = n softmax(I)_l V_l`, `S = softmax(v tanh(W_c C_l + b))`,
    `W_out tanh(W_4 (C^T S) + b_4) + b_out`.
    """
    if intensity is not None:
        values = np.array(
            [len(values) * i * v for i, v in zip(slow_softmax(intensity), values, strict=True)]
        )
    hidden = np.tanh(slow_linear(predictor.attend, values))
    pooling = slow_softmax([float(array(predictor.score.weight)[0] @ row) for row in hidden])
    pooled = sum(share * value for share, value in zip(pooling, values, strict=True))
    summary = np.tanh(slow_linear(predictor.hidden, [pooled]))
    return slow_linear(predictor.classify, summary)[0], np.array(pooling)


def slow_decoder(
    decoder: nn.Module, embedded: np.ndarray, memory: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """States [T, D] and the last layer's attention to the context, mean over heads, [T, L]."""
    states = embedded
    for layer in decoder.layers:
        normed = slow_norm(layer.self_norm, states)
        states = (
            states + slow_attention(layer.self_attention, normed, normed, lambda i, j: j <= i)[0]
        )
        attended, weights = slow_attention(
            layer.cross_attention, slow_norm(layer.cross_norm, states), memory
        )
        states = states + attended
        states = states + slow_feed_forward(
            layer.ffn, slow_norm(layer.ffn_norm, states), causal=True
        )
    return slow_norm(decoder.norm, states), weights.mean(axis=0)


def slow_distribution(
    pointer: nn.Module,
    state: np.ndarray,
    copy: Sequence[float],
    context: Sequence[int],
    words: np.ndarray,
) -> tuple[np.ndarray, float]:
    """`P = alpha softmax(W o) + (1 - alpha) copy` over the vocabulary, and alpha.

    Args:
        words: [V, D] the word table, which a tied output layer uses.
    """
    alpha = float(sigmoid(slow_linear(pointer.gate, [state])[0, 0]))
    mixture = alpha * np.array(slow_softmax(slow_logits(pointer, state, words)))
    for place, word in enumerate(context):
        mixture[word] += (1 - alpha) * copy[place]
    return mixture, alpha


def slow_logits(pointer: nn.Module, state: np.ndarray, words: np.ndarray) -> np.ndarray:
    """`W o + b`, or with a tied output layer `E (A o + a) + b`."""
    logits = slow_linear(pointer.output, [state])[0]
    return logits if pointer.bias is None else words @ logits + array(pointer.bias)


def slow_pair_loss(
    first: np.ndarray, second: np.ndarray, temperature: float, negatives: str
) -> float:
    """Eq. (23): `-log e^(p.q/tau) / sum_k e^(p.k/tau)`, the mean over the 2B anchors.

    k is q and each of the negatives.
    """
    views = (first, second)
    losses = []
    for side in (0, 1):
        for own in range(len(first)):
            anchor, positive = views[side][own], views[1 - side][own]
            keys = [positive]
            for other in range(len(first)):
                if other != own:
                    keys.append(views[1 - side][other])
                    if negatives == "both":
                        keys.append(views[side][other])
            scores = [float(anchor @ key) / temperature for key in keys]
            losses.append(-math.log(slow_softmax(scores)[0]))
    return sum(losses) / len(losses)


def unit(vector: np.ndarray) -> np.ndarray:
    """`v / |v|`."""
    return vector / math.sqrt(vector @ vector)


# -------------------------------------------------------------------- checks of every fusion


def check_everything_takes_part(fusion: nn.Module) -> None:
    """Each of the five relations, and each token, changes the result of its own row only."""
    mask = torch.ones(2, 4, dtype=torch.bool)
    context = normal(2, 4, DIM)
    knowledge = normal(2, 5, DIM, seed=1)
    before = fusion(context, knowledge, mask)
    for relation in range(5):
        changed = knowledge.clone()
        changed[0, relation] += normal(DIM, seed=2)
        after = fusion(context, changed, mask)
        differ(after[0], before[0])
        close(after[1], before[1], 1e-12)
    changed = context.clone()
    changed[0, 0] += normal(DIM, seed=2)
    # The refining encoder mixes tokens.
    differ(fusion(changed, knowledge, mask)[0, 1:], before[0, 1:])


def check_fusion_ignores_padding(fusion: nn.Module) -> None:
    """A context has the same states alone, in a batch, in another order and whatever is at PAD."""
    lengths = [6, 2, 4]
    context = normal(3, 6, DIM)
    knowledge = normal(3, 5, DIM, seed=1)
    mask = real_mask(lengths)
    together = fusion(context, knowledge, mask)
    dirty = torch.where(mask.unsqueeze(-1), context, torch.tensor(30.0, dtype=torch.float64))
    reverse = fusion(dirty.flip(0), knowledge.flip(0), mask.flip(0)).flip(0)
    for row, length in enumerate(lengths):
        here = slice(row, row + 1)
        alone = fusion(context[here, :length], knowledge[here], mask[here, :length])
        close(alone[0], together[row, :length], 1e-6)
        close(reverse[row, :length], together[row, :length], 1e-6)
