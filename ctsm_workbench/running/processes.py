"""Several processes meet, and exchange values that JSON can hold.

The sums that training needs are in `ctsm_lib.parallel`.
"""

import json
import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ctsm_lib.errors import ConfigError
from ctsm_lib.parallel import all_sum, rank, world

# How long the others wait: the first start tokenises the corpus and reads the vectors.
PATIENCE = timedelta(hours=2)


def meet(device: str) -> None:
    """Join the processes that torchrun or `accelerate launch` started with this one, if any.

    On "cuda" each gets a GPU of its own, which is "cuda" from then on. Raises `ConfigError` where
    there are fewer GPUs than processes, or the others cannot be reached.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1" or world() > 1:
        return
    place = int(os.environ.get("LOCAL_RANK", "0"))
    on_gpu = device.startswith("cuda")
    if on_gpu:
        if place >= (count := torch.cuda.device_count()):
            found = f"This machine has {count} GPUs and was given process number {place + 1}"
            raise ConfigError(f"{found}: launch fewer processes, or use --device cpu.")
        torch.cuda.set_device(place)
    try:
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        address = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        reason = str(error).strip().split("\n")[0][:200]
        found = f"Process {os.environ.get('RANK')} cannot meet the others at {address}"
        raise ConfigError(f"{found}: {reason}") from None


def leave() -> None:
    """Part from the other processes; without it they complain at the end."""
    if world() > 1:
        dist.destroy_process_group()


def gather(value: Any) -> list[Any]:
    """The values of all processes, the main one's first."""
    # They travel as JSON: nothing that comes over a network is unpickled here.
    if world() == 1:
        return [value]
    own = json.dumps(value).encode()
    sizes = torch.zeros(world(), dtype=torch.int64)
    sizes[rank()] = len(own)
    longest = int(all_sum(sizes).max())
    rows = torch.zeros(world(), longest, dtype=torch.uint8)
    # JSON may end in spaces.
    rows[rank()] = torch.frombuffer(bytearray(own.ljust(longest)), dtype=torch.uint8)
    return [json.loads(row.numpy().tobytes()) for row in all_sum(rows)]


def from_main(value: Any) -> Any:
    """The main process's value, in all of them."""
    return gather(None if rank() else value)[0]


def require_alike(facts: dict[str, Any]) -> None:
    """Raise a `ConfigError` in all processes if one of them has another value of a fact."""
    first, *others = gather(facts)
    for number, other in enumerate(others, start=1):
        for name, value in other.items():
            if value != first[name]:
                found = f"Process {number} has {name}={value}, the main process {first[name]}."
                rule = "All need the same data (CTSM_DATA) and settings, and share a run folder."
                raise ConfigError(f"{found} {rule}")
