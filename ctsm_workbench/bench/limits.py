"""What this machine can do at best, and what a piece of work cannot do without."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

_aten = torch.ops.aten
_LOOK_UPS = (
    _aten.embedding,
    _aten.index,
    _aten.index_select,
    _aten.gather,
)  # read rows, not the whole table


@dataclass(frozen=True)
class Work:
    """Floating-point operations of matrix products, and bytes that have to be moved at least."""

    flops: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.bytes + other.bytes)

    def at_best(self, matrix: float, memory: float) -> tuple[float, str]:
        """Seconds that no program can undercut, and which of the two bounds is meant: the larger one.

        Args:
            matrix, memory: FLOP/s and byte/s of this machine.
        """
        products, moves = self.flops / matrix, self.bytes / memory
        return max(products, moves), "matrix products" if products >= moves else "memory"


def matrix_rate(
    dtype: torch.dtype = torch.float32, size: int = 1024, seconds: float = 1.0
) -> float:
    """FLOP/s of large matrix products, the best of several measurements."""
    left, right = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return 2 * size**3 / _best(lambda: left @ right, seconds)


def memory_rate(size: float, seconds: float = 0.5) -> float:
    """Byte/s of reading `size` bytes again and again, the best of several measurements.

    What fits into a cache comes from there, in this measurement as in the work that is judged by it.
    """
    rows = torch.ones(max(int(size) // 4096, 1), 1024)
    vector = torch.ones(1024)
    return rows.nbytes / min(
        _best(lambda: rows @ vector, seconds / 2), _best(rows.sum, seconds / 2)
    )


def _best(work: Callable[[], object], seconds: float) -> float:
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best


def count(work: Callable[[], object], model: nn.Module) -> Work:
    """FLOPs of the matrix products of `work()`, and the bytes of the model's parameters that it reads, each once."""
    with FlopCounterMode(display=False) as products, _ParametersRead(model) as parameters:
        work()
    return Work(products.get_total_flops(), parameters.bytes)


def training_bytes(model: nn.Module) -> int:
    """Bytes that a step with Adam moves at least: a weight is read forwards and backwards, its gradient written; then
    weight, gradient and both moments are read, weight and moments written."""
    return 10 * sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)


class _ParametersRead(TorchDispatchMode):
    """Notes which parameters operations read."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.sizes = {
            p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in model.parameters()
        }
        self.read: set[int] = set()
        self.rows = 0

    @property
    def bytes(self) -> int:
        return sum(self.sizes[pointer] for pointer in self.read) + self.rows

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        pointers = {
            value.untyped_storage().data_ptr() for value in args if isinstance(value, Tensor)
        }
        if not function.is_view and (found := pointers & self.sizes.keys()):
            if function.overloadpacket in _LOOK_UPS:
                self.rows += result.nbytes
            else:
                self.read |= found
        return result
