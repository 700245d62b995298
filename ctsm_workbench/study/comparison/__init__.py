"""Tables 1 and 3: every system with the same budget and data, beside the paper's numbers."""

from ctsm_workbench.study.comparison.runs import Plan, run_missing
from ctsm_workbench.study.comparison.tables import ROWS, SCORES, TABLES, TITLES, collect, markdown

__all__ = ["ROWS", "SCORES", "TABLES", "TITLES", "Plan", "collect", "markdown", "run_missing"]
