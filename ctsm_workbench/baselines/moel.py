"""MoEL: thirty-two listeners answer at once, and how much each is heard depends on the emotion that was heard.

Source: Lin, Madotto, Shin, Xu and Fung (2019).

    q = H[CLS],  l = W q + b,  a = softmax of the five largest l, else 0                 [B, 32]
    z = D_0(x, H) + sum_i a_i D_i(x, H)      D_0: shared listener, D_i: one an emotion   [B, T, D]
    o = norm(D_meta(z, H))                                                               [B, T, D]
In training an oracle says which listener is heard, at first always, later rarely: with probability
1e-4 + (1 - 1e-4) exp(-t / 10000) at step t, a is that of the gold emotion alone.

Words are copied by the meta decoder's attention. It has the backbone's layers; the 33 listeners have one layer each,
with the settings `small_...` and a feed-forward at every position alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.model.ctsm import Memory, Tables
from ctsm_lib.model.generation import (
    DecoderCache,
    DecoderLayer,
    KeysValues,
    Past,
    ResponseDecoder,
    causal_mask,
)
from ctsm_lib.model.layers import Dropout, masked_softmax
from ctsm_workbench.baselines.base import LABELS, Baseline, initialise

HEARD = 5
ORACLE_END, ORACLE_STEPS = 1e-4, 10_000


class Listeners(nn.Module):
    """Decoder layers D_1 .. D_32, each weight with a row for each, [32, ...].

    A dialogue is read by the G = 5 that it hears, with their rows of the weights: to compute all 32 and multiply most
    by zero takes several times as long.
    """

    def __init__(self, dim: int, heads: int, key_depth: int, ffn_dim: int, dropout: float):
        super().__init__()
        self.heads, self.depth = heads, key_depth // heads
        matrices = {
            "own": (3, key_depth, dim), "own_result": (dim, key_depth), "memory": (2, key_depth, dim),
            "query": (key_depth, dim), "result": (dim, key_depth), "first": (ffn_dim, dim), "second": (dim, ffn_dim),
        }  # fmt: skip
        self.matrices = self._rows(matrices)
        self.biases = self._rows({"first": (1, ffn_dim), "second": (1, dim)})
        self.scales, self.shifts = (
            self._rows(dict.fromkeys(("own", "query", "first"), (1, dim))) for _ in range(2)
        )
        self.dropout = Dropout(dropout)

    @staticmethod
    def _rows(shapes: dict[str, tuple[int, ...]]) -> nn.ParameterDict:
        return nn.ParameterDict(
            {name: torch.zeros(LABELS, *shape) for name, shape in shapes.items()}
        )

    def initialise(self) -> None:
        """Xavier for each matrix by itself, as for 32 at once the fans would be wrong; biases 0; norms do nothing."""
        for matrices in self.matrices.values():
            for matrix in matrices.flatten(0, -3):
                nn.init.xavier_uniform_(matrix)
        for values, constant in ((self.biases, 0.0), (self.scales, 1.0), (self.shifts, 0.0)):
            for value in values.values():
                nn.init.constant_(value, constant)

    def keys_values(self, memory_BLD: Tensor, who_BG: Tensor) -> KeysValues:
        """Keys and values of the context for the listeners that each row hears, each [B, G, H, L, depth]."""
        key, value = self.matrices["memory"][who_BG].unbind(dim=2)
        memory = memory_BLD.unsqueeze(1)
        return self._heads(memory @ key.mT), self._heads(memory @ value.mT)

    def forward(
        self,
        x_BTD: Tensor,
        past: Past | None,
        memory: KeysValues,
        causal: Tensor,
        mask: Tensor,
        who_BG: Tensor,
    ) -> tuple[Tensor, Past]:
        """What those listeners make of the same input, [B, G, T, D], and keys and values for later steps.

        Args:
            memory: of the same listeners, from `keys_values`.
            causal: [1, T, past + T]. mask: [B, 1, L].
            who_BG: listeners, from 0.
        """
        weights = {name: rows[who_BG] for name, rows in self.matrices.items() if name != "memory"}
        normed = self._norm("own", x_BTD.unsqueeze(1), who_BG)
        query, key, value = (
            self._heads(normed @ matrix.mT) for matrix in weights["own"].unbind(dim=2)
        )
        if past is not None:
            key, value = torch.cat([past[0], key], dim=3), torch.cat([past[1], value], dim=3)
        states = x_BTD.unsqueeze(1) + self._attend(
            query, (key, value), causal, weights["own_result"]
        )
        query = self._heads(self._norm("query", states, who_BG) @ weights["query"].mT)
        states = states + self._attend(query, memory, mask, weights["result"])
        hidden = (
            self._norm("first", states, who_BG) @ weights["first"].mT + self.biases["first"][who_BG]
        )
        hidden = self.dropout(hidden.relu())
        states = states + self.dropout(
            hidden @ weights["second"].mT + self.biases["second"][who_BG]
        )
        return states, (key, value, x_BTD.new_zeros(len(x_BTD), 0))

    def _norm(self, name: str, states: Tensor, who_BG: Tensor) -> Tensor:
        """LayerNorm with each listener's scale and shift."""
        return (
            F.layer_norm(states, states.shape[-1:]) * self.scales[name][who_BG]
            + self.shifts[name][who_BG]
        )

    def _heads(self, states_BGTX: Tensor) -> Tensor:
        """[B, G, H, T, depth]."""
        return states_BGTX.unflatten(-1, (self.heads, self.depth)).transpose(2, 3)

    def _attend(
        self, query: Tensor, keys_values: KeysValues, mask: Tensor, result_BGDX: Tensor
    ) -> Tensor:
        key, value = keys_values
        scores = query @ key.mT * self.depth**-0.5  # B G H T M
        weights = self.dropout(masked_softmax(scores, mask[:, None, None]))
        mixed = (weights.to(value.dtype) @ value).transpose(2, 3).flatten(3)  # B G T H*depth
        return self.dropout(mixed @ result_BGDX.mT)


