"""The share of words whose rating and vector disagree in polarity, and what it depends on.

`choices` counts by the rules that the paper leaves open, `analysis` is the whole of Section 5.4,
`standards` a check against the dialogues' labels and a second lexicon, `discrepant` lists the words
that differ, `coordinates` makes a map of all words.
"""

from ctsm_workbench.study.polarity.analysis import PAPER_SHARE, analyse, analyse_prepared
from ctsm_workbench.study.polarity.choices import BANDS, QUALITIES, THRESHOLDS, PolarityReport, Rule
from ctsm_workbench.study.polarity.coordinates import word_map
from ctsm_workbench.study.polarity.discrepant import discrepant_words
from ctsm_workbench.study.polarity.standards import outside_standards

__all__ = ["BANDS", "PAPER_SHARE", "QUALITIES", "THRESHOLDS", "PolarityReport", "Rule"]
__all__ += ["analyse", "analyse_prepared", "discrepant_words", "outside_standards", "word_map"]
