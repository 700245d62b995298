"""Weights: safetensors with a checksum, written beside their place and renamed.

A changed byte is noticed, and so are two tensors that have changed places.
"""

import hashlib
import json
import os
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ctsm_lib.config import Config
from ctsm_lib.errors import RunError
from ctsm_lib.files import remove

WIDTHS = ("dim", "key_depth", "ffn_dim", "small_key_depth", "small_ffn_dim", "compressed_dim")


def save_tensors(path: Path, tensors: dict[str, Tensor], facts: dict | None = None) -> None:
    """Write tensors, with `facts` and a checksum in the header; a `RunError` if that fails."""
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

    Raises `RunError` where it is missing, damaged, or something else.
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

    Raises `RunError` where the file is damaged or of another model; a difference is named.
    """
    if not path.is_file():
        raise RunError(f"{path} is missing: the run has no weights yet.")
    tensors, facts = load_tensors(path)
    own = model.state_dict()
    tensors.pop("decoder.pointer.usual", None)  # a copy of log_unigram, in files of older versions
    for name in sorted(own.keys() ^ tensors.keys()):
        lacks = "the file lacks" if name in own else "the model lacks"
        way_out = "Read it with the version that wrote it, or train again."
        raise RunError(f"{path} is of another model: {lacks} {name[:80]}. {way_out}")
    for name, tensor in sorted(tensors.items()):
        if (tensor.dtype, tensor.shape) != (own[name].dtype, own[name].shape):
            expected = _kind(own[name])
            raise RunError(f"{path}: {name} is {_kind(tensor)} where {expected} belongs.")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise RunError(f"{path}: {name} holds values that are not finite.")
    model.load_state_dict(tensors)
    return facts


def _kind(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def require_size(path: Path, config: Config) -> None:
    """Refuse weights far from the configuration, before a model of that size is made.

    Raises `RunError` where a great width of the configuration is in no shape of the file.
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


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to resume from, if there is one. A renamed folder is always complete."""
    paths = folder.glob("checkpoint-*")
    named = [(re.fullmatch(r"checkpoint-(\d+)(\.old)?", path.name), path) for path in paths]
    found = [(int(match[1]), match[2] is None, path) for match, path in named if match]
    return max(found)[2] if found else None
