"""Human judgement: which of two answers is better, asked blind.

`sheets` makes blind sheets from files of answers, `files` knows their form, `session` is one judge at work, `page` the
screen for it, `scoring` merges the judges, `table` writes and draws the result.

Paper: Sec. 4.3.2 and Table 2.
"""

from ctsm_workbench.judging.files import (
    ASPECTS,
    CHOICES,
    QUESTIONS,
    Item,
    Sheet,
    read_answers,
    read_key,
    read_sheet,
)
from ctsm_workbench.judging.page import react, serve, widget
from ctsm_workbench.judging.scoring import agreement, score
from ctsm_workbench.judging.session import JudgingSession
from ctsm_workbench.judging.sheets import make, named_files
from ctsm_workbench.judging.table import figure, markdown

__all__ = [
    "ASPECTS",
    "CHOICES",
    "QUESTIONS",
    "Item",
    "JudgingSession",
    "Sheet",
    "agreement",
    "figure",
    "make",
    "markdown",
    "named_files",
    "react",
    "read_answers",
    "read_key",
    "read_sheet",
    "score",
    "serve",
    "widget",
]
