"""The best that this machine can do, and the least that a piece of work needs."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

_aten = torch.ops.aten
# These read some rows of a table, not the whole of it.
_LOOK_UPS = (_aten.embedding, _aten.index, _aten.index_select, _aten.gather)


class Work(NamedTuple):
    """Floating-point operations of matrix products, and the least bytes that must be moved."""

    flops: float
    bytes: float


def beside_limit(work: Work, done: float, per_s: float, matrix: float, memory: float) -> dict:
    """Compare a rate, `per_s` examples per second, with the highest that is possible.

    `work` is the least that `done` examples need; `matrix` and `memory` are FLOP/s and byte/s of
    this machine. The result has limit, share_of_limit, and bound: the one that takes longer.
    """
    bounds = {"matrix products": work.flops / matrix, "memory": work.bytes / memory}
    bound, seconds = max(bounds.items(), key=lambda item: item[1])
    return {"limit": done / seconds, "share_of_limit": per_s * seconds / done, "bound": bound}


def shortest(work: Callable[[], object], seconds: float, least: int = 1) -> float:
    """The shortest time of `work()`, tried for some seconds and at least so many times."""
    tries: list[float] = []
    while len(tries) < least or sum(tries) < seconds:
        begun = time.perf_counter()
        work()
        tries.append(time.perf_counter() - begun)
    return min(tries)


def matrix_rate(precision: str = "float32", size: int = 1024, seconds: float = 1.0) -> float:
    """FLOP/s of large matrix products, in a precision of `Config.precision`."""
    matrix = torch.randn(size, size).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    return 2 * size**3 / shortest(lambda: matrix @ matrix, seconds)


def memory_rate(size: float, seconds: float = 0.5) -> float:
    """Byte/s of reading `size` bytes again and again, from a cache where they fit into it."""
    rows = torch.ones(max(int(size) // 4096, 1), 1024)
    vector = torch.ones(1024)
    product = shortest(lambda: rows @ vector, seconds / 2)
    return rows.nbytes / min(product, shortest(rows.sum, seconds / 2))


def limit(works: Sequence[Work], done: int, per_s: float, again: float) -> dict:
    """A rate in float32 beside its limit; `again` bytes are read again and again."""
    least = Work(*map(sum, zip(*works, strict=True)))
    return beside_limit(least, done, per_s, matrix=matrix_rate(), memory=memory_rate(again))


def count(work: Callable[[], object], model: nn.Module) -> Work:
    """FLOPs of `work()`, and the bytes of the parameters that it reads, each counted once."""
    with FlopCounterMode(display=False) as products, _ParametersRead(model) as parameters:
        work()
    return Work(products.get_total_flops(), sum(parameters.whole.values()) + parameters.rows)


class _ParametersRead(TorchDispatchMode):
    """Counts the bytes of the parameters that operations read: of whole ones, and single rows."""

    def __init__(self, model: nn.Module):
        super().__init__()
        storages = [parameter.untyped_storage() for parameter in model.parameters()]
        self.sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
        self.whole: dict[int, int] = {}  # address -> bytes
        self.rows = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = [value for value in args if isinstance(value, Tensor)]
        found = {tensor.untyped_storage().data_ptr() for tensor in tensors} & self.sizes.keys()
        if found and function.overloadpacket in _LOOK_UPS:
            self.rows += result.nbytes
        elif not function.is_view:
            self.whole |= {address: self.sizes[address] for address in found}
        return result


def training_bytes(model: nn.Module) -> int:
    """The least bytes that a training step with Adam moves."""
    # A weight is read in both directions and its gradient is written. Then weight, gradient and
    # both moments are read, and weight and moments are written.
    return 10 * sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
