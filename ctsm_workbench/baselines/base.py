"""The parts that all baselines share: word table, context encoder, decoder with pointer, losses.

A baseline defines how it understands a context (`understand`), how its decoder differs, and which
losses it adds. Everything else, from batches to scores, is the same for all of them and for CTSM.
Departure: the released code of the baselines sums the loss of the words over a batch; here it is a
mean. The setting `peer_losses` restores the sum.

Shapes: B batch, L context length, T target length, D width, V vocabulary, K = 32 emotions.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD
from ctsm_lib.diversity import DiversityLoss
from ctsm_lib.interface import Memory, Output, Tables, initialise
from ctsm_lib.model.ctsm import mean_label_loss
from ctsm_lib.model.generation import Taught, previous_words
from ctsm_lib.model.layers import Encoder, TokenEmbedding
from ctsm_lib.parallel import world
from ctsm_workbench.baselines.smoothing import SmoothedScores, SmoothingPointer
from ctsm_workbench.beyond.biased import BiasedCache, BiasedDecoder, BiasedPointer


@dataclass
class BaselineMemory(Memory):
    """An encoded context, and what a baseline adds to it."""

    losses: dict[str, Tensor] = field(default_factory=dict)  # in training: B, or of the whole batch
    first: Tensor | None = None  # B D, read by the decoder in place of SOS


@dataclass
class BaselineCache(BiasedCache):
    """A decoder cache with the first input of an answer."""

    first: Tensor | None = None  # B D, in place of SOS


class BaselineDecoder(BiasedDecoder):
    """A decoder that may begin an answer with a vector in place of SOS."""

    def teach(self, embed: Any, previous: Tensor, cache: Any, target_BT: Tensor) -> Taught:
        return super().teach(embed, self._begun(previous, cache), cache, target_BT)

    def step(self, embed: Any, vectors: Tensor, cache: Any, token_B: Tensor) -> Any:
        return super().step(embed, self._begun(vectors, cache), cache, token_B)

    def _begun(self, words_BTD: Tensor, cache: BaselineCache) -> Tensor:
        if cache.first is None or cache.length:
            return words_BTD
        first = cache.first.unsqueeze(1).to(words_BTD.dtype)
        return torch.cat([first, words_BTD[:, 1:]], dim=1)


class Baseline(nn.Module):
    """The common part of all baselines.

    Attributes:
        smoothing: whether the loss of the words is label-smoothed.
        diverse: whether the diversity loss is added.
    """

    predicts_emotion = True
    predicts_words = True
    smoothing = True
    diverse = False
    uses: frozenset[str] = frozenset()
    Decoder: type[BaselineDecoder] = BaselineDecoder
    log_unigram: Tensor
    intensity: Tensor
    concepts: Tensor

    def __init__(self, config: Config, tables: Tables):
        super().__init__()
        self.config = config
        none = torch.full((len(tables.vectors),), PAD)
        self.register_buffer("log_unigram", tables.log_unigram.clone())
        self.register_buffer("intensity", tables.intensity.clone())
        self.register_buffer("concepts", tables.more.get("concepts", none).clone())
        # The order of construction is a part of the contract: modules draw random numbers in turn.
        self.embed = TokenEmbedding(tables.vectors, config)
        self.encoder = Encoder(config.dim, config.encoder_layers, config.layer)
        if self.diverse:
            self.diversity = DiversityLoss(len(tables.vectors))
        self.make_parts(config.dim)
        self.decoder = self.make_decoder()
        initialise(self)

    def small_encoder(self, width: int) -> Encoder:
        """An encoder besides that of the context."""
        return Encoder(width, 1, self.config.small_layer)

    def make_decoder(self) -> Any:
        """A decoder of the configured backbone."""
        config = self.config
        smoothing = self.smoothing and config.label_smoothing > 0
        pointer = SmoothingPointer if smoothing else BiasedPointer
        return self.Decoder(
            config.dim, config.decoder_layers, config.layer, memory_dim=config.dim,
            make_pointer=lambda: pointer(config, self.log_unigram),
        )  # fmt: skip

    # The parts that a subclass defines.

    def make_parts(self, dim: int) -> None:
        """Make everything besides embedding, context encoder and decoder."""

    def ids(self, batch: Batch) -> dict[str, Tensor]:
        """Ids to look up, [B, ...] by name. All look-ups of a batch are one call."""
        ids = {"context": batch.context, "speaker": batch.speaker}
        if batch.target is not None:
            ids |= {"previous": previous_words(batch.target), "target": batch.target}
        return ids | ({"knowledge": batch.knowledge} if "knowledge" in self.uses else {})

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> BaselineMemory:
        """Encode contexts.

        Only the result's losses may depend on label and target, and only in training, besides what
        a paper trains with the gold emotion.

        Args:
            words: looked-up and scaled word vectors of `ids`, [B, ..., D].
        """
        raise NotImplementedError

    def taught_losses(self, memory: Any, taught: Taught) -> dict[str, Tensor]:
        """Losses in training that depend on the decoder, [B] by name."""
        return {}

    # The same for all baselines.

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
        return BaselineCache(**vars(cache), first=memory.first)

    def step(self, cache: BaselineCache, token_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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
        generation = nll.sum() / batch.total_tokens
        losses = {"generation": generation}
        if self.training and isinstance(taught.scores, SmoothedScores):
            spread = -taught.scores.spread.sum() / batch.total_tokens
            share = config.label_smoothing
            generation = (1 - share) * generation + share * spread
        total = config.weight_generation * generation
        if self.training and self.diverse:
            self.diversity.update(taught)
            diversity = self.diversity.weights(taught.target) * nll
            losses["diversity"] = diversity.sum() / batch.total_tokens
            total = total + config.weight_diversity * losses["diversity"]
        if config.peer_losses:
            total = total * float(batch.total_tokens)
        if self.predicts_emotion:
            losses["emotion"] = mean_label_loss(memory.emotion_logits, batch)
            total = total + config.weight_emotion * losses["emotion"]
        own = memory.losses | (self.taught_losses(memory, taught) if self.training else {})
        whole = {name: loss for name, loss in own.items() if loss.dim() == 0}
        shares = {name: own[name].sum() / batch.total_pairs for name in own if name not in whole}
        # Averaging gradients over processes divides shares of the batch by their number: undo it.
        total = (total + sum(shares.values())) * world() + sum(whole.values())
        return Output(
            losses=losses | shares | whole | {"total": total}, emotion_logits=memory.emotion_logits,
            teacher_logits=None, token_nll=nll.detach(), token_row=taught.row,
            token_prediction=taught.scores.prediction,
        )  # fmt: skip
