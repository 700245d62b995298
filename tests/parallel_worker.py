"""The work of each process of `test_parallel.py`: train, go on, score, answer, infer, read.

Usage: parallel_worker.py FOLDER [PROCESSES]

torchrun starts it without PROCESSES. With PROCESSES, it forks that number of processes itself.
"""

import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from unittest.mock import patch

import numpy as np
from torch import multiprocessing

from ctsm_lib import parallel
from ctsm_lib.config import Config, preset
from ctsm_lib.decoding import Decoding
from ctsm_lib.errors import ConfigError
from ctsm_lib.knowledge import RELATIONS, Inference
from ctsm_lib.prepare import Prepared, prepare
from ctsm_lib.runs import load_run
from ctsm_lib.scores import score_pairs
from ctsm_lib.sources import find_sources
from ctsm_workbench.cli import app
from ctsm_workbench.retrieval.store import infer_cached
from ctsm_workbench.running import processes
from ctsm_workbench.running import train as running
from ctsm_workbench.study.contexts import collect_states, plan
from ctsm_workbench.study.evaluation import answer_pairs, response_scores

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "sample"
TINY = [
    *(
        "dim=24",
        "heads=2",
        "key_depth=24",
        "ffn_dim=24",
        "small_key_depth=8",
        "small_ffn_dim=8",
        "knowledge=atomic",
    ),
    *("warmup=3", "clip=1", "max_iterations=8", "check_every=4", "check_from=4"),
    "dropout=0",  # each process draws its own
    "epsilon=1e-6",  # Adam divides tiny gradients by themselves: rounding would become a step
]
# Three of the sample's 892 pairs are left for the last batch, so a fourth process gets none.
UNEVEN = "batch_size=127"
EMPTY = "batch_size=1"  # nothing at all for all processes but one
ANSWERS = {
    "greedy": (Decoding(max_length=8), 11),
    "nucleus": (Decoding("nucleus", max_length=8, seed=3), 11),
    "beam": (
        Decoding("beam", max_length=4, beams=2),
        64,
    ),  # two batches: nothing to do for two of four
}


class Stub:
    """A provider of commonsense that keeps what it was asked."""

    name = "comet"

    def __init__(self, fingerprint: str):
        self.fingerprint = fingerprint
        self.asked: list[str] = []

    def infer(self, texts: Sequence[str], progress: bool = True) -> list[Inference]:
        self.asked += texts
        return [{relation: [f"{relation} {text[:20]}"] for relation in RELATIONS} for text in texts]

    def infer_all(self, texts: Sequence[str], folder: Path, progress: bool) -> list[Inference]:
        return infer_cached(self, texts, folder, progress)


def tiny(*settings: str) -> tuple[Config, Prepared]:
    config = preset("sample", [*TINY, *settings])
    return config, prepare(config, find_sources(SAMPLE), workers=1, progress=False)


def train(folder: Path, setting: str, **how) -> dict:  # type: ignore[no-untyped-def]
    config, prepared = tiny(setting)
    running.LOG_EVERY = 1
    return running.train(config, prepared, folder, cpu=True, progress=False, **how)


def use(run: Path) -> dict:
    """All that several processes share out besides training, with the weights of a run."""
    loaded, (_, prepared) = load_run(run), tiny()
    pairs, words = prepared.pairs["valid"], len(prepared.corpus.vocabulary)
    scored = score_pairs(loaded.model, pairs, batch_size=11)
    found: dict = {
        "world": parallel.world(),
        "scored": {name: value.tolist() for name, value in scored.items()},
    }
    for name, (how, size) in ANSWERS.items():
        answers, logits = answer_pairs(loaded.model, pairs, how, batch_size=size)
        found[name] = {"answers": [asdict(answer) for answer in answers], "logits": logits.tolist()}
    gathered = collect_states(
        loaded.ctsm(), plan(prepared.corpus), words, np.arange(words) % 2 == 0, progress=False
    )
    np.savez(run.parent / f"gathered-{parallel.world()}-{parallel.rank()}.npz", **vars(gathered))
    return found


def infer(fingerprint: str) -> dict:
    """Prepare with a provider that nobody has asked before; then once more."""
    stub = Stub(fingerprint)
    asked = []
    with patch("ctsm_lib.prepare.make_provider", lambda config, sources, device: stub):
        for _ in range(2):
            _, prepared = tiny()
            asked.append(list(stub.asked))
            stub.asked.clear()
    phrases = prepared.pairs["valid"].phrases
    return {"asked": asked, "phrases": [phrases.tokens.tolist(), phrases.offsets.tolist()]}


def evaluate(run: Path) -> None:
    """The command; what it writes lies beside the run."""
    written = (
        ("--json", "scores.json"),
        ("--responses", "answers.jsonl"),
        ("--examples", "examples.npz"),
        ("--samples", "40.md"),
    )
    files = [
        part
        for option, name in written
        for part in (option, str(run.parent / f"{parallel.world()}-{name}"))
    ]
    command = ["evaluate", str(run), "--device", "cpu", "--quiet", "--set", "max_length=8", *files]
    app(command, standalone_mode=False)


def refused() -> str:
    try:
        processes.require_alike({"data": "sample", "iteration": parallel.rank()})
    except ConfigError as error:
        return str(error)
    return ""


def work(folder: Path) -> None:
    """Do the work of one process of several.

    `folder / "alone"` holds a run of one process, `folder / "moving"` a run that was interrupted.
    """
    number = os.environ["WORLD_SIZE"]
    processes.meet("cpu")
    for name, setting in (("uneven", UNEVEN), ("empty", EMPTY)):
        train(folder / f"{name}-{number}", setting)
    train(folder / "moving", UNEVEN, resume=True, stop_after=4 if number == "2" else 6)
    found = use(folder / "alone") | {"inferred": infer(f"stub-{number}"), "refused": refused()}
    (folder / f"found-{number}-{parallel.rank()}.json").write_text(json.dumps(found))
    if number == "4":
        evaluate(folder / "alone")
    processes.leave()


def _forked(rank: int, folder: Path, processes: int, port: int) -> None:
    place = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": processes,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    os.environ.update({name: str(value) for name, value in place.items()})
    work(folder)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    if "RANK" in os.environ:
        work(where)
    else:  # Python and torch start once, not once a process
        with socket.create_server(("127.0.0.1", 0)) as server:
            free = server.getsockname()[1]
        count = int(sys.argv[2])
        response_scores(["a word"], ["a word"])  # loads what answers are scored with
        multiprocessing.start_processes(
            _forked, (where, count, free), nprocs=count, start_method="fork"
        )
