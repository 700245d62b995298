"""Run folders: safetensors and JSON, written to the side and renamed, so that none is ever half a run.

    runs/NAME/
      run.json             configuration, data, versions: what the run is
      vocabulary.json      its words
      log.jsonl            one line a log step or dev check
      checkpoint-000500/   model, optimizer, random states, position: to go on from (the newest one is kept)
      best.safetensors     the weights with the best dev perplexity: to answer with
Nothing is pickled, and nothing outside the folder is needed to answer.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ctsm_lib.config import Config
from ctsm_lib.corpus import Vocabulary
from ctsm_lib.errors import CtsmError, RunError

FORMAT = 1


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place and rename it there.

    Raises:
        RunError: it cannot be written.
    """
    if not path.name or path.is_dir():
        raise RunError(f"{path} cannot be written: it is a folder.")
    side = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        side.write_text(text, encoding="utf-8")
        os.replace(side, path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON as `write_text` does."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON of a run.

    Raises:
        RunError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing: {path.parent} is not a run folder of `ctsm train`.") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}). Restore it from a copy, or train again.") from error


def create_run(folder: Path, config: Config, vocabulary: Vocabulary, description: dict) -> None:
    """Begin a run folder.

    Raises:
        RunError: it exists and is not empty, or cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise RunError(f"{folder} exists. Go on with `--resume`, or choose another --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "vocabulary.json", vocabulary.words)
        run = {"format": FORMAT, "config": config.asdict(), "description": description}
        write_json(folder / "run.json", run)
    except OSError as error:
        raise RunError(f"The run folder {folder} cannot be written: {error.strerror}.") from error


def read_run(folder: Path) -> tuple[Config, Vocabulary, dict]:
    """Configuration, vocabulary and description of a run.

    Raises:
        RunError: the folder is missing, damaged, or not a run.
    """
    if not folder.is_dir():
        raise RunError(f"There is no run folder {folder}. `ctsm train --out {folder}` makes one.")
    run = read_json(folder / "run.json")
    if not isinstance(run, dict) or run.get("format") != FORMAT or not isinstance(run.get("config"), dict):
        raise RunError(f"{folder / 'run.json'} is not of a run that this version can read (format {FORMAT}).")
    words = read_json(folder / "vocabulary.json")
    try:
        config = Config.from_dict(run["config"])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise RunError("vocabulary.json is not a list of words")
        return config, Vocabulary(words), dict(run.get("description") or {})
    except CtsmError as error:
        raise RunError(f"{folder} cannot be used: {error}") from error


def read_log(folder: Path) -> list[dict]:
    """The records of a run's log.

    Raises:
        RunError: there is no log, or a line of it is not JSON.
    """
    path = folder / "log.jsonl"
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise RunError(f"{path} is missing: {folder} is not a run folder of `ctsm train`.") from None
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}).") from error


def save_weights(path: Path, model: nn.Module, facts: dict) -> None:
    """Write a model's weights and buffers with `facts` in the header."""
    side = path.with_name(f".{path.name}.{os.getpid()}")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, side, metadata={"facts": json.dumps(facts)})
    os.replace(side, path)


def load_weights(path: Path, model: nn.Module) -> dict:
    """Load weights into a model of the same configuration; returns the facts.

    Raises:
        RunError: the file is damaged, or its tensors are not this model's (the first difference is named).
    """
    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing: the run has no weights yet.") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError(f"{path} is damaged ({error}).") from error
    own = model.state_dict()
    for name in own.keys() | tensors.keys():
        if name not in own or name not in tensors:
            where = "the file lacks" if name in own else "the model lacks"
            raise RunError(f"{path} is of another model: {where} {name}.")
        if own[name].shape != tensors[name].shape:
            raise RunError(f"{path}: {name} is {list(tensors[name].shape)} where {list(own[name].shape)} belongs.")
        if tensors[name].is_floating_point() and not torch.isfinite(tensors[name]).all():
            raise RunError(f"{path}: {name} holds values that are not finite.")
    model.load_state_dict(tensors)
    return facts


def save_checkpoint(
    folder: Path, iteration: int, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict
) -> Path:
    """Write everything that going on needs, then drop the older checkpoint."""
    target = folder / f"checkpoint-{iteration:06d}"
    side = folder / f".checkpoint-{os.getpid()}"
    shutil.rmtree(side, ignore_errors=True)
    side.mkdir()
    save_weights(side / "model.safetensors", model, {"iteration": iteration})
    save_file(_optimizer_tensors(model, optimizer), side / "optimizer.safetensors")
    save_file(_random_states(), side / "random.safetensors")
    write_json(side / "state.json", state | {"iteration": iteration})
    if target.exists():  # the same position, reached again after a resume
        shutil.rmtree(target)
    os.replace(side, target)
    for old in folder.glob("checkpoint-*"):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    return target


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from, if there is one. A renamed folder is whole: no other sign is needed."""
    return max(folder.glob("checkpoint-[0-9]*"), default=None)


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """Put a run back where it was; returns its state.

    Raises:
        RunError: a file is missing, damaged or of another model.
    """
    state = read_json(path / "state.json")
    load_weights(path / "model.safetensors", model)
    try:
        tensors = load_file(path / "optimizer.safetensors")
        random = load_file(path / "random.safetensors")
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} is damaged ({error}).") from error
    for name, parameter in model.named_parameters():
        own = {key.partition("/")[0]: value for key, value in tensors.items() if key.partition("/")[2] == name}
        if own:
            optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in own.items()}
    torch.set_rng_state(random["cpu"])
    if torch.cuda.is_available() and "cuda" in random:
        torch.cuda.set_rng_state(random["cuda"])
    return state


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{key}/{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states
