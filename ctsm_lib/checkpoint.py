"""Weights and checkpoints: safetensors with a checksum, written beside their place and renamed.

A changed byte is noticed, and so are two tensors that have changed places.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ctsm_lib.cache import digest
from ctsm_lib.config import Config
from ctsm_lib.errors import RunError
from ctsm_lib.files import read_json, remove, write_json

STATE: dict[str, type | tuple[type, ...]] = {
    "iteration": int, "bad_checks": int, "finished": bool, "seconds": (int, float),
    "best": (dict, type(None)), "window": dict,
}  # fmt: skip
# The optimizer's values of a parameter, and the least value that each can have.
ADAM = {"step": 1.0, "exp_avg": -math.inf, "exp_avg_sq": 0.0}
WIDTHS = ("dim", "key_depth", "ffn_dim", "small_key_depth", "small_ffn_dim", "compressed_dim")


def save_tensors(path: Path, tensors: dict[str, Tensor], facts: dict | None = None) -> None:
    """Write tensors, with `facts` and a checksum in the header.

    Raises:
        RunError: the file cannot be written.
    """
    side = path.with_name(f".{path.name}.{os.getpid()}")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        header = {"facts": json.dumps(facts or {}), "sha256": _checksum(plain)}
        save_file(plain, side, metadata=header)
        os.replace(side, path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{path} cannot be written: {reason}.") from error
    finally:
        remove(side)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and facts of a file that `save_tensors` wrote.

    Raises:
        RunError: it is missing, damaged, or something else.
    """
    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        facts = json.loads(header.get("facts", "{}"))
        if not isinstance(facts, dict) or not isinstance(facts.get("iteration", 0), int):
            raise ValueError("its facts are none")
        # Files of older versions have facts alone.
        if header.keys() - {"facts"} and header.get("sha256") != _checksum(tensors):
            raise ValueError("its checksum is another one")
    except FileNotFoundError:
        raise RunError(f"{path} is missing.") from None
    except (OSError, ValueError, LookupError, RecursionError, SafetensorError) as error:
        raise RunError(f"{path} is damaged ({error}).") from error
    return tensors, facts


def _checksum(tensors: dict[str, Tensor]) -> str:
    """sha256 of names, dtypes, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode(errors="replace"))
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def save_weights(path: Path, model: nn.Module, facts: dict) -> None:
    """Write a model's weights and buffers as `save_tensors` does."""
    save_tensors(path, model.state_dict(), facts)


def load_weights(path: Path, model: nn.Module) -> dict:
    """Load weights into a model of the same configuration; returns the facts.

    Raises:
        RunError: the file is damaged, or its tensors are not this model's (the first difference is
            named).
    """
    if not path.is_file():
        raise RunError(f"{path} is missing: the run has no weights yet.")
    tensors, facts = load_tensors(path)
    own = model.state_dict()
    tensors.pop("decoder.pointer.usual", None)  # a copy of log_unigram, in files of older versions
    for name in sorted(own.keys() ^ tensors.keys()):
        lacks = "the file lacks" if name in own else "the model lacks"
        raise RunError(f"{path} is of another model: {lacks} {name[:80]}.")
    for name, tensor in sorted(tensors.items()):
        if (tensor.dtype, tensor.shape) != (own[name].dtype, own[name].shape):
            found, expected = _kind(tensor), _kind(own[name])
            raise RunError(f"{path}: {name} is {found} where {expected} belongs.")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise RunError(f"{path}: {name} holds values that are not finite.")
    model.load_state_dict(tensors)
    return facts


def _kind(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def require_size(path: Path, config: Config) -> None:
    """Refuse weights far from the configuration, before a model of that size is made.

    Raises:
        RunError: a great width of the configuration is in no shape of the file, or the file is
            damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            widths = {width for name in names for width in file.get_slice(name).get_shape()}
    except (OSError, ValueError, LookupError, SafetensorError) as error:
        raise RunError(f"{path} is damaged ({error}).") from error
    for name in WIDTHS:
        if (width := getattr(config, name)) > 1_000 and width not in widths:
            raise RunError(f"{path} is of another model than run.json, which has {name}={width}.")


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


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to resume from, if there is one. A renamed folder is always complete."""
    paths = folder.glob("checkpoint-*")
    named = [(re.fullmatch(r"checkpoint-(\d+)(\.old)?", path.name), path) for path in paths]
    found = [(int(match[1]), match[2] is None, path) for match, path in named if match]
    return max(found)[2] if found else None


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
