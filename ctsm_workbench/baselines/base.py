"""The parts that all baselines share: word table, context encoder, decoder with pointer, losses.

A baseline defines how it understands a context (`understand`), how its decoder differs, and which
losses it adds. Everything else, from batches to scores, is the same for all of them and for CTSM.
Departure: the released code of the baselines sums the loss of the words over a batch; here it is a
mean. The setting `peer_losses` restores the sum.

Shapes: B batch, L context length, T target length, D width, V vocabulary, K = 32 emotions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import EMOTIONS, PAD
from ctsm_lib.diversity import DiversityLoss
from ctsm_lib.interface import Memory, Output, Tables, initialise
from ctsm_lib.model.ctsm import mean_label_loss
from ctsm_lib.model.generation import DecoderCache, Taught, previous_words
from ctsm_lib.model.layers import Encoder, TokenEmbedding
from ctsm_lib.parallel import world
from ctsm_workbench.baselines.smoothing import SmoothedScores, SmoothingPointer
from ctsm_workbench.beyond.biased import BiasedCache, BiasedDecoder, BiasedPointer


@dataclass
class BaselineMemory(Memory):
    """An encoded context, with what a baseline adds.

    `losses` are added in training, by name: [B], or a scalar of the whole batch.
    """

    losses: dict[str, Tensor] = field(default_factory=dict)
    first: Tensor | None = None  # B D, read by the decoder in place of SOS


@dataclass
class BaselineCache(BiasedCache):
    """A cache with the first input of an answer, where it is not SOS."""

    first: Tensor | None = None  # B D


class BaselineDecoder(BiasedDecoder):
    """A decoder that may begin an answer with a vector in place of SOS."""

    def start(self, memory_BLD: Tensor, mask_BL: Tensor, context_BL: Tensor) -> BaselineCache:
        """A cache for contexts."""
        return BaselineCache(**vars(super().start(memory_BLD, mask_BL, context_BL)))

    def teach(
        self, embed: TokenEmbedding, previous: Tensor, cache: DecoderCache, target_BT: Tensor
    ) -> Taught:
        """As `ResponseDecoder.teach`."""
        return super().teach(embed, _with_first(previous, cache), cache, target_BT)

    def step(
        self, embed: TokenEmbedding, vectors: Tensor, cache: DecoderCache, token_B: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `ResponseDecoder.step`."""
        return super().step(embed, _with_first(vectors, cache), cache, token_B)


def _with_first(words_BTD: Tensor, cache: DecoderCache) -> Tensor:
    first = getattr(cache, "first", None)
    if cache.length or first is None:
        return words_BTD
    return torch.cat([first.unsqueeze(1).to(words_BTD.dtype), words_BTD[:, 1:]], dim=1)


