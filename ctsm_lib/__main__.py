"""`python -m ctsm_lib` is the same as `ctsm`."""

from ctsm_workbench.cli import main

if __name__ == "__main__":
    main()
