"""MoEL: thirty-two listeners answer at once, and how much each is heard depends on the emotion that was heard.

Source: Lin, Madotto, Shin, Xu and Fung (2019).

    q = H[CLS],  l = W q + b,  a = softmax of the five largest l, else 0                 [B, 32]
    z = D_0(x, H) + sum_i a_i D_i(x, H)      D_0: shared listener, D_i: one an emotion   [B, T, D]
    o = norm(D_meta(z, H))                                                               [B, T, D]
In training an oracle says which listener is heard, at first always, later rarely: with probability
1e-4 + (1 - 1e-4) exp(-t / 10000) at step t, a is that of the gold emotion alone.

Words are copied by the meta decoder's attention. It has the backbone's layers; listeners have the settings `small_...`.
Departure: the listeners' norms have no weights of their own; the matrices behind them can take their place.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctsm_lib.baselines.base import LABELS, Baseline, initialise
from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.model.ctsm import Memory, Tables
from ctsm_lib.model.generation import DecoderCache, DecoderLayer, KeysValues, Past, ResponseDecoder, causal_mask
from ctsm_lib.model.layers import masked_softmax

HEARD = 5
ORACLE_END, ORACLE_STEPS = 1e-4, 10_000


class Listeners(nn.Module):
    """Decoder layers D_1 .. D_32 side by side, G = 32: every matrix has a row of its own for each."""

    def __init__(self, dim: int, heads: int, key_depth: int, ffn_dim: int, dropout: float):
        super().__init__()
        self.heads, self.depth = heads, key_depth // heads
        self.own = nn.Linear(dim, LABELS * 3 * key_depth, bias=False)
        self.memory = nn.Linear(dim, LABELS * 2 * key_depth, bias=False)
        shapes = {
            "own_result": (dim, key_depth), "cross_query": (key_depth, dim), "cross_result": (dim, key_depth),
            "first": (ffn_dim, dim), "second": (dim, ffn_dim),
        }  # fmt: skip
        self.matrices = nn.ParameterDict({name: torch.zeros(LABELS, *shape) for name, shape in shapes.items()})
        self.first_bias, self.second_bias = (nn.Parameter(torch.zeros(LABELS, 1, n)) for n in (ffn_dim, dim))
        self.dropout = nn.Dropout(dropout)

    def initialise(self) -> None:
        """Xavier for each listener's matrices; for all of them at once the fans would be wrong."""
        for matrices in self.matrices.values():
            for matrix in matrices:
                nn.init.xavier_uniform_(matrix)
        for layer, parts in ((self.own, 3), (self.memory, 2)):
            for matrix in layer.weight.data.chunk(LABELS * parts):
                nn.init.xavier_uniform_(matrix)

    def keys_values(self, memory_BLD: Tensor) -> KeysValues:
        """Keys and values of the context for every listener, each [B, G, H, L, depth]."""
        batch, length, _ = memory_BLD.shape
        both = self.memory(memory_BLD).view(batch, length, 2, LABELS, self.heads, self.depth).permute(2, 0, 3, 4, 1, 5)
        return both[0], both[1]

    def forward(
        self, x_BTD: Tensor, past: Past | None, memory: KeysValues, causal: Tensor, mask: Tensor
    ) -> tuple[Tensor, Past]:
        """What every listener makes of the same input, [B, G, T, D], and keys and values for later steps.

        Args:
            causal: [1, T, past + T]. mask: [B, 1, L].
        """
        batch, length, dim = x_BTD.shape
        own = self.own(F.layer_norm(x_BTD, (dim,))).view(batch, length, 3, LABELS, self.heads, self.depth)
        query, key, value = own.permute(2, 0, 3, 4, 1, 5)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=3), torch.cat([past[1], value], dim=3)
        states = x_BTD.unsqueeze(1) + self._attend(query, (key, value), causal, "own_result")  # B G T D
        query = self._each("cross_query", F.layer_norm(states, (dim,)))
        query = query.view(batch, LABELS, length, self.heads, self.depth).transpose(2, 3)
        states = states + self._attend(query, memory, mask, "cross_result")
        hidden = (self._each("first", F.layer_norm(states, (dim,))) + self.first_bias).relu()
        states = states + self.dropout(self._each("second", self.dropout(hidden)) + self.second_bias)
        return states, (key, value, x_BTD.new_zeros(batch, 0))

    def _each(self, name: str, states_BGTX: Tensor) -> Tensor:
        """Each listener's matrix on its own states."""
        return states_BGTX @ self.matrices[name].transpose(1, 2).to(states_BGTX.dtype)

    def _attend(self, query: Tensor, keys_values: KeysValues, mask: Tensor, result: str) -> Tensor:
        key, value = keys_values
        scores = query @ key.transpose(3, 4) * self.depth**-0.5  # B G H T M
        weights = self.dropout(masked_softmax(scores, mask[:, None, None]))
        mixed = (weights.to(value.dtype) @ value).transpose(2, 3).flatten(3)  # B G T H*depth
        return self.dropout(self._each(result, mixed))


class MoELDecoder(ResponseDecoder):
    """Shared listener and listeners before the meta decoder; their caches stand behind those of its layers."""

    def add_listeners(self, config: Config) -> None:
        """Made apart from the backbone's layers, whose settings the constructor takes."""
        sizes = (config.small_heads, config.small_key_depth, config.small_ffn_dim)
        self.shared = DecoderLayer(config.dim, config.dim, *sizes, "linear", config.dropout)
        self.listeners = Listeners(config.dim, *sizes, config.dropout)

    def start(
        self, memory_BLD: Tensor, mask_BL: Tensor, context_BL: Tensor, extra: dict[str, Tensor] | None = None
    ) -> DecoderCache:
        cache = super().start(memory_BLD, mask_BL, context_BL, extra)
        cache.memory += [self.shared.cross_attention.keys_values(memory_BLD), self.listeners.keys_values(memory_BLD)]
        cache.past += [None, None]
        return cache

    def run(self, embedded: Tensor, cache: DecoderCache, real: Tensor) -> tuple[Tensor, Tensor]:
        causal, mask = causal_mask(embedded, cache.length), cache.mask.unsqueeze(1)
        arguments = (cache.past[-2], cache.memory[-2], causal, mask, real, cache.extra)
        together, cache.past[-2], _ = self.shared(embedded, *arguments)
        heard, cache.past[-1] = self.listeners(embedded, cache.past[-1], cache.memory[-1], causal, mask)
        # All listeners are computed: five of them a row would be other ones in each row, which costs more than it saves.
        weighted = torch.einsum("bg,bgtd->btd", cache.extra["heard"].to(heard.dtype), heard)
        return super().run(together + weighted, cache, real)


class MoEL(Baseline):
    """Mixture of Empathetic Listeners."""

    steps: Tensor
    decoder: MoELDecoder

    def __init__(self, config: Config, tables: Tables):
        super().__init__(config, tables)
        self.classify = nn.Linear(config.dim, LABELS)
        self.decoder = self.make_decoder(MoELDecoder)
        self.decoder.add_listeners(config)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))  # a checkpoint goes on with the oracle
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
