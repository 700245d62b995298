"""MoEL: thirty-two listeners answer at once, weighted by the predicted emotion.

Source: Lin, Madotto, Shin, Xu and Fung (2019).

    q = H[CLS],  l = W q + b,  a = softmax of the five largest l, else 0                 [B, 32]
    z = D_0(x, H) + sum_i a_i D_i(x, H)      D_0: shared listener, D_i: one per emotion  [B, T, D]
    o = norm(D_meta(z, H))                                                               [B, T, D]

In training an oracle chooses the listener, at first always, later rarely: with probability
1e-4 + (1 - 1e-4) exp(-1.725 t / T) at step t of T, a is that of the gold emotion alone.
Departure: the paper has exp(-t / 10000) in 17,250 steps, 47 % of which the oracle rules then.
The same formula would give it 93 % of a training of 1,500 steps. So it is relative to the budget T.
The meta decoder has the backbone's layers, and its attention copies words. The 33 listeners have
one layer each, with the settings `small_...` and a feed-forward at every position alone.

Shapes: B batch, T answer length, D width, G = 5 listeners of a row, H heads, K depth of a head.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.corpus import EMOTIONS
from ctsm_lib.kernels import Dropout, causal_mask, masked_softmax
from ctsm_lib.model.generation import DecoderLayer, Masks, Past
from ctsm_lib.settings import LayerSizes
from ctsm_workbench.baselines.base import Baseline, BaselineMemory
from ctsm_workbench.beyond.extras import BiasedCache, BiasedDecoder

KeysValues = tuple[Tensor, Tensor]
USED = 5  # listeners of a dialogue
ORACLE_END = 1e-4
ORACLE_FADES = 17_250 / 10_000  # how fast, relative to a whole training


@dataclass(kw_only=True)
class MoELMemory(BaselineMemory):
    """An encoded context with the share of each listener."""

    shares: Tensor  # B 32


@dataclass(kw_only=True)
class MoELCache(BiasedCache):
    """A cache with the listeners of each row, and their keys and values."""

    share: Tensor  # B G
    who: Tensor  # B G, the listeners' numbers from 0
    shared_memory: KeysValues  # of the context
    shared_past: Past | None = None  # of the answer
    listener_memory: KeysValues
    listener_past: KeysValues | None = None


class Listeners(nn.Module):
    """Decoder layers D_1 .. D_32. Each weight has a row for each of them, [32, ...].

    Only the weights of a row's G listeners are used: to compute all 32 would take far longer.
    """

    def __init__(self, dim: int, sizes: LayerSizes):
        super().__init__()
        depth = sizes.key_depth
        inner = sizes.ffn_dim
        self.heads = sizes.heads
        self.depth = depth // sizes.heads
        self.matrices = _rows(
            own=(3, depth, dim), own_result=(dim, depth), memory=(2, depth, dim),
            query=(depth, dim), result=(dim, depth), first=(inner, dim), second=(dim, inner),
        )  # fmt: skip
        self.biases = _rows(first=(1, inner), second=(1, dim))
        self.scales = _rows(own=(1, dim), query=(1, dim), first=(1, dim))
        self.shifts = _rows(own=(1, dim), query=(1, dim), first=(1, dim))
        self.dropout = Dropout(sizes.dropout)

    def initialise(self) -> None:
        """Xavier for each listener's matrix by itself: for 32 at once the fans would be wrong."""
        for matrices in self.matrices.values():
            for matrix in matrices.flatten(0, -3):
                nn.init.xavier_uniform_(matrix)
        for value, tables in ((0, self.biases), (0, self.shifts), (1, self.scales)):
            for rows in tables.values():
                nn.init.constant_(rows, value)

    def keys_values(self, memory_BLD: Tensor, who_BG: Tensor) -> KeysValues:
        """Keys and values of the context for the listeners of each row, each [B, G, H, L, K]."""
        key, value = self.matrices["memory"][who_BG].unbind(dim=2)
        memory = memory_BLD.unsqueeze(1)
        return self._heads(memory @ key.mT), self._heads(memory @ value.mT)

    def forward(self, x_BTD: Tensor, cache: MoELCache, masks: Masks) -> Tensor:
        """The states of each listener for the same input, [B, G, T, D]. The cache is extended."""
        who = cache.who
        weights = {name: rows[who] for name, rows in self.matrices.items() if name != "memory"}
        normed = self._norm("own", x_BTD.unsqueeze(1), who)
        own = weights["own"].unbind(dim=2)
        query, key, value = (self._heads(normed @ matrix.mT) for matrix in own)
        if cache.listener_past is not None:
            key = torch.cat([cache.listener_past[0], key], dim=3)
            value = torch.cat([cache.listener_past[1], value], dim=3)
        cache.listener_past = (key, value)
        attended = self._attend(query, cache.listener_past, masks.causal)
        states = x_BTD.unsqueeze(1) + self.dropout(attended @ weights["own_result"].mT)
        query = self._heads(self._norm("query", states, who) @ weights["query"].mT)
        attended = self._attend(query, cache.listener_memory, masks.context)
        states = states + self.dropout(attended @ weights["result"].mT)
        hidden = self._norm("first", states, who) @ weights["first"].mT + self.biases["first"][who]
        hidden = self.dropout(hidden.relu())
        result = hidden @ weights["second"].mT + self.biases["second"][who]
        return states + self.dropout(result)

    def _norm(self, name: str, states: Tensor, who_BG: Tensor) -> Tensor:
        normed = F.layer_norm(states, states.shape[-1:])
        return normed * self.scales[name][who_BG] + self.shifts[name][who_BG]

    def _heads(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.heads, self.depth)).transpose(2, 3)  # B G H T K

    def _attend(self, query: Tensor, keys_values: KeysValues, mask: Tensor) -> Tensor:
        key, value = keys_values
        scores = query @ key.mT * self.depth**-0.5
        weights = self.dropout(masked_softmax(scores, mask[:, None, None]))
        return (weights.to(value.dtype) @ value).transpose(2, 3).flatten(3)  # B G T H*K


