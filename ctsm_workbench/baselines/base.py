"""What all baselines share: word table, context encoder, decoder with pointer, losses as means, label smoothing.

A baseline says what it reads of a context (`read`), how its decoder differs, and what it adds to the loss. Everything
else, from batches to scores, is the same for all of them and for CTSM.
Departure: the released code of the peers sums the loss of the words over a batch; see setting `peer_losses`.

Shapes: B batch, L context length, T target length, D width, V vocabulary, K = 32 emotions.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD
from ctsm_lib.model.ctsm import Memory, Output, Tables, initialise, leaning, word_loss_scale
from ctsm_lib.model.generation import (
    DecoderCache,
    DiversityLoss,
    ResponseDecoder,
    Taught,
    previous_words,
)
from ctsm_lib.model.guidance import label_loss
from ctsm_lib.model.layers import Encoder, TokenEmbedding
from ctsm_lib.parallel import world

LABELS = 32
D = TypeVar("D", bound=ResponseDecoder)


def without_gaps(ids_BL: Tensor) -> tuple[Tensor, Tensor]:
    """The given ids of each row one behind the other, and the place that each had; [B, M], PAD behind the last.

    Args:
        ids_BL: PAD where nothing is given, e.g. where a token has no concept.
    """
    given = ids_BL != PAD
    width = int(given.sum(dim=1).amax()) if len(given) else 0
    place = (~given).int().argsort(dim=1, stable=True)[:, :width]
    return ids_BL.gather(1, place), place


class Baseline(nn.Module):
    """The common part. A subclass makes its own parts, then `self.decoder`, then calls `initialise(self)`.

    Attributes:
        predicts_emotion, predicts_words: whether its emotion logits, and its words, mean anything.
        smoothing: whether the loss of the words is label-smoothed.
        diverse: whether the diversity loss is added.
        reads: which optional data it reads: "knowledge", "concepts".
    """

    predicts_emotion = True
    predicts_words = True
    smoothing = True
    diverse = False
    reads: frozenset[str] = frozenset()
    log_unigram: Tensor
    intensity: Tensor
    concepts: Tensor
    decoder: ResponseDecoder

    def __init__(self, config: Config, tables: Tables):
        super().__init__()
        self.config = config
        size = len(tables.vectors)
        concepts = tables.concepts if tables.concepts is not None else torch.full((size,), PAD)
        self.register_buffer("log_unigram", tables.log_unigram.clone())
        self.register_buffer("intensity", tables.intensity.clone())
        self.register_buffer("concepts", concepts.clone())
        self.embed = TokenEmbedding(
            tables.vectors, config.embedding_scale, config.dropout, config.train_vectors, PAD
        )
        self.encoder = Encoder(
            config.dim,
            config.encoder_layers,
            config.heads,
            config.key_depth,
            config.ffn_dim,
            config.ffn,
            config.dropout,
        )
        if self.diverse:
            self.diversity = DiversityLoss(size)

    def small_encoder(self, width: int) -> Encoder:
        """One of the encoders beside the context's."""
        config = self.config
        depths = (config.small_heads, config.small_key_depth, config.small_ffn_dim)
        return Encoder(width, 1, *depths, config.ffn, config.dropout)

    def make_decoder(self, kind: type[D] = ResponseDecoder, memory_dim: int | None = None) -> D:  # type: ignore[assignment]
        """A decoder of the configured backbone that attends to states of `memory_dim` (default: D)."""
        config = self.config
        bias = self.log_unigram if config.output_bias == "unigram" else None
        decoder = kind(
            config.dim, memory_dim or config.dim, config.decoder_layers, config.heads, config.key_depth,
            config.ffn_dim, config.ffn, config.dropout, len(self.log_unigram), config.tie_output, bias,
            leaning(config),
        )  # fmt: skip
        decoder.smooth = self.smoothing and config.label_smoothing > 0
        return decoder

    # ------------------------------------------------------------------------------------------ what a subclass says

    def ids(self, batch: Batch) -> dict[str, Tensor]:
        """Ids to look up, by name, [B, ...]; a subclass may add to them. All look-ups of a batch are made at once."""
        ids = {"context": batch.context, "speaker": batch.speaker}
        if batch.target is not None:
            ids |= {"previous": previous_words(batch.target), "target": batch.target}
        return ids

    def read(self, batch: Batch, words: dict[str, Tensor]) -> Memory:
        """What the model makes of a context.

        Args:
            words: looked-up and scaled word vectors of `ids`, [B, ..., D].

        Returns:
            `losses` hold what it adds to the loss; they are asked for in training only, and nothing else of the result
            may depend on label or target then. `extra` reaches the decoder.
        """
        raise NotImplementedError

    def taught_losses(self, memory: Memory, taught: Taught) -> dict[str, Tensor]:
        """What it adds to the loss in training once the answer was taught, [B] by name; here nothing."""
        return {}

    # --------------------------------------------------------------------------------------------- the same for all

    def encode_context(self, batch: Batch, words: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """H = Encoder(E) [B, L, D], and the mask [B, L]."""
        mask = batch.context != PAD
        return self.encoder(self.embed(words["context"], words["speaker"]), mask), mask

    def encode(self, batch: Batch) -> Memory:
        """Read contexts for answering."""
        return self.read(batch, self.embed.look_up(self.ids(batch)))

    def start(self, memory: Memory) -> DecoderCache:
        """A decoder cache for contexts that were read."""
        cache = self.decoder.start(memory.states, memory.mask, memory.context, memory.extra)
        cache.log_unigram = self.log_unigram
        return cache

    def step(self, cache: DecoderCache, token_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of the next word [B, V], alpha [B], copy weights [B, L]."""
        return self.decoder.step(self.embed, cache, token_B)

    def forward(self, batch: Batch) -> Output:
        """Losses and predictions for pairs with targets, as CTSM gives them."""
        assert batch.target is not None and batch.label is not None
        config, words = self.config, self.embed.look_up(self.ids(batch))
        memory = self.read(batch, words)
        taught = self.decoder.teach(self.embed, words["previous"], self.start(memory), batch.target)
        nll, logits = -taught.log_prob, memory.emotion_logits
        losses = {"generation": nll.sum() / batch.total_tokens}
        generation = losses["generation"]
        if self.training and self.decoder.smooth:
            spread = -taught.spread.sum() / batch.total_tokens
            generation = (1 - config.label_smoothing) * generation + config.label_smoothing * spread
        total = config.weight_generation * generation
        if self.training and self.diverse:
            self.diversity.update(taught)
            losses["diversity"] = (
                self.diversity.weights(taught.target) * nll
            ).sum() / batch.total_tokens
            total = total + config.weight_diversity * losses["diversity"]
        total = word_loss_scale(config, batch) * total
        if self.predicts_emotion:
            losses["emotion"] = label_loss(logits, batch.label).sum() / batch.total_pairs
            total = total + config.weight_emotion * losses["emotion"]
        # Averaging gradients over processes divides shares of the batch by the number of processes; undo it.
        own = memory.losses | (self.taught_losses(memory, taught) if self.training else {})
        shares = {
            name: value.sum() / batch.total_pairs for name, value in own.items() if value.dim()
        }
        whole = {name: value for name, value in own.items() if not value.dim()}
        total = (total + sum(shares.values())) * world() + sum(whole.values())
        losses |= shares | whole | {"total": total}
        return Output(losses, logits, None, nll.detach(), taught.row, taught.prediction)


__all__ = ["LABELS", "Baseline", "initialise", "without_gaps"]
