"""CTSM, a module for each section of the paper. Nothing in here reads a file."""

from ctsm_lib.model.ctsm import CTSM, Memory, Output, Tables

__all__ = ["CTSM", "Memory", "Output", "Tables"]
