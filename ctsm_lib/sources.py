"""Which data is used: the one place that knows paths.

`CTSM_DATA`, else `data/raw` when it is complete, else the embedded sample. A folder is used whole: what it lacks is
learned (vectors), left out (knowledge) or refused (dialogues, lexicon), never filled up from the sample.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ctsm_lib.errors import DataError

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else None
SAMPLE = PROJECT / "data" / "sample" if PROJECT else PACKAGE / "_data" / "sample"
RAW = (PROJECT or Path.cwd()) / "data" / "raw"

_LEXICONS = ("NRC-VAD-Lexicon.txt", "NRC-VAD-Lexicon-v2.1.txt", "vad-lexicon.txt")
CONCEPTS = "kemp_concepts.json"
_VECTORS = ("glove.6B.300d.extended.npz", "glove.6B.300d.txt")


def cache_folder() -> Path:
    """Where prepared data is kept: `CTSM_CACHE`, else `data/cache` of the project, else the user's cache folder."""
    if chosen := os.environ.get("CTSM_CACHE"):
        return Path(chosen).expanduser()
    return PROJECT / "data" / "cache" if PROJECT else Path.home() / ".cache" / "ctsm-lab"


@dataclass(frozen=True)
class Sources:
    """The files of one data folder.

    Attributes:
        origin: "CTSM_DATA", "data/raw" or "sample"; results carry it.
        vectors: None where they are learned from the corpus.
        knowledge: the folder with ATOMIC-like tables; None where there is none.
        concepts: JSON, word -> its emotion concepts; None where there is none. KEMP and CASE read it.
    """

    origin: str
    root: Path
    dialogues: Path
    lexicon: Path
    vectors: Path | None
    knowledge: Path | None
    concepts: Path | None = None

    def describe(self) -> dict:
        """Each part by name, for `ctsm data status`, runs and results."""
        return {
            "data": self.origin,
            "dialogues": f"{self.dialogues.name}",
            "lexicon": self.lexicon.name,
            "vectors": self.vectors.name if self.vectors else "learned from the corpus",
            "knowledge": "atomic" if self.knowledge else "none",
            "concepts": self.concepts.name if self.concepts else "none",
        }


def missing_parts(root: Path) -> list[str]:
    """What a data folder lacks to be usable."""
    missing = [
        f"empatheticdialogues/{split}.csv"
        for split in ("train", "valid", "test")
        if not (root / "empatheticdialogues" / f"{split}.csv").is_file()
    ]
    if not any((root / name).is_file() for name in _LEXICONS):
        missing.append(_LEXICONS[0])
    return missing


def find_sources(data: Path | None = None, vectors: Path | None = None) -> Sources:
    """Decide which data is used.

    Args:
        data: a folder that takes the place of `CTSM_DATA`.
        vectors: a file that takes the place of the folder's own.

    Raises:
        DataError: the chosen folder does not exist or lacks a part (each is named), or `vectors` is missing.
    """
    chosen = data or (
        Path(os.environ["CTSM_DATA"]).expanduser() if os.environ.get("CTSM_DATA") else None
    )
    if chosen is not None:
        origin, root = "CTSM_DATA" if data is None else str(data.name), chosen.resolve()
        if data is not None and root == SAMPLE.resolve():
            origin = "sample"
        if not root.is_dir():
            raise DataError(
                f"The data folder {root} does not exist. Set CTSM_DATA to another, or unset it."
            )
    elif RAW.is_dir() and not missing_parts(RAW):
        origin, root = "data/raw", RAW
    else:
        origin, root = "sample", SAMPLE
    if missing := missing_parts(root):
        raise DataError(
            f"The data folder {root} lacks {', '.join(missing)}. Fetch them with `ctsm data fetch`, "
            "or unset CTSM_DATA to use the embedded sample."
        )
    if vectors is None:
        vectors = next((root / name for name in _VECTORS if (root / name).is_file()), None)
    elif not vectors.is_file():
        raise DataError(f"--vectors {vectors}: there is no such file.")
    return Sources(
        origin,
        root,
        root / "empatheticdialogues",
        next(root / name for name in _LEXICONS if (root / name).is_file()),
        vectors,
        root / "atomic" if (root / "atomic").is_dir() else None,
        root / CONCEPTS if (root / CONCEPTS).is_file() else None,
    )
