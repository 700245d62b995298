"""Run folders: safetensors and JSON, written to the side and renamed, so that none is ever half a run.

    runs/NAME/
      run.json             configuration, data, versions: what the run is
      vocabulary.json      its words
      log.jsonl            one line a log step or dev check
      checkpoint-000500/   model, optimizer, random states, position: to go on from (the newest one is kept)
      best.safetensors     the weights with the best dev perplexity: to answer with
Nothing is pickled, and nothing outside the folder is needed to answer. Every file of tensors carries a checksum of them:
a byte that has changed is noticed, and so are two tensors that have changed places.
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
from ctsm_lib.corpus import Vocabulary
from ctsm_lib.errors import CtsmError, RunError
from ctsm_lib.files import read_json, write_json, write_text  # noqa: F401
from ctsm_lib.files import remove as _drop

FORMAT = 1
_STATE: dict[str, type | tuple[type, ...]] = {  # what a checkpoint says of itself, where it says it
    "iteration": int, "bad_checks": int, "finished": bool, "seconds": (int, float), "best": (dict, type(None)),
    "window": dict,
}  # fmt: skip
_ADAM = {
    "step": 1.0,
    "exp_avg": -math.inf,
    "exp_avg_sq": 0.0,
}  # what it keeps of each parameter, and the least value


def create_run(folder: Path, config: Config, vocabulary: Vocabulary, description: dict) -> None:
    """Begin a run folder; `run.json` comes last, and a folder that was begun without reaching it is begun anew.

    Raises:
        RunError: it exists and is not empty, or cannot be written.
    """
    begun = re.compile(r"vocabulary\.json|\.(vocabulary|run)\.json\.\d+")
    if folder.is_dir() and not all(begun.fullmatch(path.name) for path in folder.iterdir()):
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
    if (
        not isinstance(run, dict)
        or run.get("format") != FORMAT
        or not isinstance(run.get("config"), dict)
    ):
        raise RunError(
            f"{folder / 'run.json'} is not of a run that this version can read (format {FORMAT})."
        )
    words = read_json(folder / "vocabulary.json")
    try:
        config = Config.from_dict(run["config"])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise RunError("vocabulary.json is not a list of words")
        description = run.get("description") or {}
        if not isinstance(description, dict):
            raise RunError("the description in run.json is not an object")
        return config, Vocabulary(words), description
    except CtsmError as error:
        raise RunError(f"{folder} cannot be used: {error}") from error


def read_log(folder: Path) -> list[dict]:
    """The records of a run's log.

    Raises:
        RunError: there is no log, or a line of it is not JSON.
    """
    path = folder / "log.jsonl"
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise RunError(
            f"{path} is missing: {folder} is not a run folder of `ctsm train`."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({error}).") from error
    if not all(isinstance(record, dict) for record in records):
        raise RunError(f"{path} is damaged: a line of it is not an object.")
    return records


def save_tensors(path: Path, tensors: dict[str, Tensor], facts: dict | None = None) -> None:
    """Write tensors, with `facts` and a checksum in the header, beside their place and rename the file there.

    Raises:
        RunError: it cannot be written.
    """
    side = path.with_name(f".{path.name}.{os.getpid()}")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(
            plain, side, metadata={"facts": json.dumps(facts or {}), "sha256": _checksum(plain)}
        )
        os.replace(side, path)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{path} cannot be written: {getattr(error, 'strerror', None) or error}."
        ) from error
    finally:
        _drop(side)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and facts of a file that `save_tensors` wrote.

    Raises:
        RunError: it is missing, damaged, or something else.
    """
    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        facts = json.loads(metadata.get("facts", "{}"))
        if not isinstance(facts, dict) or not isinstance(facts.get("iteration", 0), int):
            raise ValueError("its facts are none")
        if metadata.keys() - {"facts"} and metadata.get("sha256") != _checksum(
            tensors
        ):  # older files have only facts
            raise ValueError("its checksum is another one")
    except FileNotFoundError:
        raise RunError(f"{path} is missing.") from None
    except (OSError, ValueError, LookupError, RecursionError, SafetensorError) as error:
        raise RunError(f"{path} is damaged ({error}).") from error
    return tensors, facts


