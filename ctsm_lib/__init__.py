"""ctsm_lib: trait and state emotions in conversation, after the paper CTSM (LREC-COLING 2024)."""

__version__ = "0.1.0"
