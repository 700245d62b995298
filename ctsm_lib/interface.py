"""The interface of every model: per-word tables, an encoded context, losses and predictions.

Shapes: B batch, L context length, N real target tokens of a batch, D width, V vocabulary.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import EMOTIONS


@dataclass
class Tables:
    """Facts about every word of the vocabulary, in float32, and the ids of the emotion words."""

    vectors: Tensor  # V D
    vad: Tensor  # V 3: valence, arousal, dominance
    idf: Tensor  # V
    intensity: Tensor  # V
    labels: Tensor  # 32
    log_unigram: Tensor  # V, log frequency among the words of training answers
    more: dict[str, Tensor] = field(default_factory=dict)  # read by models beyond the paper

    @classmethod
    def empty(cls, size: int, dim: int) -> Self:
        """Tables of the right shape, for a model whose weights come from a checkpoint."""
        zeros = torch.zeros(size)
        labels = torch.zeros(len(EMOTIONS), dtype=torch.int64)
        return cls(
            vectors=torch.zeros(size, dim), vad=torch.zeros(size, 3), idf=zeros, intensity=zeros,
            labels=labels, log_unigram=zeros,
        )  # fmt: skip


@dataclass
class Memory:
    """An encoded context, ready for the decoder."""

    states: Tensor  # B L D, attended to by the decoder
    mask: Tensor  # B L
    context: Tensor  # B L
    emotion_logits: Tensor  # B 32; zeros where a model predicts no emotion
    pooling: Tensor | None = None  # B L, attention pooling S of the predicted emotion


@dataclass
class Output:
    """Losses and predictions for a batch with targets.

    Each loss is this process's share of the whole batch, so that shares add up; "contrast" is of
    the whole batch. "total" is Eq. (25), scaled so that averaged gradients of processes are exact.
    """

    losses: dict[str, Tensor]
    emotion_logits: Tensor  # B 32
    teacher_logits: Tensor | None  # B 32 in training, where a model has a teacher
    token_nll: Tensor  # N
    token_row: Tensor  # N
    token_prediction: Tensor  # N


class Model(Protocol):
    """Every system that can be trained, scored and answered with."""

    config: Config
    predicts_emotion: bool  # whether its emotion logits mean anything
    predicts_words: bool
    uses: frozenset[str]  # the optional data that it reads, e.g. "knowledge"
    log_unigram: Tensor  # V, as in `Tables`

    # Encode contexts; make a decoder cache for them; read one more word, which gives log P of the
    # next [B, V], alpha [B] and copy weights [B, L]; losses and predictions for pairs.
    def encode(self, batch: Batch) -> Memory: ...
    def start(self, memory: Memory) -> Any: ...
    def step(self, cache: Any, token_B: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...
    def __call__(self, batch: Batch) -> Output: ...


def initialise(model: nn.Module) -> None:
    """Xavier for every matrix but the word table, as in the baselines' released code."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and not name.startswith("embed.") and name != "knowledge.absent":
            nn.init.xavier_uniform_(parameter)
    pointer = getattr(model.decoder, "pointer", None)
    if pointer is not None and pointer.bias is not None:
        # Rows of GloVe are long: with full-sized weights the first perplexity would be millions.
        pointer.output.weight.data *= 0.1
