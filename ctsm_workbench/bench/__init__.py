"""Speed, measured beside the best that this machine could do.

`measure` runs the `parts`, each in a process of its own; `limits` has the bounds and the growth.
"""

import re
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

NETWORK = ("training", "scoring", "decoding")
PARTS = ("start", "preparation", "retrieval", "polarity", "contextual", *NETWORK)
QUICK = ("start", "preparation", "training", "decoding")


def peak_memory() -> float:
    """The most memory in MB that this process, or one that it waited for, has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    own, waited = (getrusage(kind).ru_maxrss * unit for kind in (RUSAGE_SELF, RUSAGE_CHILDREN))
    status = Path("/proc/self/status")
    if status.is_file():
        # On Linux a new program inherits its parent's `ru_maxrss`; this peak begins anew.
        own = 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])  # type: ignore[index]
    return max(own, waited) / 2**20
