"""How often what a word means by itself and where its vector lies disagree, and what that number depends on.

`rule` is the paper's rule, `choices` what it leaves open, `analysis` the whole of Section 5.4, `standards` its check
against the dialogues' labels and a second lexicon, `discrepant` the words that differ, `coordinates` a map of all.
"""

from ctsm_lib.polarity import (
    NO_STATE,
    TIE,
    centroids,
    shuffled_shares,
    state_polarity,
    trait_polarity,
)
from ctsm_workbench.study.polarity.analysis import (
    PAPER_LABEL,
    PAPER_SHARE,
    analyse,
    analyse_prepared,
)
from ctsm_workbench.study.polarity.choices import BANDS, QUALITIES, THRESHOLDS, PolarityReport, Rule
from ctsm_workbench.study.polarity.coordinates import word_map
from ctsm_workbench.study.polarity.discrepant import discrepant_words
from ctsm_workbench.study.polarity.standards import outside_standards

__all__ = [
    "BANDS", "NO_STATE", "PAPER_LABEL", "PAPER_SHARE", "QUALITIES", "THRESHOLDS", "TIE", "PolarityReport", "Rule", "analyse",
    "analyse_prepared", "centroids", "discrepant_words", "outside_standards", "shuffled_shares", "state_polarity", "trait_polarity", "word_map",
]  # fmt: skip
