"""Pictures of the paper and ours, each written with the JSON it was drawn from.

`house` has what all share, `export` writes them; every other module draws one picture. plotly is imported when a picture
is drawn: reading results needs no plotting library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ctsm_lib.figures.choices import sensitivity
from ctsm_lib.figures.contextual import contextual_figure
from ctsm_lib.figures.discrepant import discrepant_figure
from ctsm_lib.figures.export import write_figure
from ctsm_lib.figures.figure1 import fig1
from ctsm_lib.figures.figure3 import fig3
from ctsm_lib.figures.house import BLUE, INK, ORANGE, template
from ctsm_lib.figures.map import search_box, word_map_figure
from ctsm_lib.figures.training import training_curve

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Drawn from the analysis of Section 5.4.
FIGURES: dict[str, Callable[[dict], go.Figure]] = {"fig3": fig3, "sensitivity": sensitivity}

__all__ = [
    "BLUE", "FIGURES", "INK", "ORANGE", "contextual_figure", "discrepant_figure", "fig1", "fig3", "search_box", "sensitivity",
    "template", "training_curve", "word_map_figure", "write_figure",
]  # fmt: skip
