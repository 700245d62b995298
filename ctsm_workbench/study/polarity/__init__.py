"""The share of words whose rating and vector disagree in polarity, and what it depends on."""

from ctsm_workbench.study.polarity.analysis import PAPER_SHARE, analyse, analyse_prepared
from ctsm_workbench.study.polarity.choices import BANDS, THRESHOLDS, Rule, Words
from ctsm_workbench.study.polarity.frequent import discrepant_words, word_map
from ctsm_workbench.study.polarity.standards import outside_standards

__all__ = ["BANDS", "PAPER_SHARE", "THRESHOLDS", "Rule", "Words", "analyse", "analyse_prepared"]
__all__ += ["discrepant_words", "outside_standards", "word_map"]