def _rows(**shapes: tuple[int, ...]) -> nn.ParameterDict:
    zeros = {name: torch.zeros(len(EMOTIONS), *shape) for name, shape in shapes.items()}
    return nn.ParameterDict(zeros)


class MoELDecoder(BiasedDecoder):
    """A shared listener and the emotions' listeners before the meta decoder."""

    shared: DecoderLayer
    listeners: Listeners

    def run(self, embedded: Tensor, cache: Any, real: Tensor) -> tuple[Tensor, Tensor]:
        causal = causal_mask(embedded.shape[1], cache.length, embedded.device)
        masks = Masks(causal=causal, context=cache.mask.unsqueeze(1), real=real)
        shared = self.shared(embedded, cache.shared_past, cache.shared_memory, masks)
        together, cache.shared_past, _ = shared
        each = self.listeners(embedded, cache, masks)  # B G T D
        mixed = torch.einsum("bg,bgtd->btd", cache.share.to(each.dtype), each)
        return super().run(together + mixed, cache, real)


class MoEL(Baseline):
    """Mixture of Empathetic Listeners."""

    Decoder = MoELDecoder

    def __init__(self, *given: Any):
        super().__init__(*given)
        self.decoder.listeners.initialise()

    def make_parts(self, dim: int) -> None:
        super().make_parts(dim)
        # A part of the checkpoint: a resumed run goes on with the oracle's schedule.
        self.steps = nn.Buffer(torch.zeros((), dtype=torch.int64))

    def make_decoder(self) -> MoELDecoder:
        decoder = super().make_decoder()
        sizes = replace(self.config.small_layer, ffn="linear")
        decoder.shared = DecoderLayer(self.config.dim, self.config.dim, sizes)
        decoder.listeners = Listeners(self.config.dim, sizes)
        return decoder

    def understand(self, batch: Batch, words: dict[str, Tensor]) -> MoELMemory:
        memory = super().understand(batch, words)
        logits = memory.emotion_logits
        top = logits.topk(USED, dim=-1)
        shares = torch.zeros_like(logits).scatter(1, top.indices, top.values.softmax(dim=-1))
        if self.training and batch.label is not None:
            past = ORACLE_FADES * self.steps / self.config.max_iterations
            probability = ORACLE_END + (1 - ORACLE_END) * (-past).exp()
            oracle = torch.rand((), device=logits.device) < probability
            gold = F.one_hot(batch.label, len(EMOTIONS)).to(shares.dtype)
            shares = torch.where(oracle, gold, shares)
            self.steps.add_(1)
        return MoELMemory(**vars(memory), shares=shares)

    def start(self, memory: Any) -> MoELCache:
        # With the oracle one listener has the whole share, and four have none.
        share, who = memory.shares.topk(USED, dim=-1)
        return MoELCache(
            **vars(super().start(memory)), share=share, who=who,
            shared_memory=self.decoder.shared.cross_attention.keys_values(memory.states),
            listener_memory=self.decoder.listeners.keys_values(memory.states, who),
        )  # fmt: skip
