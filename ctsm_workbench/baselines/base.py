"""The parts that all baselines share: word table, context encoder, decoder with pointer, losses.

Everything that no baseline changes, from batches to scores, is the same for them and for CTSM.
Departure: the released code of the baselines sums the loss of the words over a batch, EmpDG's and
KEMP's that of the emotion as well; here it is a mean. `peer_losses` restores the sum of the words.
Departure: labels are smoothed in the generated part of the mixture; the releases smooth all of it.
Departure: a copy weight is the mean of the heads' softmax; the releases take the softmax of a mean.

Shapes: B batch, L context length, T target length, N target tokens, D width, V vocabulary.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import EMOTIONS, PAD
from ctsm_lib.diversity import DiversityLoss
from ctsm_lib.interface import Output, Tables, initialise
from ctsm_lib.kernels import TargetLogProbability
from ctsm_lib.model.ctsm import mean_label_loss
from ctsm_lib.model.generation import Taught, previous_words
from ctsm_lib.model.layers import Encoder, TokenEmbedding
from ctsm_lib.model.pointer import Mixture, Scores, mixture_at
from ctsm_lib.parallel import world
from ctsm_workbench.beyond import extras
from ctsm_workbench.beyond.extras import BiasedCache, BiasedPointer


@dataclass
class BaselineMemory(extras.ExpertsMemory):
    """An encoded context, and what a baseline adds to it."""

    losses: dict[str, Tensor] = field(default_factory=dict)  # in training: B, or of the whole batch
    first: Tensor | None = None  # B D, read by the decoder in place of SOS


class Baseline(extras.Extras):
    """A Transformer with the emotion `l = W h_CLS + b`, of which every baseline changes parts."""

    predicts_emotion = True
    predicts_words = True
    diverse = False  # whether there is a diversity loss, in place of label smoothing
    uses: frozenset[str] = frozenset()
    Decoder: type[extras.BiasedDecoder] = extras.BiasedDecoder

    def __init__(self, config: Config, tables: Tables):
        super().__init__()
        self.config = config
        none = torch.full((len(tables.vectors),), PAD)
        self.log_unigram = nn.Buffer(tables.log_unigram.clone())
        self.intensity = nn.Buffer(tables.intensity.clone())
        self.concepts = nn.Buffer(tables.more.get("concepts", none).clone())
        # The order of construction is a part of the contract: modules draw random numbers in turn.
        self.embed = TokenEmbedding(tables.vectors, config)
        self.encoder = Encoder(config.dim, config.encoder_layers, config.layer)
        if self.diverse:
            self.diversity = DiversityLoss(len(tables.vectors))
        self.make_parts(config.dim)
        if hasattr(self, "classify"):
            self.drop_before(self.classify)
        self.decoder = self.make_decoder()
        initialise(self)
        self.add_extras(tables)

    def small_encoder(self, width: int) -> Encoder:
        """An encoder besides that of the context."""
        return Encoder(width, 1, self.config.small_layer)

    def make_decoder(self) -> Any:
        """A decoder of the configured backbone."""
        config = self.config
        smoothing = config.label_smoothing > 0 and not self.diverse
        pointer = SmoothingPointer if smoothing else BiasedPointer
        return self.Decoder(
            config.dim, config.decoder_layers, config.layer, memory_dim=config.dim,
            make_pointer=lambda: pointer(config, self.log_unigram),
        )  # fmt: skip

    # The parts that a subclass changes.

    def make_parts(self, dim: int) -> None:
        """Make everything besides embedding, context encoder and decoder."""
        self.classify = nn.Linear(dim, len(EMOTIONS))

    def ids(self, batch: Batch) -> dict[str, Tensor]:
        """Ids to look up, [B, ...] by name. All look-ups of a batch are one call."""
        ids = {"context": batch.context, "speaker": batch.speaker}
        if batch.target is not None:
            ids |= {"previous": previous_words(batch.target), "target": batch.target}
        return ids | ({"knowledge": batch.knowledge} if "knowledge" in self.uses else {})

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> BaselineMemory:
        """Encode contexts, given the looked-up and scaled word vectors [B, ..., D] of `ids`.

        Only the result's losses may depend on label and target, and only in training, besides what
        a paper trains with the gold emotion.
        """
        states, mask = self.encode_context(batch, words)
        logits = self.classify(states[:, 0]).float()
        return BaselineMemory(states, mask, batch.context, emotion_logits=logits)

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
        return self._read(batch)[0]

    def _read(self, batch: Batch) -> tuple[BaselineMemory, dict[str, Tensor]]:
        """The memory of contexts, and the looked-up words. In training some words are hidden."""
        seen = self.hide_words(batch)
        words = self.embed.look_up(self.ids(seen))
        memory = self.understand(seen, words)
        if seen is not batch:  # the answer may copy hidden words, too
            own = memory.context[:, batch.context.shape[1] :]
            memory.context = torch.cat([batch.context, own], dim=1)
        if self.predicts_emotion:
            self.ask_bag(memory, batch)
        return memory, words

    def start(self, memory: Any) -> BiasedCache:
        """A decoder cache for encoded contexts."""
        cache = self.decoder.start(memory.states, memory.mask, memory.context)
        cache.first = memory.first
        return cache

    def step(self, cache: BiasedCache, token_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read one more word: log P of the next [B, V], alpha [B], copy weights [B, L]."""
        vectors = self.embed.look_up({"token": token_B.unsqueeze(1)})["token"]
        return self.decoder.step(self.embed, _begun(vectors, cache), cache, token_B)

    def teach(self, memory: Any, previous_BTD: Tensor, target_BT: Tensor) -> Taught:
        """Score targets under teacher forcing, given the word vectors of the shifted targets."""
        cache = self.start(memory)
        return self.decoder.teach(self.embed, _begun(previous_BTD, cache), cache, target_BT)

    def forward(self, batch: Batch) -> Output:
        """Losses and predictions for pairs with targets, as CTSM gives them."""
        assert batch.target is not None
        config = self.config
        memory, words = self._read(batch)
        taught = self.teach(memory, words["previous"], batch.target)
        nll = -taught.scores.log_prob
        losses = {"generation": nll.sum() / batch.total_tokens}
        total = losses["generation"]
        if self.training and isinstance(taught.scores, SmoothedScores):
            spread = -taught.scores.spread.sum() / batch.total_tokens
            total = (1 - config.label_smoothing) * total + config.label_smoothing * spread
        total = config.weight_generation * total
        if self.training and self.diverse:
            self.diversity.update(taught)
            diversity = self.diversity.weights(taught.target) * nll
            losses["diversity"] = diversity.sum() / batch.total_tokens
            total = total + config.weight_diversity * losses["diversity"]
        if config.peer_losses:
            total = total * float(batch.total_tokens)
        if self.predicts_emotion:
            logits = memory.emotion_logits if memory.own_logits is None else memory.own_logits
            losses["emotion"] = mean_label_loss(logits, batch)
            total = total + config.weight_emotion * losses["emotion"]
            if memory.bag_logits is not None:
                losses["bag"] = mean_label_loss(memory.bag_logits, batch)
                total = total + config.weight_emotion * losses["bag"]
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


