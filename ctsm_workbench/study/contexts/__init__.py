"""Beyond the paper: every word in every context that it occurs in, as a trained run reads it."""

from ctsm_workbench.study.contexts.analysis import analyse_contexts
from ctsm_workbench.study.contexts.dependence import explained
from ctsm_workbench.study.contexts.reading import collect_states, plan
from ctsm_workbench.study.contexts.word import PAPER_CONTEXTS, word_in_contexts

__all__ = ["PAPER_CONTEXTS", "analyse_contexts", "collect_states", "explained", "plan"]
__all__ += ["word_in_contexts"]
