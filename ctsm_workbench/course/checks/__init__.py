"""The checks of the lessons' exercises, a module for each lesson.

A lesson calls them as `checks.intensity(mine)`. Every check goes from basic to subtle, tests one
mechanism per assertion, gives a hint about the mistake, and computes the right answer in another
way than the library does.
"""

import importlib
import pkgutil

from ctsm_workbench.course.checks.frame import CHECKS, CheckFailed

for lesson in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(lesson.name)
globals().update(CHECKS)

__all__ = ["CHECKS", "CheckFailed", *CHECKS]
