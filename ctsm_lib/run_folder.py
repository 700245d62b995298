"""Run folders: everything that a run is, in JSON and safetensors; nothing is pickled.

    runs/NAME/
      run.json             configuration, data, versions
      vocabulary.json      the words
      log.jsonl            a line for each log step and dev check
      checkpoint-000500/   model, optimizer, random states, position: the newest one, to resume
      best.safetensors     the weights with the best dev perplexity, to answer with

Nothing outside of the folder is needed to answer.
"""

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import ctsm_lib
from ctsm_lib.config import Config
from ctsm_lib.corpus import Vocabulary
from ctsm_lib.errors import CtsmError, RunError
from ctsm_lib.files import read_json, write_json

FORMAT = 1


def create_run(folder: Path, config: Config, vocabulary: Vocabulary, description: dict) -> None:
    """Begin a run folder. `run.json` is written last: without it a folder is begun anew.

    Raises `RunError` where it exists and is not empty, or cannot be written.
    """
    begun = re.compile(r"vocabulary\.json|\.(vocabulary|run)\.json\.\d+")
    if folder.is_dir() and not all(begun.fullmatch(path.name) for path in folder.iterdir()):
        raise RunError(f"{folder} exists. Go on with `--resume`, or choose another --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"The run folder {folder} cannot be written: {error.strerror}.") from error
    write_json(folder / "vocabulary.json", vocabulary.words)
    run = {"format": FORMAT, "config": config.asdict(), "description": description}
    write_json(folder / "run.json", run)


def read_run(folder: Path) -> tuple[Config, Vocabulary, dict]:
    """Configuration, vocabulary and description of a run; a `RunError` if it is none."""
    if not folder.is_dir():
        raise RunError(f"There is no run folder {folder}. `ctsm train --out {folder}` makes one.")
    path = folder / "run.json"
    run = read_json(path)
    own = run.get("config") if isinstance(run, dict) else None
    if not isinstance(own, dict) or run.get("format") != FORMAT:
        raise RunError(f"{path} is not of a run that this version can read (format {FORMAT}).")
    words = read_json(folder / "vocabulary.json")
    description = run.get("description") or {}
    try:
        config = Config.from_dict(own)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise RunError("vocabulary.json is not a list of words")
        if not isinstance(description, dict):
            raise RunError("the description in run.json is not an object")
        return config, Vocabulary(words), description
    except CtsmError as error:
        raise RunError(f"{folder} cannot be used: {error}") from error


def versions() -> dict[str, str]:
    """Versions of the library, Python and the packages that numbers depend on."""
    found = {"ctsm_lib": ctsm_lib.__version__, "python": platform.python_version()}
    for package in ("torch", "numpy", "nltk", "accelerate", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
