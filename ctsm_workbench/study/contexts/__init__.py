"""Beyond the paper: every word in every context that it occurs in, as a trained run represents it.

`reading` reads the corpus once and keeps sums, `dependence` measures how much a word varies and how
much of this is more than chance, `analysis` compares with the vector rule, the lexicon, the
dialogues' labels and an untrained model, `word` shows one word in any texts.
"""

from ctsm_workbench.study.contexts.analysis import analyse_contexts
from ctsm_workbench.study.contexts.dependence import dependence, explained, null_bands, variance
from ctsm_workbench.study.contexts.reading import Collected, collect_states, plan
from ctsm_workbench.study.contexts.word import PAPER_CONTEXTS, word_in_contexts

__all__ = ["PAPER_CONTEXTS", "Collected", "analyse_contexts", "collect_states", "dependence"]
__all__ += ["explained", "null_bands", "plan", "variance", "word_in_contexts"]
