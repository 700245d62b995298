"""The few things that several processes must agree on; with one process each is the identity."""

from __future__ import annotations

import os

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
    """Which rows of a whole batch are this process's."""
    return slice(rank(), None, world())


def speaks() -> bool:
    """Whether this process is the one that prints; known before the processes have met, too."""
    return os.environ.get("RANK", "0") == "0"


def all_sum(value: Tensor) -> Tensor:
    """Sum of a tensor over all processes, the same in each of them."""
    if world() == 1:
        return value
    # GPUs' processes meet on the GPU only: NCCL knows no tensor elsewhere.
    shared = value.to("cuda" if dist.get_backend() == "nccl" else value.device, copy=True)
    dist.all_reduce(shared)
    return shared.to(value.device)


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process. All must ask at the same point."""
    return bool(all_sum(torch.tensor(int(flag)))) if world() > 1 else flag


def leave() -> None:
    """Say goodbye to the other processes; without it they complain at the end."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def gather_rows(rows: Tensor, total: int) -> Tensor:
    """All processes' rows, [total, ...], with gradients; each process holds every `world()`-th of them."""
    if world() == 1:
        return rows
    sizes = [len(range(r, total, world())) for r in range(world())]
    padded = torch.cat([rows, rows.new_zeros((sizes[0] - len(rows), *rows.shape[1:]))])
    return torch.cat([part[:size] for part, size in zip(_Gather.apply(padded), sizes, strict=True)])


class _Gather(torch.autograd.Function):
    """All processes' tensors, [processes, ...]; going back, each process gets what all of them want of its own."""

    @staticmethod
    def forward(ctx, own: Tensor) -> Tensor:  # type: ignore[no-untyped-def,override]
        parts = [torch.empty_like(own) for _ in range(world())]
        dist.all_gather(parts, own.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:  # type: ignore[no-untyped-def,override]
        return all_sum(grad.contiguous())[rank()]
