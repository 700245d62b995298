"""The data that is used: the one place that knows paths.

`CTSM_DATA`, else `data/raw` when it is complete, else the embedded sample. A folder is never filled
up from the sample: vectors that it lacks are learned, and knowledge that it lacks is left out.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from ctsm_lib.errors import DataError

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else None
SAMPLE = PROJECT / "data" / "sample" if PROJECT else PACKAGE / "_data" / "sample"
RAW = (PROJECT or Path.cwd()) / "data" / "raw"

_DIALOGUES = [f"empatheticdialogues/{split}.csv" for split in ("train", "valid", "test")]
_LEXICONS = ("NRC-VAD-Lexicon.txt", "NRC-VAD-Lexicon-v2.1.txt", "vad-lexicon.txt")
_VECTORS = ("glove.6B.300d.extended.npz", "glove.6B.300d.txt")


def cache_folder() -> Path:
    """Folder of prepared data: `CTSM_CACHE`, else the project's `data/cache`, else the user's."""
    if chosen := os.environ.get("CTSM_CACHE"):
        return Path(chosen).expanduser()
    return PROJECT / "data" / "cache" if PROJECT else Path.home() / ".cache" / "ctsm-lab"


@dataclass(frozen=True)
class Sources:
    """The files of one data folder; None for optional ones that it lacks."""

    origin: str  # "CTSM_DATA", "data/raw", "sample" or the name of a folder; part of results
    root: Path
    dialogues: Path
    lexicon: Path
    vectors: Path | None  # else they are learned from the corpus
    knowledge: Path | None  # the folder with ATOMIC-like tables
    concepts: Path | None = None  # related words from ConceptNet, for KEMP and CASE

    def describe(self) -> dict:
        """Each part by name, for `ctsm data status`, runs and results."""
        return {
            "data": self.origin,
            "dialogues": self.dialogues.name,
            "lexicon": self.lexicon.name,
            "vectors": self.vectors.name if self.vectors else "learned from the corpus",
            "knowledge": "atomic" if self.knowledge else "none",
            "concepts": self.concepts.name if self.concepts else "none",
        }


def missing_parts(root: Path) -> list[str]:
    """The parts that a data folder must have and lacks."""
    missing = [name for name in _DIALOGUES if not (root / name).is_file()]
    return missing if _first(root, _LEXICONS) else [*missing, _LEXICONS[0]]


def _first(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).is_file()), None)


def find_sources(data: Path | None = None, vectors: Path | None = None) -> Sources:
    """Find the data: in the folder `data` or else as above, with `vectors` in place of its own.

    A folder that does not exist or lacks a part (each is named) raises a `DataError`.
    """
    named = os.environ.get("CTSM_DATA")
    if data or named:
        root = (data or Path(named or "").expanduser()).resolve()
        origin = data.name if data else "CTSM_DATA"
        if data and root == SAMPLE.resolve():
            origin = "sample"
        if not root.is_dir():
            reason = "does not exist. Set CTSM_DATA to another, or unset it"
            raise DataError(f"The data folder {root} {reason}.")
    else:
        complete = RAW.is_dir() and not missing_parts(RAW)
        origin = "data/raw" if complete else "sample"
        root = RAW if complete else SAMPLE
    lexicon = _first(root, _LEXICONS)
    missing = missing_parts(root)
    if missing or lexicon is None:
        raise DataError(
            f"The data folder {root} lacks {', '.join(missing)}. Fetch them with "
            "`ctsm data fetch`, or unset CTSM_DATA to use the embedded sample."
        )
    if vectors and not vectors.is_file():
        raise DataError(f"--vectors {vectors}: there is no such file.")
    return Sources(
        origin=origin,
        root=root,
        dialogues=root / "empatheticdialogues",
        lexicon=lexicon,
        vectors=vectors or _first(root, _VECTORS),
        knowledge=root / "atomic" if (root / "atomic").is_dir() else None,
        concepts=_first(root, ("conceptnet.tsv", "conceptnet_cn100k.tsv")),
    )