def _begun(words_BTD: Tensor, cache: BiasedCache) -> Tensor:
    """The decoder's inputs: an answer may begin with a vector of its context in place of SOS."""
    if cache.first is None or cache.length:
        return words_BTD
    first = cache.first.unsqueeze(1).to(words_BTD.dtype)
    return torch.cat([first, words_BTD[:, 1:]], dim=1)


def beside(states_BLD: Tensor, vector_BE: Tensor) -> Tensor:
    """Every token's state with the same vector beside it, [B, L, D + E]."""
    vectors = vector_BE.unsqueeze(1).expand(-1, states_BLD.shape[1], -1)
    return torch.cat([states_BLD, vectors.to(states_BLD.dtype)], dim=-1)


class SmoothedLogProbability(TargetLogProbability):
    """As `TargetLogProbability`, and the mean of the log softmax over the vocabulary."""

    @staticmethod
    def forward(ctx, logits_NV, target_N):  # type: ignore[no-untyped-def,override]
        chosen, log_sum, word = TargetLogProbability.forward(ctx, logits_NV, target_N)
        return chosen, logits_NV.mean(dim=-1) - log_sum, log_sum, word

    @staticmethod
    def backward(ctx, grad_N, mean_grad_N, *_):  # type: ignore[no-untyped-def,override]
        softmax_NV, target_N = ctx.saved_tensors
        share = (mean_grad_N / softmax_NV.shape[1]).unsqueeze(1)
        grad = torch.addcmul(share, softmax_NV, -(grad_N + mean_grad_N).unsqueeze(1))
        return grad.scatter_add_(1, target_N.unsqueeze(1), grad_N.unsqueeze(1)), None


@dataclass
class SmoothedScores(Scores):
    """Scores of N target tokens, with the term that label smoothing adds."""

    spread: Tensor  # N, mean over the vocabulary of the generated part's log-probability


class SmoothingPointer(BiasedPointer):
    """A pointer generator for label smoothing, which several papers have: scores with a spread."""

    def score(self, parts: Mixture, target_N: Tensor) -> SmoothedScores:
        log_prob, mean, log_sum, word = SmoothedLogProbability.apply(parts.logits, target_N)
        log_alpha = F.logsigmoid(parts.gate).squeeze(1)
        generated = log_prob + log_alpha
        scores = mixture_at(parts, target_N, generated=generated, log_sum=log_sum, word=word)
        return SmoothedScores(**vars(scores), spread=mean + log_alpha)
