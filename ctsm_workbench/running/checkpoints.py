"""Checkpoints: everything that resuming a run needs. A checkpoint is complete or absent.

A resumed run continues to the same bits as if it had never stopped, and so does its log.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ctsm_lib.cache import digest
from ctsm_lib.checkpoint import load_tensors, load_weights, save_tensors, save_weights
from ctsm_lib.config import Config
from ctsm_lib.corpus import Vocabulary
from ctsm_lib.errors import RunError
from ctsm_lib.files import read_json, remove, write_json, write_text
from ctsm_lib.parallel import rank
from ctsm_lib.run_folder import read_run
from ctsm_workbench.running.log import TrainingLog

STATE: dict[str, type | tuple[type, ...]] = {
    "iteration": int, "bad_checks": int, "finished": bool, "seconds": (int, float),
    "best": (dict, type(None)), "window": dict,
}  # fmt: skip
# The optimizer's values of a parameter, and the least value that each can have.
ADAM = {"step": 1.0, "exp_avg": -math.inf, "exp_avg_sq": 0.0}

CHANGEABLE = {"max_iterations", "patience", "check_every"}  # when a run is resumed


def require_same_run(folder: Path, config: Config, vocabulary: Vocabulary) -> None:
    """Refuse to resume a run with other settings or other words.

    Raises:
        RunError: something differs, or as `read_run`.
    """
    old, words, _ = read_run(folder)
    changed = [
        f"{name}={getattr(old, name)}"
        for name, value in config.asdict().items()
        if value != getattr(old, name) and name not in CHANGEABLE
    ]
    if changed:
        raise RunError(f"{folder} was begun with {', '.join(changed)}; resume it with that.")
    if words.words != vocabulary.words:
        found = f"{len(words)} words, the data has {len(vocabulary)}"
        raise RunError(f"{folder} was begun with {found}: it is other data.")


def save_checkpoint(
    folder: Path, iteration: int, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict
) -> Path:
    """Write everything that resuming needs, then remove the older checkpoint.

    Raises:
        RunError: it cannot be written; the older one is whole.
    """
    target = folder / f"checkpoint-{iteration:06d}"
    side = folder / f".checkpoint-{os.getpid()}"
    # Leftovers of a process that was killed.
    remove(*folder.glob(".checkpoint-*"), *folder.glob(".best.safetensors.*"))
    older = [path for path in folder.glob("checkpoint-*") if path != target]
    try:
        side.mkdir()
        save_weights(side / "model.safetensors", model, {"iteration": iteration})
        save_tensors(side / "optimizer.safetensors", _optimizer_tensors(model, optimizer))
        save_tensors(side / "random.safetensors", _random_states())
        state = json.loads(json.dumps(state | {"iteration": iteration}))
        write_json(side / "state.json", state | {"sha256": digest(state)})
        if target.exists():  # a resumed run is here again; one of the two is always in place
            older.append(target.with_name(f"{target.name}.old"))
            remove(older[-1])
            os.replace(target, older[-1])
        os.replace(side, target)
    except (OSError, RunError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(
            f"The checkpoint of iteration {iteration} cannot be written to {folder} ({reason}). "
            "What was there before is whole: make room, and go on with --resume."
        ) from error
    finally:
        remove(side)
    remove(*older)
    return target


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """Put a run back where it was; returns its state.

    Raises:
        RunError: a file is missing, damaged or of another model.
    """
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
    file, number = path / "state.json", int(path.stem.removeprefix("checkpoint-"))
    state = read_json(file)
    if not isinstance(state, dict) or state.pop("sha256", None) not in (None, digest(state)):
        found = f"{file} is damaged: its checksum is another one."
        raise RunError(f"{found} Restore it from a copy, or train again.")
    odd = [n for n, kind in STATE.items() if n in state and not isinstance(state[n], kind)]
    if odd or state.get("iteration") != number:
        name = odd[0] if odd else "iteration"
        raise RunError(f"{file} is damaged: see {name}. Restore it, or train again.")
    return state


def _load_optimizer(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    tensors, _ = load_tensors(path)
    saved: dict[str, dict[str, Tensor]] = {name: {} for name, _ in model.named_parameters()}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        saved.setdefault(name, {})[kind] = value
    for name, parameter in model.named_parameters():
        values = saved.pop(name)
        shapes = {kind: torch.Size([]) if kind == "step" else parameter.shape for kind in ADAM}
        if values and {kind: value.shape for kind, value in values.items()} != shapes:
            raise RunError(f"{path} is of another model: see {name}.")
        if not all((v.isfinite() & (v >= ADAM[kind])).all() for kind, v in values.items()):
            raise RunError(f"{path}: {name} has values that no optimizer has.")
        if values:
            optimizer.state[parameter] = {k: v.to(parameter).clone() for k, v in values.items()}
    if saved:
        raise RunError(f"{path} is of another model, which has {next(iter(saved))[:80]!r}.")


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


def log_state(log: TrainingLog) -> dict[str, Any]:
    """Losses that the log has not written yet; all processes must ask together."""
    return {"names": log.names, "rows": log.rows().tolist()}


def restore_log(log: TrainingLog, saved: dict[str, Any] | None, iteration: int) -> None:
    """Put a log back where a checkpoint has it; lines behind it will be written again."""
    if saved:
        rows = torch.tensor(saved["rows"], device=log.device)
        log.names = saved["names"]
        log.kept = list(rows if rank() == 0 else torch.zeros_like(rows))
    if rank() or not log.path.is_file():
        return
    kept = []
    for line in log.path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["iteration"] <= iteration:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue  # a line cut off by a kill
    write_text(log.path, "".join(f"{line}\n" for line in kept))