def _checksum(tensors: dict[str, Tensor]) -> str:
    """sha256 of names, kinds, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode(errors="replace"))
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def save_weights(path: Path, model: nn.Module, facts: dict) -> None:
    """Write a model's weights and buffers with `facts` in the header.

    Raises:
        RunError: the file cannot be written.
    """
    save_tensors(path, model.state_dict(), facts)


def load_weights(path: Path, model: nn.Module) -> dict:
    """Load weights into a model of the same configuration; returns the facts.

    Raises:
        RunError: the file is damaged, or its tensors are not this model's (the first difference is named).
    """
    if not path.is_file():
        raise RunError(f"{path} is missing: the run has no weights yet.")
    tensors, facts = load_tensors(path)
    own = model.state_dict()
    tensors.pop("decoder.pointer.usual", None)  # in older files: the model's log_unigram once more
    for name in sorted(own.keys() | tensors.keys()):
        if name not in own or name not in tensors:
            where = "the file lacks" if name in own else "the model lacks"
            raise RunError(f"{path} is of another model: {where} {name[:80]}.")
        found, belongs = (
            (tensor[name].dtype, list(tensor[name].shape)) for tensor in (tensors, own)
        )
        if found != belongs:
            found_kind, kind = (
                str(dtype).removeprefix("torch.") for dtype in (found[0], belongs[0])
            )
            raise RunError(
                f"{path}: {name} is {found[1]} {found_kind} where {belongs[1]} {kind} belongs."
            )
        if tensors[name].is_floating_point() and not torch.isfinite(tensors[name]).all():
            raise RunError(f"{path}: {name} holds values that are not finite.")
    model.load_state_dict(tensors)
    return facts


def require_size(path: Path, config: Config) -> None:
    """Refuse weights that are far from what a configuration asks for, before a model of that size is made.

    Raises:
        RunError: a great width of the configuration is in no shape of the file, or the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            shapes = [file.get_slice(name).get_shape() for name in names]
    except (OSError, ValueError, LookupError, SafetensorError) as error:
        raise RunError(f"{path} is damaged ({error}).") from error
    widths = {width for shape in shapes for width in shape}
    for name in (
        "dim",
        "key_depth",
        "ffn_dim",
        "small_key_depth",
        "small_ffn_dim",
        "compressed_dim",
    ):
        if (width := getattr(config, name)) > 1_000 and width not in widths:
            raise RunError(f"{path} is of another model than run.json, which has {name}={width}.")


def save_checkpoint(
    folder: Path, iteration: int, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict
) -> Path:
    """Write everything that going on needs, then drop the older checkpoint.

    Raises:
        RunError: it cannot be written; the older one is whole.
    """
    target = folder / f"checkpoint-{iteration:06d}"
    side = folder / f".checkpoint-{os.getpid()}"
    _drop(
        *folder.glob(".checkpoint-*"), *folder.glob(".best.safetensors.*")
    )  # of a process that was killed
    older = [path for path in folder.glob("checkpoint-*") if path != target]
    try:
        side.mkdir()
        save_weights(side / "model.safetensors", model, {"iteration": iteration})
        save_tensors(side / "optimizer.safetensors", _optimizer_tensors(model, optimizer))
        save_tensors(side / "random.safetensors", _random_states())
        state = json.loads(json.dumps(state | {"iteration": iteration}))
        write_json(side / "state.json", state | {"sha256": digest(state)})
        if target.exists():  # the same position, reached again after a resume; never is there a moment without either
            older.append(target.with_name(f"{target.name}.old"))
            _drop(older[-1])
            os.replace(target, older[-1])
        os.replace(side, target)
    except (OSError, RunError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(
            f"The checkpoint of iteration {iteration} cannot be written to {folder} ({reason}). What was there before is "
            "whole: make room, and go on with --resume."
        ) from error
    finally:
        _drop(side)
    _drop(*older)
    return target


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from, if there is one. A renamed folder is whole: no other sign is needed."""
    named = (
        (re.fullmatch(r"checkpoint-(\d+)(\.old)?", path.name), path)
        for path in folder.glob("checkpoint-*")
    )
    found = [(int(match[1]), match[2] is None, path) for match, path in named if match]
    return max(found)[2] if found else None


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """Put a run back where it was; returns its state.

    Raises:
        RunError: a file is missing, damaged or of another model.
    """
    state = _read_state(path)
    load_weights(path / "model.safetensors", model)
    tensors, _ = load_tensors(path / "optimizer.safetensors")
    own: dict[str, dict[str, Tensor]] = {name: {} for name, _ in model.named_parameters()}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        own.setdefault(name, {})[kind] = value
    for name, parameter in model.named_parameters():
        values = own.pop(name)
        shapes = {
            kind: torch.Size([]) if kind == "step" else parameter.shape for kind in _ADAM if values
        }
        if {kind: value.shape for kind, value in values.items()} != shapes:
            raise RunError(f"{path / 'optimizer.safetensors'} is of another model: see {name}.")
        if not all(
            (value.isfinite() & (value >= _ADAM[kind])).all() for kind, value in values.items()
        ):
            raise RunError(
                f"{path / 'optimizer.safetensors'}: {name} has values that no optimizer has."
            )
        if values:
            optimizer.state[parameter] = {
                kind: value.to(parameter).clone() for kind, value in values.items()
            }
    if own:
        raise RunError(
            f"{path / 'optimizer.safetensors'} is of another model, which has {next(iter(own))[:80]!r}."
        )
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
        raise RunError(
            f"{file} is damaged: its checksum is another one. Restore it from a copy, or train again."
        )
    odd = [
        name for name, kind in _STATE.items() if name in state and not isinstance(state[name], kind)
    ]
    if odd or state.get("iteration") != number:
        raise RunError(
            f"{file} is damaged: see {odd[0] if odd else 'iteration'}. Restore it, or train again."
        )
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
