"""The whole model. Paper: Figure 2 and Eq. (25).

Training runs everything; answering and scoring run the student's path only, so that no label can leak.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD, SPECIALS, UNK
from ctsm_lib.model.bag import PAIRS, BagExpert
from ctsm_lib.model.context import FUSIONS, KnowledgeEncoder
from ctsm_lib.model.contrast import cross_contrastive_loss
from ctsm_lib.model.emotion import EmotionEncoding
from ctsm_lib.model.generation import DecoderCache, DiversityLoss, ResponseDecoder, previous_words
from ctsm_lib.model.guidance import EmotionPredictor, label_loss, mean_of_experts, soft_label_loss
from ctsm_lib.model.layers import Encoder, TokenEmbedding, masked_mean
from ctsm_lib.model.pointer import Leaning, PointerGenerator
from ctsm_lib.parallel import gather_rows, world


@dataclass
class Tables:
    """What is known of every word of the vocabulary, [V, ...] float32, and the ids of the 32 label words."""

    vectors: Tensor  # V D
    vad: Tensor  # V 3
    idf: Tensor  # V
    intensity: Tensor  # V
    labels: Tensor  # 32
    log_unigram: Tensor  # V
    bag: Tensor | None = (
        None  # F: weights of `model.bag`'s features, where the configuration wants a bag
    )
    concepts: Tensor | None = (
        None  # V: an emotion concept of each word, PAD where there is none; baselines read it
    )

    @classmethod
    def empty(cls, size: int, dim: int) -> Tables:
        """Tables of the right shape, for a model whose weights come from a checkpoint."""
        flat = torch.zeros(size)
        labels = torch.zeros(32, dtype=torch.int64)
        bag = torch.zeros(2 * size + PAIRS)
        return cls(
            torch.zeros(size, dim),
            torch.zeros(size, 3),
            flat,
            flat.clone(),
            labels,
            flat.clone(),
            bag,
        )


@dataclass
class Memory:
    """What the decoder and the explorers need of a context.

    Attributes:
        states: [B, L, D] decoder memory.
        mask, context: [B, L].
        emotion_logits: [B, 32], the student's (with `bag_expert` both experts' mean); zeros where a baseline predicts no
            emotion.
        pooling: [B, L] the student's attention pooling S; None where a baseline pools otherwise.
        extra: what else a baseline's decoder reads, by name, [B, ...]; with `bag_expert` each expert's logits.
        losses: what a baseline adds to its loss in training, by name: [B], or a scalar of the whole batch.
    """

    states: Tensor
    mask: Tensor
    context: Tensor
    emotion_logits: Tensor
    pooling: Tensor | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)
    losses: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Output:
    """What a pass over a batch gives.

    Attributes:
        losses: by name; shares of the whole batch over all processes, so that they add up. "contrast" is of the whole
            batch already. "total" is Eq. (25), scaled so that averaging gradients over processes is exact.
        emotion_logits: as in `Memory`.
        teacher_logits: [B, 32] in training, else None.
        token_nll, token_row, token_prediction: [N] real target tokens.
    """

    losses: dict[str, Tensor]
    emotion_logits: Tensor
    teacher_logits: Tensor | None
    token_nll: Tensor
    token_row: Tensor
    token_prediction: Tensor


def word_loss_scale(config: Config, batch: Batch) -> float:
    """1; with `peer_losses` the number of target tokens, which turns the mean over them back into the peers' sum."""
    return float(batch.total_tokens) if config.peer_losses else 1.0


def leaning(config: Config) -> Leaning:
    """How the configuration wants answers to lean."""
    return Leaning(config.copy_bias, config.copy_once, config.tilt, config.repeat_bias)


