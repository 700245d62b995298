"""ctsm_lib: trait and state emotions in conversation, after the paper CTSM (LREC-COLING 2024).

The names that a lesson needs can be imported from here; each is loaded when it is used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "preset": "config", "tokenize": "corpus", "EMOTIONS": "corpus", "Vocabulary": "corpus",
    "read_dialogues": "corpus", "read_lexicon": "lexicon", "intensity": "lexicon",
    "find_sources": "sources", "prepare": "prepare", "CTSM": "model", "Tables": "interface",
    "build_model": "training", "make_optimizer": "training", "learning_rate": "training",
    "train": "training", "Decoding": "decoding", "answer_batch": "decoding", "load_run": "runs",
    "score_pairs": "scores", "distinct": "scores", "state_polarity": "polarity",
    "trait_polarity": "polarity",
}  # fmt: skip
__all__ = [*_NAMES]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