class MoELDecoder(ResponseDecoder):
    """Shared listener and listeners before the meta decoder; their caches stand behind those of its layers."""

    def add_listeners(self, config: Config) -> None:
        """Made apart from the backbone's layers, whose settings the constructor takes."""
        sizes = (config.small_heads, config.small_key_depth, config.small_ffn_dim)
        self.shared = DecoderLayer(config.dim, config.dim, *sizes, "linear", config.dropout)
        self.listeners = Listeners(config.dim, *sizes, config.dropout)

    def start(
        self,
        memory_BLD: Tensor,
        mask_BL: Tensor,
        context_BL: Tensor,
        extra: dict[str, Tensor] | None = None,
    ) -> DecoderCache:
        assert extra is not None
        share, who = extra["heard"].topk(
            HEARD, dim=-1
        )  # the oracle's one listener, and four that count nothing
        cache = super().start(memory_BLD, mask_BL, context_BL, {"share": share, "who": who})
        cache.memory.append(self.shared.cross_attention.keys_values(memory_BLD))
        cache.memory.append(self.listeners.keys_values(memory_BLD, who))
        cache.past += [None, None]
        return cache

    def run(self, embedded: Tensor, cache: DecoderCache, real: Tensor) -> tuple[Tensor, Tensor]:
        causal, mask = causal_mask(embedded, cache.length), cache.mask.unsqueeze(1)
        arguments = (cache.past[-2], cache.memory[-2], causal, mask, real, cache.extra)
        together, cache.past[-2], _ = self.shared(embedded, *arguments)
        who, share = cache.extra["who"], cache.extra["share"]
        heard, cache.past[-1] = self.listeners(
            embedded, cache.past[-1], cache.memory[-1], causal, mask, who
        )
        return super().run(
            together + torch.einsum("bg,bgtd->btd", share.to(heard.dtype), heard), cache, real
        )


class MoEL(Baseline):
    """Mixture of Empathetic Listeners."""

    steps: Tensor
    decoder: MoELDecoder

    def __init__(self, config: Config, tables: Tables):
        super().__init__(config, tables)
        self.classify = nn.Linear(config.dim, LABELS)
        self.decoder = self.make_decoder(MoELDecoder)
        self.decoder.add_listeners(config)
        self.register_buffer(
            "steps", torch.zeros((), dtype=torch.int64)
        )  # a checkpoint goes on with the oracle
        initialise(self)
        self.decoder.listeners.initialise()

    def read(self, batch: Batch, words: dict[str, Tensor]) -> Memory:
        states, mask = self.encode_context(batch, words)
        logits = self.classify(states[:, 0]).float()
        top = logits.topk(HEARD, dim=-1)
        heard = torch.zeros_like(logits).scatter(1, top.indices, top.values.softmax(dim=-1))
        if self.training and batch.label is not None:
            probability = ORACLE_END + (1 - ORACLE_END) * (-self.steps / ORACLE_STEPS).exp()
            told = torch.rand((), device=logits.device) < probability
            heard = torch.where(told, F.one_hot(batch.label, LABELS).to(heard.dtype), heard)
            self.steps += 1
        return Memory(states, mask, batch.context, logits, extra={"heard": heard})
