"""What every process of `test_parallel.py` runs, by itself or under torchrun: train a tiny model, score the dev split.

Usage: parallel_worker.py FOLDER [key=value ...]
"""

import os
import sys
from pathlib import Path

import numpy as np

from ctsm_lib import parallel, training
from ctsm_lib.checkpoint import save_weights
from ctsm_lib.config import preset
from ctsm_lib.prepare import prepare
from ctsm_lib.runs import load_run
from ctsm_lib.scores import score_pairs
from ctsm_lib.sources import find_sources

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "sample"
TINY = [
    *("dim=24", "heads=2", "key_depth=24", "ffn_dim=24", "small_key_depth=8", "small_ffn_dim=8", "knowledge=atomic"),
    *("warmup=3", "clip=1", "max_iterations=6", "check_every=3", "check_from=3"),
    "dropout=0",  # each process draws its own
    "epsilon=1e-6",  # Adam divides tiny gradients by themselves: rounding would become a step
]


def main() -> None:
    folder, rank = Path(sys.argv[1]), os.environ.get("RANK", "0")
    config = preset("sample", [*TINY, *sys.argv[2:]])
    prepared = prepare(config, find_sources(SAMPLE), workers=1, progress=False)
    training.LOG_EVERY = 1
    if rank == "0":
        save_weights(folder / "start.safetensors", training.build_model(config, prepared), {})
    result = training.train(config, prepared, folder / "run", cpu=True, progress=False)
    scored = score_pairs(load_run(folder / "run").model, prepared.pairs["valid"], batch_size=11)
    np.savez(folder / f"rank{rank}.npz", world=parallel.world(), best=result["best"]["ppl_token"], **scored)
    parallel.leave()


if __name__ == "__main__":
    main()
