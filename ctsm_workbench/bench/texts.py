"""Parts that read words and texts: retrieval, polarity, the contextual pass."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ctsm_lib.corpus import SPECIALS, Corpus
from ctsm_lib.model import CTSM
from ctsm_lib.prepare import make_provider
from ctsm_lib.training import build_model
from ctsm_workbench.bench.limits import count, matrix_rate, memory_rate
from ctsm_workbench.bench.memory import peak_memory
from ctsm_workbench.bench.scaling import growth, part_of, thirds
from ctsm_workbench.bench.task import Measured, Task, beside_limit, row
from ctsm_workbench.study.contexts import collect_states, plan
from ctsm_workbench.study.polarity import analyse

READ = 1_600  # dialogues of the contextual pass
ASKED = 4_096  # utterances of retrieval


def retrieval(task: Task) -> Measured:
    """Commonsense for utterances whose answers are not on disk. Text and sparse matrices: no bound by arithmetic.

    With `knowledge=none` there is nothing to measure.
    """
    provider = make_provider(task.config, task.sources)
    if provider.name == "none":
        return Measured()
    split = task.prepared(knowledge=False).corpus.splits["train"]
    texts = list(dict.fromkeys(split.turn_text(turn) for turn in split.pairs[:ASKED, 4]))
    began, begun = peak_memory(), time.perf_counter()
    provider.infer(texts[:1], progress=False)
    note = f"{provider.name}; making it ready took {time.perf_counter() - begun:.1f} s more"

    def ask(size: int) -> Callable[[], object]:
        return lambda: provider.infer(texts[:size], progress=False)

    found = growth(ask, thirds(len(texts)) if task.grow else [len(texts)], 0)
    return Measured(
        {
            "retrieval": row(
                len(texts) / found["seconds"][-1],
                "texts/s",
                began,
                note=note,
                **task.grew(corpus=found),
            )
        }
    )


def polarity(task: Task) -> Measured:
    """The whole analysis of Section 5.4. Its time goes into draws and sorting: no bound by arithmetic."""
    prepared = task.prepared(knowledge=False)
    words, vectors, first = prepared.corpus.vocabulary.words, prepared.vectors, len(SPECIALS)
    vad, rated = prepared.lexicon.table(prepared.corpus.vocabulary, task.config.neutral_vad)
    began, dialogues = peak_memory(), _dialogues(prepared.corpus)

    def analysis(size: int) -> Callable[[], object]:
        ids = np.arange(first, len(words))
        if size < dialogues:
            tokens = [split.tokens for split in part_of(prepared.corpus, size).splits.values()]
            ids = np.intersect1d(ids, np.concatenate(tokens))
        kind, counts = vectors.kind[ids], prepared.corpus.counts[ids]
        of_words = (vad[ids, 0], rated[ids], vectors.matrix[ids], kind >= 0, counts)
        return lambda: analyse([words[i] for i in ids], *of_words, vad=vad[ids], kind=kind)

    found = growth(analysis, thirds(dialogues) if task.grow else [dialogues], 0)
    per_s = (len(words) - first) / found["seconds"][-1]
    return Measured({"polarity": row(per_s, "words/s", began, **task.grew(corpus=found))})


def contextual(task: Task) -> Measured:
    """Every word of up to 1,600 dialogues, read in its context by CTSM.

    Raises:
        RunError: the run is of a baseline, or has no state embedding.
    """
    prepared = task.prepared(knowledge=False)
    words, most = len(prepared.corpus.vocabulary), min(_dialogues(prepared.corpus), READ)
    model = task.loaded.ctsm() if task.loaded else build_model(task.config, prepared)
    assert isinstance(model, CTSM)
    began, everything = peak_memory(), np.ones(words, dtype=bool)

    def read(size: int) -> Callable[[], object]:
        laid = plan(part_of(prepared.corpus, size), task.config.max_context)
        return lambda: collect_states(model, laid, words, everything, progress=False)

    found = growth(read, thirds(most) if task.grow else [most], 0)
    tokens = len(plan(part_of(prepared.corpus, most), task.config.max_context).tokens)
    per_s = tokens / found["seconds"][-1]
    measured = row(per_s, "words/s", began, **task.grew(corpus=found))
    work = count(read(most), model)
    return Measured(
        {
            "contextual": measured
            | beside_limit(work, tokens, per_s, matrix_rate(), memory_rate(work.bytes))
        }
    )


def _dialogues(corpus: Corpus) -> int:
    return sum(len(split.labels) for split in corpus.splits.values())
