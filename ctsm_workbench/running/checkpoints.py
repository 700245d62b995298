"""Checkpoints: everything that resuming a run needs. A checkpoint is complete or absent.

A resumed run continues to the same bits as if it had never stopped, and so does its log.
"""

import math
import os
from pathlib import Path
from typing import get_type_hints

import torch
from torch import nn

from ctsm_lib.cache import digest
from ctsm_lib.checkpoint import load_tensors, load_weights, save_tensors, save_weights
from ctsm_lib.config import Config
from ctsm_lib.corpus import Vocabulary
from ctsm_lib.errors import RunError
from ctsm_lib.files import beside, read_json, remove, write_json
from ctsm_lib.run_folder import read_run
from ctsm_lib.training import Progress

# The optimizer's values of a parameter, and the least value that each can have.
ADAM = {"step": 1.0, "exp_avg": -math.inf, "exp_avg_sq": 0.0}
CHANGEABLE = {"max_iterations", "patience", "check_every"}  # when a run is resumed


def require_same_run(folder: Path, config: Config, vocabulary: Vocabulary) -> None:
    """Refuse to resume a run with other settings or other words; raises `RunError`."""
    old, words, _ = read_run(folder)
    now = config.asdict()
    before = [item for item in old.asdict().items() if item[0] not in CHANGEABLE]
    changed = ", ".join(f"{name}={value}" for name, value in before if value != now[name])
    if changed:
        raise RunError(f"{folder} was begun with {changed}; resume it with that.")
    if words.words != vocabulary.words:
        found = f"{len(words)} words, the data has {len(vocabulary)}"
        raise RunError(f"{folder} was begun with {found}: it is other data.")


def save_checkpoint(
    folder: Path, iteration: int, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict
) -> None:
    """Write everything that resuming needs, then remove the older checkpoint.

    Where it cannot be written, a `RunError` is raised and the older one stays.
    """
    # Leftovers of a process that was killed.
    remove(*folder.glob(".checkpoint-*"), *folder.glob(".best.safetensors.*"))
    target = folder / f"checkpoint-{iteration:06d}"
    older = [path for path in folder.glob("checkpoint-*") if path != target]
    moments = {
        f"{kind}/{name}": torch.as_tensor(value)
        for name, parameter in model.named_parameters()
        for kind, value in optimizer.state.get(parameter, {}).items()
    }
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    state = state | {"iteration": iteration}
    try:
        if target.exists():  # a resumed run is here again; one of the two is always in place
            older.append(target.with_name(f"{target.name}.old"))
            remove(older[-1])
            os.replace(target, older[-1])
        with beside(target) as side:
            side.mkdir()
            save_weights(side / "model.safetensors", model, {"iteration": iteration})
            save_tensors(side / "optimizer.safetensors", moments)
            save_tensors(side / "random.safetensors", random)
            write_json(side / "state.json", state | {"sha256": digest(state)})
    except (OSError, RunError) as error:
        found = f"The checkpoint of iteration {iteration} cannot be written to {folder} ({error})."
        kept = "The one before it is complete: make room, and continue with --resume."
        raise RunError(f"{found} {kept}") from error
    remove(*older)


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """Put a run back and return its state; a `RunError` if a file is missing, damaged, foreign."""
    state = _read_state(path)
    load_weights(path / "model.safetensors", model)
    _load_optimizer(path / "optimizer.safetensors", model, optimizer)
    random, _ = load_tensors(path / "random.safetensors")
    try:
        torch.set_rng_state(random["cpu"])
        if torch.cuda.is_available() and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"])
    except (KeyError, RuntimeError, TypeError) as error:
        raise RunError(f"{path / 'random.safetensors'} is damaged ({error}).") from error
    return state


def _read_state(path: Path) -> dict:
    file = path / "state.json"
    state = read_json(file)
    kinds = get_type_hints(Progress) | {"window": dict}
    if not isinstance(state, dict) or state.pop("sha256", None) not in (None, digest(state)):
        odd = "its checksum"
    elif state.get("iteration") != int(path.stem.removeprefix("checkpoint-")):
        odd = "iteration"
    else:
        odd = next((n for n in kinds if n in state and not isinstance(state[n], kinds[n])), "")
    if odd:
        raise RunError(f"{file} is damaged: see {odd}. Restore it, or train again.")
    return state


def _load_optimizer(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    saved, _ = load_tensors(path)
    for name, parameter in model.named_parameters():
        keys = {kind: f"{kind}/{name}" for kind in ADAM}
        values = {kind: saved.pop(key) for kind, key in keys.items() if key in saved}
        shapes = {kind: torch.Size([]) if kind == "step" else parameter.shape for kind in ADAM}
        if values and {kind: value.shape for kind, value in values.items()} != shapes:
            raise RunError(f"{path} is of another model: see {name}.")
        if not all((v.isfinite() & (v >= ADAM[kind])).all() for kind, v in values.items()):
            raise RunError(f"{path}: {name} has values that no optimizer has.")
        if values:
            optimizer.state[parameter] = {k: v.to(parameter).clone() for k, v in values.items()}
    if saved:
        raise RunError(f"{path} is of another model, which has {next(iter(saved))[:80]!r}.")