class Baseline(nn.Module):
    """The common part. A subclass makes its own parts, then `self.decoder`, then initialises.

    Attributes:
        smoothing: whether the loss of the words is label-smoothed.
        diverse: whether the diversity loss is added.
    """

    predicts_emotion = True
    predicts_words = True
    smoothing = True
    diverse = False
    uses: frozenset[str] = frozenset()
    log_unigram: Tensor
    intensity: Tensor
    concepts: Tensor
    decoder: BaselineDecoder

    def __init__(self, config: Config, tables: Tables):
        super().__init__()
        self.config = config
        size = len(tables.vectors)
        none = torch.full((size,), PAD)
        self.register_buffer("log_unigram", tables.log_unigram.clone())
        self.register_buffer("intensity", tables.intensity.clone())
        self.register_buffer("concepts", tables.more.get("concepts", none).clone())
        self.embed = TokenEmbedding(tables.vectors, config)
        self.encoder = Encoder(config.dim, config.encoder_layers, config.layer)
        if self.diverse:
            self.diversity = DiversityLoss(size)

    def small_encoder(self, width: int) -> Encoder:
        """An encoder beside the context's."""
        return Encoder(width, 1, self.config.small_layer)

    def make_decoder(self, kind: type = BaselineDecoder) -> Any:
        """A decoder of the configured backbone."""
        config = self.config
        smoothing = self.smoothing and config.label_smoothing > 0
        pointer = SmoothingPointer if smoothing else BiasedPointer
        return kind(
            config.dim, config.decoder_layers, config.layer, memory_dim=config.dim,
            make_pointer=lambda: pointer(config, self.log_unigram),
        )  # fmt: skip

    # What a subclass defines.

    def ids(self, batch: Batch) -> dict[str, Tensor]:
        """Ids to look up, by name, [B, ...]. All look-ups of a batch are made at once."""
        ids = {"context": batch.context, "speaker": batch.speaker}
        if batch.target is not None:
            ids |= {"previous": previous_words(batch.target), "target": batch.target}
        return ids

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> BaselineMemory:
        """Encode contexts.

        In training the result's losses may depend on label and target; nothing else may, but for
        what a paper teaches with the label.

        Args:
            words: looked-up and scaled word vectors of `ids`, [B, ..., D].
        """
        raise NotImplementedError

    def taught_losses(self, memory: Any, taught: Taught) -> dict[str, Tensor]:
        """Losses in training that need the taught answer, [B] by name."""
        return {}

    # The same for all.

    def encode_context(self, batch: Batch, words: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """H = Encoder(E) [B, L, D], and the mask [B, L]."""
        mask = batch.context != PAD
        return self.encoder(self.embed(words["context"], words["speaker"]), mask), mask

    def encode(self, batch: Batch) -> BaselineMemory:
        """Encode contexts for answering."""
        return self.understand(batch, self.embed.look_up(self.ids(batch)))

    def start(self, memory: Any) -> BaselineCache:
        """A decoder cache for encoded contexts."""
        cache = self.decoder.start(memory.states, memory.mask, memory.context)
        cache.first = memory.first
        return cache

    def step(self, cache: DecoderCache, token_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read one more word: log P of the next [B, V], alpha [B], copy weights [B, L]."""
        vectors = self.embed.look_up({"token": token_B.unsqueeze(1)})["token"]
        return self.decoder.step(self.embed, vectors, cache, token_B)

    def forward(self, batch: Batch) -> Output:
        """Losses and predictions for pairs with targets, as CTSM gives them."""
        assert batch.target is not None
        config = self.config
        words = self.embed.look_up(self.ids(batch))
        memory = self.understand(batch, words)
        taught = self.decoder.teach(self.embed, words["previous"], self.start(memory), batch.target)
        nll = -taught.scores.log_prob
        losses = {"generation": nll.sum() / batch.total_tokens}
        generation = losses["generation"]
        if self.training and isinstance(taught.scores, SmoothedScores):
            share = config.label_smoothing
            spread = -taught.scores.spread.sum() / batch.total_tokens
            generation = (1 - share) * generation + share * spread
        total = config.weight_generation * generation
        if self.training and self.diverse:
            self.diversity.update(taught)
            diversity = self.diversity.weights(taught.target) * nll
            losses["diversity"] = diversity.sum() / batch.total_tokens
            total = total + config.weight_diversity * losses["diversity"]
        total = (float(batch.total_tokens) if config.peer_losses else 1.0) * total
        if self.predicts_emotion:
            losses["emotion"] = mean_label_loss(memory.emotion_logits, batch)
            total = total + config.weight_emotion * losses["emotion"]
        # Averaging gradients over processes divides shares of the batch by their number: undo it.
        own = memory.losses | (self.taught_losses(memory, taught) if self.training else {})
        shares = {
            name: value.sum() / batch.total_pairs for name, value in own.items() if value.dim()
        }
        whole = {name: value for name, value in own.items() if not value.dim()}
        total = (total + sum(shares.values())) * world() + sum(whole.values())
        return Output(
            losses=losses | shares | whole | {"total": total}, emotion_logits=memory.emotion_logits,
            teacher_logits=None, token_nll=nll.detach(), token_row=taught.row,
            token_prediction=taught.scores.prediction,
        )  # fmt: skip


def without_gaps(ids_BL: Tensor) -> tuple[Tensor, Tensor]:
    """The given ids of each row one after another, and the place that each had; [B, M].

    Args:
        ids_BL: PAD where nothing is given, e.g. where a token has no concept. PAD also follows the
            last one in the result.
    """
    given = ids_BL != PAD
    width = int(given.sum(dim=1).amax()) if len(given) else 0
    place = (~given).int().argsort(dim=1, stable=True)[:, :width]
    return ids_BL.gather(1, place), place


LABELS = len(EMOTIONS)
__all__ = ["LABELS", "Baseline", "BaselineMemory", "initialise", "without_gaps"]
