"""Human judgement: people compare two answers without knowing which system gave which.

`sheets` makes blind sheets from files of answers, `files` reads and writes the files of a judging,
`page` is one judge at work and the screen for it, `scoring` merges the judges, and `table` writes
and draws the result. Paper: Sec. 4.3.2 and Table 2.
"""

from ctsm_workbench.judging.files import ASPECTS, read_key, read_sheet
from ctsm_workbench.judging.page import JudgingSession, widget
from ctsm_workbench.judging.scoring import agreement
from ctsm_workbench.judging.sheets import make
from ctsm_workbench.judging.table import figure, markdown

__all__ = ["ASPECTS", "JudgingSession", "agreement", "figure", "make", "markdown", "read_key"]
__all__ += ["read_sheet", "widget"]
