"""The checks of the lessons' exercises.

A lesson calls them as `checks.intensity(mine)`. Every check goes from basic to subtle, tests one
mechanism per assertion, gives a hint about the mistake, and computes the right answer in another
way than the library does.
"""

from ctsm_workbench.course.checks import baselines, inputs, model, runs  # noqa: F401
from ctsm_workbench.course.checks.frame import CHECKS, CheckFailed

globals().update(CHECKS)

__all__ = ["CHECKS", "CheckFailed", *CHECKS]
