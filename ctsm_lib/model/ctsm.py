"""The whole model. Paper: Figure 2 and Eq. (25).

Training runs everything; answers and scores take the student's path alone, so no label can leak.
Shapes: B batch, L context length, D width, N target tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import PAD
from ctsm_lib.diversity import DiversityLoss
from ctsm_lib.interface import Memory, Output, Tables, initialise
from ctsm_lib.kernels import masked_mean
from ctsm_lib.model.context import KnowledgeEncoder, SeparateFusion
from ctsm_lib.model.contrast import cross_contrastive_loss
from ctsm_lib.model.emotion import EmotionEncoding, EmotionStates
from ctsm_lib.model.generation import DecoderCache, ResponseDecoder, Taught, previous_words
from ctsm_lib.model.guidance import EmotionPredictor, label_loss, soft_label_loss
from ctsm_lib.model.layers import Encoder, TokenEmbedding
from ctsm_lib.model.pointer import PointerGenerator
from ctsm_lib.parallel import gather_rows, world
from ctsm_lib.settings import ModelSettings


@dataclass
class Reading(EmotionStates):
    """The model's understanding of a batch of contexts, by the paper's names."""

    E_C: Tensor  # B L D, embedding
    H_C: Tensor  # B L D, encoded context
    K: Tensor  # B 5 D, commonsense
    H_stu: Tensor  # B L D, context enriched for the student
    V_stu: Tensor  # B L D+57, [H_stu ; H_ts]
    student_logits: Tensor  # B 32
    pooling: Tensor  # B L, the student's attention pooling S
    intensity: Tensor  # B L
    mask: Tensor  # B L
    words: dict[str, Tensor]  # B T D, looked-up "previous" and "target" of the answer, if any


class CTSM(nn.Module):
    """Combining Trait and State emotions for eMpathetic responses."""

    predicts_emotion = True
    predicts_words = True
    uses: frozenset[str] = frozenset({"knowledge"})
    Decoder: type[ResponseDecoder] = ResponseDecoder

    vad: Tensor
    idf: Tensor
    intensity: Tensor
    labels: Tensor
    log_unigram: Tensor

    def __init__(self, config: Config, tables: Tables):
        super().__init__()
        self.config = config
        dim = config.dim
        for name in ("vad", "idf", "intensity", "labels", "log_unigram"):
            self.register_buffer(name, getattr(tables, name).clone())

        # The order of construction is a part of the contract: modules draw random numbers in turn.
        self.embed = TokenEmbedding(tables.vectors, config)
        self.encoder = Encoder(dim, config.encoder_layers, config.layer)
        self.knowledge = KnowledgeEncoder(dim, self.small_encoder)
        self.student_fusion = self.make_fusion()
        self.emotion = EmotionEncoding(
            dim, self.small_encoder, config.compressed_dim, trait=config.trait, state=config.state
        )
        width = dim + self.emotion.width  # 357
        self.student = self.make_predictor(width, config.guidance)
        if config.guidance:
            self.teacher_fusion = self.make_fusion()
            self.teacher = self.make_predictor(width, True)
        if config.contrast:
            self.target_encoder = self.small_encoder(dim)
            self.emotion_view = nn.Linear(self.emotion.width, dim) if self.emotion.width else None
        memory_dim = width if config.memory == "emotion" else dim
        self.decoder = self.Decoder(
            dim, config.decoder_layers, config.layer,
            memory_dim=memory_dim, make_pointer=self.make_pointer,
        )  # fmt: skip
        self.diversity = DiversityLoss(len(tables.vectors))
        initialise(self)

    # Parts. A subclass may make others.

    def small_encoder(self, width: int) -> Encoder:
        """An encoder for commonsense, refinement, emotions or responses."""
        return Encoder(width, 1, self.config.small_layer)

    def make_fusion(self) -> nn.Module:
        """The fusion of context and commonsense; student and teacher have one each."""
        return SeparateFusion(self.config.dim, self.small_encoder)

    def make_predictor(self, width: int, intensity: bool) -> EmotionPredictor:
        """The classifier of emotions; student and teacher have one each."""
        return EmotionPredictor(width, intensity)

    def make_pointer(self) -> PointerGenerator:
        """The pointer generator."""
        size = len(self.log_unigram)
        bias = self.log_unigram if self.config.output_bias == "unigram" else None
        return PointerGenerator(self.config.dim, size, tied=self.config.tie_output, bias=bias)

    # The way of a batch through the model.

    def read(self, batch: Batch) -> Reading:
        """Understand contexts: everything on the student's path up to the predicted emotion."""
        mask = batch.context != PAD
        words = self._look_up(batch)
        E_C = self.embed(words.pop("context"), words.pop("speaker"))
        H_C = self.encoder(E_C, mask)  # Eq. (1)
        K = self.knowledge(batch.knowledge, self.embed(words.pop("knowledge")))
        emotion = self.emotion(  # Eq. (2) to (9)
            context=H_C, embedded=E_C, labels=words.pop("labels"), mask=mask,
            vad=self.vad[batch.context], idf=self.idf[batch.context].unsqueeze(-1),
        )  # fmt: skip
        H_stu = self.student_fusion(H_C, K, mask)
        intensity = self.intensity[batch.context]
        V_stu = torch.cat([H_stu, emotion.H_ts.to(H_stu.dtype)], dim=-1)  # Eq. (16)
        student_logits, pooling = self.student(V_stu, intensity, mask)  # Eq. (17)
        return Reading(
            **vars(emotion), E_C=E_C, H_C=H_C, K=K, H_stu=H_stu, V_stu=V_stu,
            student_logits=student_logits, pooling=pooling, intensity=intensity, mask=mask,
            words=words,
        )  # fmt: skip

    def _look_up(self, batch: Batch) -> dict[str, Tensor]:
        """Word vectors of everything that a batch needs, in one look-up."""
        ids = {"context": batch.context, "speaker": batch.speaker, "knowledge": batch.knowledge}
        ids["labels"] = self.labels  # scaled like tokens, since a cosine compares the two
        if batch.target is not None:
            ids |= {"previous": previous_words(batch.target), "target": batch.target}
        return self.embed.look_up(ids)

    def remember(self, batch: Batch, reading: Reading) -> Memory:
        """The part of a reading that the decoder needs."""
        states = reading.V_stu if self.config.memory == "emotion" else reading.H_stu
        return Memory(
            states=states, mask=reading.mask, context=batch.context,
            emotion_logits=reading.student_logits, pooling=reading.pooling,
        )  # fmt: skip

    def encode(self, batch: Batch) -> Memory:
        """Encode contexts for answering."""
        return self.remember(batch, self.read(batch))

    def start(self, memory: Memory) -> DecoderCache:
        """A decoder cache for encoded contexts."""
        return self.decoder.start(memory.states, memory.mask, memory.context)

    def step(self, cache: DecoderCache, token_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read one more word: log P of the next [B, V], alpha [B], copy weights [B, L]."""
        vectors = self.embed.look_up({"token": token_B.unsqueeze(1)})["token"]
        return self.decoder.step(self.embed, vectors, cache, token_B)

    def forward(self, batch: Batch) -> Output:
        """Losses and predictions for pairs with targets. Paper: Eq. (25).

        In evaluation mode there is neither teacher nor contrast, and the total is L_g alone.
        """
        assert batch.target is not None
        reading = self.read(batch)
        memory = self.remember(batch, reading)
        previous = reading.words["previous"]
        taught = self.decoder.teach(self.embed, previous, self.start(memory), batch.target)
        nll = -taught.scores.log_prob

        weights = self.loss_weights(batch)  # gamma_1 to gamma_4
        losses = {"generation": nll.sum() / batch.total_tokens}  # Eq. (21)
        losses["student_label"] = mean_label_loss(reading.student_logits, batch)
        total = weights.weight_generation * losses["generation"]
        teacher = None
        if self.training:
            if self.config.guidance:
                teacher, _ = self.teacher_path(reading)
            emotion = self.emotion_loss(batch, reading, memory, teacher=teacher, losses=losses)
            total = total + weights.weight_emotion * emotion
            self.diversity.update(taught)
            diversity = self.diversity.weights(taught.target) * nll
            losses["diversity"] = diversity.sum() / batch.total_tokens
            total = total + weights.weight_diversity * losses["diversity"]
            # Averaging gradients over processes divides these sums by their number: undo it.
            total = total * world()
            if self.config.contrast:
                losses["contrast"] = self.contrast_loss(batch, reading, taught)
                total = total + weights.weight_contrast * losses["contrast"]
        losses["total"] = total
        return Output(
            losses=losses, emotion_logits=memory.emotion_logits, teacher_logits=teacher,
            token_nll=nll.detach(), token_row=taught.row, token_prediction=taught.scores.prediction,
        )  # fmt: skip

    def loss_weights(self, batch: Batch) -> ModelSettings:
        """The settings with the weights of Eq. (25) for a batch."""
        return self.config

    def teacher_path(self, reading: Reading) -> tuple[Tensor, Tensor]:
        """The teacher's logits [B, 32] and pooling weights [B, L]. Paper: Eq. (10) to (14)."""
        H_tchr = self.teacher_fusion(reading.H_C, reading.K, reading.mask)
        V_tchr = torch.cat([H_tchr, reading.V_ts.to(H_tchr.dtype)], dim=-1)  # Eq. (10)
        return self.teacher(V_tchr, reading.intensity, reading.mask)

    def emotion_loss(
        self, batch: Batch, reading: Reading, memory: Memory, *,
        teacher: Tensor | None, losses: dict[str, Tensor],
    ) -> Tensor:  # fmt: skip
        """The loss of the predicted emotions, a scalar; its parts are added to `losses`.

        Paper: Eq. (15), (18), (19). Without a teacher (w/o EGM) it is the student's label loss.
        """
        if teacher is None:
            return losses["student_label"]
        soft = soft_label_loss(reading.student_logits, teacher)
        losses["teacher"] = mean_label_loss(teacher, batch)
        losses["student"] = soft.sum() / batch.total_pairs
        hard = self.config.student_label_weight * losses["student_label"]  # 0 in the paper
        return losses["teacher"] + losses["student"] + hard

    def contrast_loss(self, batch: Batch, reading: Reading, taught: Taught) -> Tensor:
        """The cross-contrastive loss of the batch over all processes. Paper: Eq. (22) to (24)."""
        mask = taught.mask
        H_Y = self.target_encoder(self.embed(reading.words["target"]), mask)
        context = emotion = masked_mean(reading.H_stu, reading.mask)
        if self.emotion_view is not None:
            # The linear map of the mean is the mean of the linear map, and cheaper.
            emotion = self.emotion_view(masked_mean(reading.H_ts, reading.mask))
        views = (masked_mean(H_Y, mask), emotion, context, masked_mean(taught.states, mask))
        stacked = torch.stack([view.float() for view in views], dim=1)
        views_BVD = gather_rows(stacked, batch.total_pairs)
        temperature = self.config.temperature
        return cross_contrastive_loss(views_BVD, temperature, self.config.contrast_negatives)


def mean_label_loss(logits_BK: Tensor, batch: Batch) -> Tensor:
    """This process's share of the mean label loss over the whole batch, a scalar."""
    assert batch.label is not None
    return label_loss(logits_BK, batch.label).sum() / batch.total_pairs
