"""Pictures of the paper and others, each written with the JSON it was drawn from.

`house` has what all share and writes files; the others draw results, and `diagram` the model.
"""
# ruff: noqa: F401

from ctsm_workbench.pictures.contexts import contextual_figure, fig1
from ctsm_workbench.pictures.house import BLUE, INK, ORANGE, template, write_figure
from ctsm_workbench.pictures.runs import training_curve
from ctsm_workbench.pictures.words import (
    discrepant_figure,
    fig3,
    search_box,
    sensitivity,
    word_map_figure,
)

FIGURES = {"fig3": fig3, "sensitivity": sensitivity}  # drawn from the analysis of Section 5.4
