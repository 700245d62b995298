"""Speed, measured beside the best that this machine could do.

`measure` runs the parts, each in a process of its own. `starting`, `texts` and `networks` have the
parts, `limits` the bounds, `scaling` the growth of time with size.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

PARTS = {  # part -> module of the function with this name
    **dict.fromkeys(("start", "preparation"), "starting"),
    **dict.fromkeys(("retrieval", "polarity", "contextual"), "texts"),
    **dict.fromkeys(("training", "scoring", "decoding"), "networks"),
}
QUICK = ("start", "preparation", "training", "decoding")


def peak_memory() -> float:
    """The most memory in MB that this process, or one that it waited for, has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    waited = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    status = Path("/proc/self/status")
    if status.is_file():
        # On Linux a new program inherits its parent's `ru_maxrss`; this peak begins anew.
        own = 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])  # type: ignore[index]
    return max(own, waited) / 2**20
