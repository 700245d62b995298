"""The few things that several processes must agree on; with one process each is the identity."""

from __future__ import annotations

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


def all_sum(value: Tensor) -> Tensor:
    """Sum of a tensor over all processes (in place where there are several)."""
    if world() > 1:
        dist.all_reduce(value)
    return value


def gather_rows(rows: Tensor, total: int) -> Tensor:
    """All processes' rows, [total, ...], with gradients; each process holds every `world()`-th of them."""
    if world() == 1:
        return rows
    from torch.distributed.nn.functional import all_gather

    sizes = [len(range(r, total, world())) for r in range(world())]
    padded = torch.cat([rows, rows.new_zeros((sizes[0] - len(rows), *rows.shape[1:]))])
    return torch.cat([part[:size] for part, size in zip(all_gather(padded), sizes, strict=True)])
