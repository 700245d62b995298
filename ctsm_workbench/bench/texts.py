"""Parts that read words and texts: retrieval, polarity, the contextual pass."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ctsm_lib.corpus import SPECIALS
from ctsm_lib.prepare import make_provider
from ctsm_lib.training import build_model
from ctsm_workbench.bench import peak_memory
from ctsm_workbench.bench.limits import count, limit
from ctsm_workbench.bench.scaling import corpus_growth, dialogues_in, part_of
from ctsm_workbench.bench.task import Measured, Task, row
from ctsm_workbench.study.contexts import collect_states, plan
from ctsm_workbench.study.polarity import analyse_prepared

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

    def asked(size: int) -> Callable[[], object]:
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

    def analysis(size: int) -> Callable[[], object]:
        ids = words
        if size < dialogues:
            tokens = [split.tokens for split in part_of(corpus, size).splits.values()]
            ids = np.intersect1d(words, np.concatenate(tokens))
        return partial(analyse_prepared, prepared, task.config.neutral_vad, ids=ids)

    seconds, growing = corpus_growth(task, analysis, dialogues)
    return {"polarity": row(len(words) / seconds, "words/s", began, **growing)}, {}


def contextual(task: Task) -> Measured:
    """Every word of up to 1,600 dialogues, read in its context by CTSM.

    Raises:
        RunError: the run is of a baseline, or has no state embedding.
    """
    prepared = task.prepared(knowledge=False)
    every_word = np.ones(len(prepared.corpus.vocabulary), dtype=bool)
    most = min(dialogues_in(prepared.corpus), READ)
    model: Any = task.loaded.ctsm() if task.loaded else build_model(task.config, prepared)
    began = peak_memory()

    def read(size: int) -> Callable[[], object]:
        laid = plan(part_of(prepared.corpus, size), task.config.max_context)
        return partial(
            collect_states, model, laid, len(every_word), mask=every_word, progress=False
        )

    seconds, growing = corpus_growth(task, read, most)
    tokens = len(plan(part_of(prepared.corpus, most), task.config.max_context).tokens)
    measured = row(tokens / seconds, "words/s", began, **growing)
    work = count(read(most), model)
    return {"contextual": measured | limit([work], tokens, tokens / seconds, work.bytes)}, {}
