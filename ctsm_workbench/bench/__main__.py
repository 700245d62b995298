"""One part in this process: `python -m ctsm_workbench.bench PART`, its task as JSON in, its rows as JSON out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict

from ctsm_lib.errors import CtsmError
from ctsm_workbench.bench import networks, starting, texts
from ctsm_workbench.bench.task import Measured, Task

FUNCTIONS: dict[str, Callable[[Task], Measured]] = {
    "start": starting.start,
    "preparation": starting.preparation,
    "retrieval": texts.retrieval,
    "polarity": texts.polarity,
    "contextual": texts.contextual,
    "training": networks.training,
    "scoring": networks.scoring,
    "decoding": networks.decoding,
}


def main() -> None:
    """Measure one part; what users can mend is one sentence on the error stream and exit code 1."""
    try:
        measured = FUNCTIONS[sys.argv[1]](Task.loads(sys.stdin.read()))
    except CtsmError as error:
        sys.exit(str(error))
    print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main()
