"""Parts that read words and texts: retrieval, polarity, the contextual pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ctsm_lib.corpus import SPECIALS
from ctsm_lib.prepare import make_provider
from ctsm_lib.training import build_model
from ctsm_workbench.bench import peak_memory
from ctsm_workbench.bench.limits import beside_limit, count, matrix_rate, memory_rate
from ctsm_workbench.bench.scaling import dialogues_in, growth, part_of, thirds
from ctsm_workbench.bench.task import Measured, Task, row
from ctsm_workbench.study.contexts import collect_states, plan
from ctsm_workbench.study.polarity import analyse

READ = 1_600  # dialogues of the contextual pass
ASKED = 4_096  # utterances of retrieval


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
    seconds, growing = _by_size(
        task, lambda size: partial(provider.infer, texts[:size], progress=False), len(texts)
    )
    return {"retrieval": row(len(texts) / seconds, "texts/s", began, note=note, **growing)}, {}


def polarity(task: Task) -> Measured:
    """The whole analysis of Section 5.4. Draws and sorting have no bound by arithmetic."""
    prepared = task.prepared(knowledge=False)
    words = prepared.corpus.vocabulary.words
    first = len(SPECIALS)
    vad, rated = prepared.lexicon.table(prepared.corpus.vocabulary, task.config.neutral_vad)
    began = peak_memory()
    dialogues = dialogues_in(prepared.corpus)

    def analysis(size: int) -> Callable[[], object]:
        ids = np.arange(first, len(words))
        if size < dialogues:
            tokens = [split.tokens for split in part_of(prepared.corpus, size).splits.values()]
            ids = np.intersect1d(ids, np.concatenate(tokens))
        kind = prepared.vectors.kind[ids]
        vectors = prepared.vectors.matrix[ids]
        facts = (vad[ids, 0], rated[ids], vectors, kind >= 0, prepared.corpus.counts[ids])
        return lambda: analyse([words[i] for i in ids], *facts, vad=vad[ids], kind=kind)

    seconds, growing = _by_size(task, analysis, dialogues)
    return {"polarity": row((len(words) - first) / seconds, "words/s", began, **growing)}, {}


def contextual(task: Task) -> Measured:
    """Every word of up to 1,600 dialogues, read in its context by CTSM.

    Raises:
        RunError: the run is of a baseline, or has no state embedding.
    """
    prepared = task.prepared(knowledge=False)
    words = len(prepared.corpus.vocabulary)
    most = min(dialogues_in(prepared.corpus), READ)
    model: Any = task.loaded.ctsm() if task.loaded else build_model(task.config, prepared)
    began = peak_memory()

    def read(size: int) -> Callable[[], object]:
        laid = plan(part_of(prepared.corpus, size), task.config.max_context)
        return lambda: collect_states(
            model, laid, words, np.ones(words, dtype=bool), progress=False
        )

    seconds, growing = _by_size(task, read, most)
    tokens = len(plan(part_of(prepared.corpus, most), task.config.max_context).tokens)
    per_s = tokens / seconds
    measured = row(per_s, "words/s", began, **growing)
    work = count(read(most), model)
    measured |= beside_limit(work, tokens, per_s, matrix_rate(), memory_rate(work.bytes))
    return {"contextual": measured}, {}


def _by_size(
    task: Task, make: Callable[[int], Callable[[], object]], most: int
) -> tuple[float, dict]:
    """Seconds for the largest size, tried once, and the growth of a row if it was asked for."""
    found = growth(make, thirds(most) if task.grow else [most], 0)
    return found["seconds"][-1], {"growth": {"corpus": found}} if task.grow else {}
