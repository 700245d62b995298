"""Parts that read: new processes, a first preparation, words and texts.

The code of the new processes is in `reading.toml`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ctsm_lib.corpus import SPECIALS
from ctsm_lib.prepare import make_provider
from ctsm_lib.training import build_model
from ctsm_workbench.bench import limits, peak_memory
from ctsm_workbench.bench.limits import Job, corpus_growth, dialogues_in, part_of
from ctsm_workbench.bench.task import Measured, Task, row
from ctsm_workbench.study.contexts import collect_states, plan
from ctsm_workbench.study.polarity import analyse_prepared

CODE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
READ = 1_600  # dialogues of the contextual pass
ASKED = 4_096  # utterances of retrieval


def start(task: Task) -> Measured:
    """New processes: imports, `ctsm --help`, and a run's start from the cache; the best of two."""
    task.prepared("train", "valid", "test")
    rows = {}
    for name, about in CODE["starts"].items():
        seconds, peak = min(_new_process(task, name) for _ in range(2))
        rows[name] = row(seconds, "s", target=about.get("target"), peak_mb=round(peak))
    limit = rows["import torch"]["value"]
    cached = rows["cached start"]["value"]
    bound = {"limit": limit, "share_of_limit": limit / cached, "bound": "importing torch"}
    rows["cached start"] |= bound
    return rows, {"cached_start_s": cached}


def preparation(task: Task) -> Measured:
    """A first preparation of all data, in an empty cache; it has no bound by arithmetic."""
    sizes = []
    seconds = []
    with tempfile.TemporaryDirectory() as place:
        for share in (16, 4, 1) if task.grow else (1,):
            part = Path(place) / f"part-{share}"
            part.mkdir()
            sizes.append(limits.cut_files(task.sources.dialogues, part, share))
            some = replace(task, sources=replace(task.sources, dialogues=part))
            taken, peak = _new_process(some, "cached start", CTSM_CACHE=str(part / "cache"))
            seconds.append(taken)
    measured = row(sizes[-1] / taken, "dialogues/s", peak_mb=round(peak))
    if task.grow:
        measured["growth"] = {"corpus": limits.grown(sizes, seconds)}
    return {"preparation": measured}, {"prepare_s": taken}


def _new_process(task: Task, name: str, **environment: str) -> tuple[float, float]:
    """Seconds of one of the starts in a new process, and its peak memory in MB."""
    code = CODE["timed"].format_map({"before": ""} | CODE["starts"][name])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, input=task.as_json(),
        text=True, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def retrieval(task: Task) -> Measured:
    """Commonsense for utterances whose answers are not on disk; nothing with `knowledge=none`.

    Text and sparse matrices have no bound by arithmetic.
    """
    provider = make_provider(task.config, task.sources)
    if provider.name == "none":
        return {}, {}
    split = task.prepared(knowledge=False).corpus.splits["train"]
    texts = list(dict.fromkeys(split.turn_text(turn) for turn in split.pairs[:ASKED, 4]))
    began = peak_memory()
    begun = time.perf_counter()
    provider.infer(texts[:1], progress=False)
    note = f"{provider.name}; making it ready took {time.perf_counter() - begun:.1f} s more"

    def asked(size: int) -> Job:
        return partial(provider.infer, texts[:size], progress=False)

    seconds, growing = corpus_growth(task, asked, len(texts))
    return {"retrieval": row(len(texts) / seconds, "texts/s", began, note=note, **growing)}, {}


def polarity(task: Task) -> Measured:
    """The whole analysis of Section 5.4. Draws and sorting have no bound by arithmetic."""
    prepared = task.prepared(knowledge=False)
    corpus = prepared.corpus
    words = np.arange(len(SPECIALS), len(corpus.vocabulary))
    began = peak_memory()
    dialogues = dialogues_in(corpus)

    def analysis(size: int) -> Job:
        ids = words
        if size < dialogues:
            tokens = [split.tokens for split in part_of(corpus, size).splits.values()]
            ids = np.intersect1d(words, np.concatenate(tokens))
        return partial(analyse_prepared, prepared, task.config.neutral_vad, ids=ids)

    seconds, growing = corpus_growth(task, analysis, dialogues)
    return {"polarity": row(len(words) / seconds, "words/s", began, **growing)}, {}


def contextual(task: Task) -> Measured:
    """Every word of up to 1,600 dialogues, read in its context by CTSM; other runs are refused."""
    prepared = task.prepared(knowledge=False)
    every_word = np.ones(len(prepared.corpus.vocabulary), dtype=bool)
    most = min(dialogues_in(prepared.corpus), READ)
    model: Any = task.loaded.ctsm() if task.loaded else build_model(task.config, prepared)
    began = peak_memory()

    def read(size: int) -> Job:
        laid = plan(part_of(prepared.corpus, size), task.config.max_context)
        return partial(
            collect_states, model, laid, len(every_word), mask=every_word, progress=False
        )

    seconds, growing = corpus_growth(task, read, most)
    tokens = len(plan(part_of(prepared.corpus, most), task.config.max_context).tokens)
    measured = row(tokens / seconds, "words/s", began, **growing)
    work = limits.count(read(most), model)
    return {"contextual": measured | limits.limit([work], tokens, tokens / seconds, work.bytes)}, {}
