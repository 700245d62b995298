"""The seven systems that Table 1 compares CTSM with, and a yardstick that it lacks, on one backbone.

Each module is one system, readable beside its paper. All share CTSM's data, batches, trainer, decoding and scores.
"""

from __future__ import annotations

from importlib import import_module

from ctsm_lib.config import Config
from ctsm_lib.model.ctsm import CTSM, Tables
from ctsm_workbench.baselines.base import Baseline
from ctsm_workbench.baselines.tfidf import TfIdf

# Name -> module and class. Imported when asked for.
BASELINES = {
    "transformer": ("transformer", "Transformer"),
    "multi-transformer": ("transformer", "MultiTransformer"),
    "moel": ("moel", "MoEL"),
    "mime": ("mime", "MIME"),
    "empdg": ("empdg", "EmpDG"),
    "kemp": ("kemp", "KEMP"),
    "cem": ("cem", "CEM"),
    "case": ("case", "CASE"),
    "tfidf": ("tfidf", "TfIdf"),
}


AnyModel = CTSM | Baseline | TfIdf


def model_class(name: str) -> type[AnyModel]:
    """The class that a configuration's `model` names."""
    if name == "ctsm":
        return CTSM
    module, kind = BASELINES[name]
    return getattr(import_module(f"ctsm_workbench.baselines.{module}"), kind)


def make_model(config: Config, tables: Tables) -> AnyModel:
    """The model that a configuration names, with new weights."""
    return model_class(config.model)(config, tables)
