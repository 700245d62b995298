"""`python -m ctsm_lib` does the same as `ctsm`, the command of the workbench.

The library does not import the workbench. This module alone looks it up, when it is run.
"""

import sys
from importlib import import_module
from importlib.util import find_spec

if __name__ == "__main__":
    if find_spec("ctsm_workbench") is None:
        sys.exit("error: the command line is part of ctsm_workbench, which is not installed.")
    import_module("ctsm_workbench.cli").main()
