"""The few things that several processes must share; with one process each is the identity.

How processes find each other is in `ctsm_workbench.running.processes`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world() > 1 else 0


def share() -> slice:
    """The rows of a whole batch, or the jobs of a list, that are this process's."""
    return slice(rank(), None, world())


def all_sum(value: Tensor) -> Tensor:
    """Sum of a tensor over all processes, the same in each of them."""
    if world() == 1:
        return value
    # NCCL, by which GPUs meet, knows no tensor elsewhere.
    shared = value.to("cuda" if dist.get_backend() == "nccl" else value.device, copy=True)
    dist.all_reduce(shared)
    return shared.to(value.device)


def any_of(flag: bool) -> bool:
    """True if the flag is set in any process. All processes must call this at the same point."""
    return bool(all_sum(torch.tensor(int(flag)))) if world() > 1 else flag


@contextmanager
def main_first() -> Iterator[None]:
    """The main process runs the block first; the others then find its result in the cache."""
    if rank() > 0:
        any_of(False)  # a barrier
    try:
        yield
    finally:
        if rank() == 0:
            any_of(False)


def gather_rows(rows: Tensor, total: int) -> Tensor:
    """The rows of all processes, [total, ...], with gradients.

    Each process holds every `world()`-th row of the whole.
    """
    if world() == 1:
        return rows
    sizes = [len(range(r, total, world())) for r in range(world())]
    padded = torch.cat([rows, rows.new_zeros((sizes[0] - len(rows), *rows.shape[1:]))])
    parts = _Gather.apply(padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


class _Gather(torch.autograd.Function):
    """All processes' tensors, [processes, ...]; each gets back the gradients of its own."""

    @staticmethod
    def forward(ctx, own: Tensor) -> Tensor:  # type: ignore[no-untyped-def,override]
        parts = [torch.empty_like(own) for _ in range(world())]
        dist.all_gather(parts, own.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:  # type: ignore[no-untyped-def,override]
        return all_sum(grad.contiguous())[rank()]
