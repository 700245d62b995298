"""How much memory a process has held. Apart from the rest, which imports torch: a small process is measured as well."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_memory() -> float:
    """The most memory in MB that this process has held so far, or a process that it has waited for.

    Linux keeps the parent's mark in `ru_maxrss` of a new program; that of /proc begins anew.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    own, waited = (
        resource.getrusage(who).ru_maxrss * unit
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    status = Path("/proc/self/status")
    if status.is_file():
        own = next(
            int(line.split()[1]) * 1024
            for line in status.read_text().splitlines()
            if line.startswith("VmHWM")
        )
    return max(own, waited) / 2**20
