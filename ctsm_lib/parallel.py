"""The few things that several processes must agree on; with one process each is the identity."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ctsm_lib.errors import ConfigError

PATIENCE = timedelta(
    hours=2
)  # for the others: the first start tokenises the corpus and reads the vectors


def launched() -> int:
    """How many processes torchrun or `accelerate launch` started; known before they have met, too."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def meet(device: str) -> None:
    """Join the other processes that were launched with this one; alone, or once joined, it does nothing.

    Args:
        device: "cpu" or "cuda", where all of them compute; each gets a GPU of its own, which is "cuda" from then on.

    Raises:
        ConfigError: there are fewer GPUs than processes, or the others cannot be reached.
    """
    if launched() == 1 or world() > 1:
        return
    where = int(os.environ.get("LOCAL_RANK", "0"))
    on_gpu = device.startswith("cuda")
    if on_gpu and where >= torch.cuda.device_count():
        raise ConfigError(
            f"This machine has {torch.cuda.device_count()} GPUs and was given process number {where + 1}: launch fewer "
            "processes, or use --device cpu."
        )
    if on_gpu:
        torch.cuda.set_device(where)
    try:
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        address = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        reason = str(error).strip().split("\n")[0][:200]
        raise ConfigError(
            f"Process {os.environ.get('RANK')} cannot meet the others at {address}: {reason}"
        ) from None


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world() > 1 else 0


def share() -> slice:
    """Which rows of a whole batch, or which of any jobs, are this process's."""
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


def gather(value: Any) -> list[Any]:
    """What each process holds, the main one's first, the same in all of them.

    Args:
        value: what JSON can hold; nothing that comes over a network is unpickled here.
    """
    if world() == 1:
        return [value]
    own = _packed(value)
    sizes = torch.zeros(world(), dtype=torch.int64)
    sizes[rank()] = len(own)
    sizes = all_sum(sizes)
    rows = torch.zeros(world(), int(sizes.max()), dtype=torch.uint8)
    rows[rank(), : len(own)] = own
    return [_unpacked(row[:size]) for row, size in zip(all_sum(rows), sizes, strict=True)]


def from_main(value: Any) -> Any:
    """What the main process holds, in all of them; `value` is what JSON can hold."""
    if world() == 1:
        return value
    own = torch.zeros(0, dtype=torch.uint8) if rank() else _packed(value)
    size = int(all_sum(torch.tensor(len(own))))
    return _unpacked(all_sum(torch.zeros(size, dtype=torch.uint8) if rank() else own))


def _packed(value: Any) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _unpacked(row: Tensor) -> Any:
    return json.loads(row.numpy().tobytes())


@contextmanager
def main_first() -> Iterator[None]:
    """The main process does it before the others, which find in the cache what it made."""
    if rank() > 0:
        any_of(False)
    try:
        yield
    finally:
        if rank() == 0:
            any_of(False)


def require_alike(facts: dict[str, Any]) -> None:
    """Refuse to work together on different things.

    Args:
        facts: what must be the same in all processes, by name; what JSON can hold.

    Raises:
        ConfigError: a process has something else than the main one; all processes raise it.
    """
    first, *others = gather(facts)
    for number, other in enumerate(others, start=1):
        for name, value in other.items():
            if value != first[name]:
                raise ConfigError(
                    f"Process {number} has {name}={value}, the main process {name}={first[name]}. All machines need the "
                    "same data (CTSM_DATA), the same settings, and a run folder that they share."
                )


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