def initialise(model: nn.Module) -> None:
    """Xavier for every matrix but the word table, as the peers begin, too."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and not name.startswith("embed.") and name != "knowledge.absent":
            nn.init.xavier_uniform_(parameter)
    pointer = getattr(model.decoder, "pointer", None)
    if isinstance(pointer, PointerGenerator) and pointer.tied:
        # GloVe rows are long: full-sized weights would begin with a perplexity of millions.
        pointer.output.weight.data *= 0.1


class CTSM(nn.Module):
    """Combining Trait and State emotions for eMpathetic responses."""

    predicts_emotion = True
    predicts_words = True
    reads: frozenset[str] = frozenset(
        {"knowledge"}
    )  # which optional data it reads; baselines differ

    vad: Tensor
    idf: Tensor
    intensity: Tensor
    labels: Tensor
    log_unigram: Tensor  # answers may lean away from common words, and decoding may penalise them

    def __init__(self, config: Config, tables: Tables):
        super().__init__()
        self.config = config
        dim = config.dim

        def small(width: int) -> Encoder:
            depths = (config.small_heads, config.small_key_depth, config.small_ffn_dim)
            return Encoder(width, 1, *depths, config.ffn, config.dropout)

        for name in ("vad", "idf", "intensity", "labels", "log_unigram"):
            self.register_buffer(name, getattr(tables, name).clone())
        self.embed = TokenEmbedding(
            tables.vectors, config.embedding_scale, config.dropout, config.train_vectors, PAD
        )
        backbone = (config.heads, config.key_depth, config.ffn_dim, config.ffn, config.dropout)
        self.encoder = Encoder(dim, config.encoder_layers, *backbone)
        self.knowledge = KnowledgeEncoder(dim, small)
        fusion = FUSIONS[config.fusion]
        self.student_fusion = fusion(dim, small)
        self.emotion = EmotionEncoding(
            dim, config.compressed_dim, config.trait, config.state, small
        )
        width = dim + self.emotion.width  # 357
        self.student = EmotionPredictor(width, config.guidance, config.head_dropout)
        if config.guidance:
            self.teacher_fusion = fusion(dim, small)
            self.teacher = EmotionPredictor(width, dropout=config.head_dropout)
        if config.contrast:
            self.target_encoder = small(dim)
            self.emotion_view = nn.Linear(self.emotion.width, dim) if self.emotion.width else None
        memory_dim = dim + (self.emotion.width if config.memory == "emotion" else 0)
        bias = tables.log_unigram if config.output_bias == "unigram" else None
        size = len(tables.vectors)
        output = (size, config.tie_output, bias, leaning(config))
        self.decoder = ResponseDecoder(dim, memory_dim, config.decoder_layers, *backbone, *output)
        self.diversity = DiversityLoss(size)
        initialise(self)
        self.bag = None
        if config.bag_expert:
            assert tables.bag is not None
            self.bag = BagExpert(tables.bag)  # begins at zero

    def read(self, batch: Batch) -> dict[str, Tensor]:
        """Everything that the context gives, by the paper's names; [B, L, ...].

        Returns:
            mask, intensity, E_C, H_C, K (knowledge, [B, 5, D]), H_stu, V_ts ([V_t ; V_s]) and H_ts ([H_t ; H_s]).
        """
        mask, seen = batch.context != PAD, self._seen(batch.context)
        ids = {
            "context": seen,
            "speaker": batch.speaker,
            "knowledge": batch.knowledge,
            "labels": self.labels,
        }
        if batch.target is not None:
            ids |= {"previous": previous_words(batch.target), "target": batch.target}
        words = self.embed.look_up(ids)
        embedded = self.embed(words["context"], words["speaker"])  # E_C
        context = self.encoder(embedded, mask)  # H_C, Eq. (1)
        knowledge = self.knowledge(batch.knowledge, self.embed(words["knowledge"]))
        labels = words[
            "labels"
        ]  # on the same scale as the tokens: both sides of the cosine see a word alike
        vad, idf = self.vad[seen], self.idf[seen].unsqueeze(-1)
        embeddings, encoded = self.emotion(context, embedded, labels, vad, idf, mask)
        enriched = self.student_fusion(context, knowledge, mask)
        return {
            "mask": mask, "intensity": self.intensity[seen], "E_C": embedded, "H_C": context, "K": knowledge,
            "H_stu": enriched, "V_ts": embeddings, "H_ts": encoded,
            **{name: words[name] for name in ("previous", "target") if name in words},
        }  # fmt: skip

    def _seen(self, context: Tensor) -> Tensor:
        """The context, in training with some words hidden; copying and the bag see all of them."""
        if not (self.training and self.config.word_dropout):
            return context
        hidden = torch.rand(context.shape, device=context.device) < self.config.word_dropout
        return context.masked_fill(hidden & (context >= len(SPECIALS)), UNK)

    def encode(self, batch: Batch) -> Memory:
        """Read contexts for answering: the student's path."""
        return self._memory(batch, self.read(batch))

    def _memory(self, batch: Batch, read: dict[str, Tensor]) -> Memory:
        student = torch.cat(
            [read["H_stu"], read["H_ts"].to(read["H_stu"].dtype)], dim=-1
        )  # Eq. (16)
        logits, pooling = self.student(student, read["intensity"], read["mask"])
        states = student if self.config.memory == "emotion" else read["H_stu"]
        memory = Memory(states, read["mask"], batch.context, logits, pooling)
        if (
            self.bag is not None
        ):  # each expert learns alone: together, the quicker one would leave the other nothing
            memory.extra = {"student": logits, "bag": self.bag(batch.context, batch.speaker)}
            memory.emotion_logits = mean_of_experts(logits, memory.extra["bag"])
        return memory

    def start(self, memory: Memory) -> DecoderCache:
        """A decoder cache for contexts that were read."""
        cache = self.decoder.start(memory.states, memory.mask, memory.context)
        cache.log_unigram = self.log_unigram
        return cache

    def step(self, cache: DecoderCache, token_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of the next word [B, V], alpha [B], copy weights [B, L]."""
        return self.decoder.step(self.embed, cache, token_B)

    def forward(self, batch: Batch) -> Output:
        """Losses and predictions for pairs with targets; in evaluation mode without teacher and contrast.

        Paper: Eq. (25).
        """
        assert batch.target is not None and batch.label is not None
        read = self.read(batch)
        memory = self._memory(batch, read)
        taught = self.decoder.teach(self.embed, read["previous"], self.start(memory), batch.target)
        config, nll = self.config, -taught.log_prob
        losses = {"generation": nll.sum() / batch.total_tokens}
        student, teacher = memory.extra.get("student", memory.emotion_logits), None
        hard = label_loss(student, batch.label).sum() / batch.total_pairs
        losses["student_label"] = hard
        words_scale = word_loss_scale(config, batch)
        total = config.weight_generation * words_scale * losses["generation"]
        if self.training:
            if config.guidance:
                enriched = self.teacher_fusion(read["H_C"], read["K"], read["mask"])
                seen = torch.cat([enriched, read["V_ts"].to(enriched.dtype)], dim=-1)  # Eq. (10)
                teacher, _ = self.teacher(seen, read["intensity"], read["mask"])
                losses["teacher"] = label_loss(teacher, batch.label).sum() / batch.total_pairs
                losses["student"] = soft_label_loss(student, teacher).sum() / batch.total_pairs
                emotion = (
                    losses["teacher"] + losses["student"] + config.student_label_weight * hard
                )  # Eq. (19)
            else:
                emotion = hard
            if "bag" in memory.extra:
                losses["bag"] = (
                    label_loss(memory.extra["bag"], batch.label).sum() / batch.total_pairs
                )
                emotion = emotion + losses["bag"]
            total = total + config.weight_emotion * emotion
            self.diversity.update(taught)
            losses["diversity"] = (
                self.diversity.weights(taught.target) * nll
            ).sum() / batch.total_tokens
            total = total + config.weight_diversity * words_scale * losses["diversity"]
            # Averaging gradients over processes divides these sums by the number of processes; undo it.
            total = total * world()
            if config.contrast:
                views = self._views(read, taught.states, taught.mask)
                losses["contrast"] = cross_contrastive_loss(
                    gather_rows(views, batch.total_pairs),
                    config.temperature,
                    config.contrast_negatives,
                )
                total = total + config.weight_contrast * losses["contrast"]
        losses["total"] = total
        return Output(
            losses, memory.emotion_logits, teacher, nll.detach(), taught.row, taught.prediction
        )

    def _views(self, read: dict[str, Tensor], states: Tensor, mask: Tensor) -> Tensor:
        """H_Y, H_ts, H^stu and P_w, each averaged over its time, [B, 4, D]. Paper: Eq. (22)."""
        target = masked_mean(self.target_encoder(self.embed(read["target"]), mask), mask)
        context = masked_mean(read["H_stu"], read["mask"])
        # A mean of linear maps is the linear map of the mean, and the mean is shorter.
        mean = masked_mean(read["H_ts"], read["mask"])
        emotion = self.emotion_view(mean) if self.emotion_view is not None else context
        return torch.stack(
            [view.float() for view in (target, emotion, context, masked_mean(states, mask))], dim=1
        )
