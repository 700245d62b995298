"""CTSM, one module for each section of the paper. Nothing in here reads a file."""

from ctsm_lib.model.ctsm import CTSM, Reading

__all__ = ["CTSM", "Reading"]
