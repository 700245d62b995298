"""How several processes find each other, and what they tell each other.

The sums that training needs are in `ctsm_lib.parallel`.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ctsm_lib.errors import ConfigError
from ctsm_lib.parallel import all_sum, rank, world

# How long the others wait: the first start tokenises the corpus and reads the vectors.
PATIENCE = timedelta(hours=2)


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


def speaks() -> bool:
    """Whether this process is the one that prints; known before the processes have met, too."""
    return os.environ.get("RANK", "0") == "0"


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
