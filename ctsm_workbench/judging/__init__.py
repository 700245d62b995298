"""Human judgement: people compare two answers without knowing which system gave which.

`sheets` makes blind sheets from files of answers, `files` reads and writes the files of a judging,
`page` is one judge at work and the screen for it, and `scoring` merges the judges, and writes and
draws the result. Paper: Sec. 4.3.2 and Table 2.
"""
# ruff: noqa: F401

from ctsm_workbench.judging.files import ASPECTS, read_key, read_sheet
from ctsm_workbench.judging.page import JudgingSession, widget
from ctsm_workbench.judging.scoring import agreement, figure, markdown
from ctsm_workbench.judging.sheets import make
