"""Pictures of the paper and others, each written with the JSON it was drawn from.

`house` has what all share, `export` writes them; every other module draws one picture.
"""
# ruff: noqa: F401

from collections.abc import Callable

import plotly.graph_objects as go

from ctsm_workbench.pictures.choices import sensitivity
from ctsm_workbench.pictures.contextual import contextual_figure
from ctsm_workbench.pictures.discrepant import discrepant_figure
from ctsm_workbench.pictures.export import write_figure
from ctsm_workbench.pictures.figure1 import fig1
from ctsm_workbench.pictures.figure3 import fig3
from ctsm_workbench.pictures.house import BLUE, INK, ORANGE, template
from ctsm_workbench.pictures.map import search_box, word_map_figure
from ctsm_workbench.pictures.training import training_curve

# Drawn from the analysis of Section 5.4.
FIGURES: dict[str, Callable[[dict], go.Figure]] = {"fig3": fig3, "sensitivity": sensitivity}
