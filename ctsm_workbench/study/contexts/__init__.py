"""Beyond the paper: how a word leans in every context that it occurs in, by a trained run.

`reading` reads the corpus once and keeps sums, `dependence` says how much a word varies and what of it is more than
chance, `analysis` compares with the vector rule, the lexicon, the dialogues' labels and a model that never learned,
`word` looks at one word in texts of one's own.
"""

from ctsm_workbench.study.contexts.analysis import analyse_contexts
from ctsm_workbench.study.contexts.dependence import dependence, explained, null_bands, variance
from ctsm_workbench.study.contexts.reading import SPACES, Gathered, gather, plan, read_states
from ctsm_workbench.study.contexts.word import PAPER_CONTEXTS, PAPER_WORD, word_in_contexts

__all__ = [
    "PAPER_CONTEXTS", "PAPER_WORD", "SPACES", "Gathered", "analyse_contexts", "dependence", "explained", "gather",
    "null_bands", "plan", "read_states", "variance", "word_in_contexts",
]  # fmt: skip
