"""The training loop, from the first batch to the last checkpoint. Paper: Sec. 4.2; specification, Section 4."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn
from tqdm import tqdm

from ctsm_lib import parallel
from ctsm_lib.batches import Shuffled
from ctsm_lib.checkpoint import (
    create_run,
    load_checkpoint,
    newest_checkpoint,
    read_run,
    save_checkpoint,
    save_weights,
    write_text,
)
from ctsm_lib.config import Config
from ctsm_lib.errors import RunError
from ctsm_lib.model.generation import DecoderLayer
from ctsm_lib.model.layers import EncoderLayer
from ctsm_lib.prepare import Prepared
from ctsm_lib.scores import score_pairs, teacher_forced
from ctsm_lib.versions import versions
from ctsm_lib.watch import Window, alone, graceful_stop, save_batch, unsound_weights
from ctsm_lib.registry import model_class

log = logging.getLogger(__name__)

LOG_EVERY = 20  # iterations; reading a loss makes a GPU wait


def build_model(config: Config, prepared: Prepared) -> Any:
    """The model that the configuration names, new; its weights depend on the seed only."""
    torch.manual_seed(config.seed)
    return model_class(config)(config, prepared.tables(config))


def make_optimizer(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """Adam or AdamW, fused (one pass over the parameters, on the CPU too); matrices decay, vectors and the word table do not."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decays = [p for name, p in trained if p.dim() > 1 and not name.startswith("embed.")]
    others = [p for name, p in trained if p.dim() <= 1 or name.startswith("embed.")]
    groups = [
        {"params": decays, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=0.0, betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True)


def compile_layers(model: nn.Module, backend: str = "inductor") -> None:
    """Compile each Transformer layer by itself, for any length: the same numbers to rounding from fewer, larger kernels.

    The rest of a step is left alone: it depends on how many real words there are, and its operations are large.
    """
    for module in model.modules():
        if isinstance(module, (EncoderLayer, DecoderLayer)):
            module.compile(dynamic=True, backend=backend)


def learning_rate(config: Config, iteration: int) -> float:
    """Rate of an iteration, counted from 1.

    "noam": `factor d^-0.5 min(i^-0.5, i warmup^-1.5)` (Vaswani et al., 2017); "linear": up to the peak, then down to 0.
    """
    if config.schedule == "noam":
        return (
            config.learning_rate
            * config.dim**-0.5
            * min(iteration**-0.5, iteration * config.warmup**-1.5)
        )
    rise = iteration / config.warmup
    fall = (config.max_iterations - iteration) / max(config.max_iterations - config.warmup, 1)
    return config.learning_rate * max(min(rise, fall), 0.0)


def train(
    config: Config,
    prepared: Prepared,
    out: Path,
    *,
    resume: bool = False,
    cpu: bool = False,
    stop_after: int | None = None,
    progress: bool = True,
    tensorboard: bool = False,
    compiled: bool = False,
) -> dict:
    """Train one run, or go on with it.

    Args:
        out: the run folder; new, or with `resume` one that was begun.
        stop_after: end at this iteration as if interrupted (the schedule still is `max_iterations` long).
        tensorboard: also write event files to `out/tensorboard`.
        compiled: compile the layers (`compile_layers`).

    Returns:
        iteration, finished, interrupted, best (dev scores) and seconds.

    Raises:
        RunError: the folder exists (or does not, with `resume`), cannot be written, or another process trains in it; or a
            loss is no sensible number: its batch is then kept in the folder.
    """
    distributed = DistributedDataParallelKwargs(find_unused_parameters=True)
    if config.model == "tfidf":
        return _fit(config, prepared, out, resume)
    precision = "bf16" if config.precision == "bf16" else "no"
    AcceleratorState._reset_state()  # a notebook's next run may have another precision
    accelerator = Accelerator(cpu=cpu, mixed_precision=precision, kwargs_handlers=[distributed])
    device, main = accelerator.device, accelerator.is_main_process
    words = prepared.corpus.vocabulary
    if resume:
        _check_same_run(out, config, words.words)
    elif main:
        used = {
            "device": str(device),
            "threads": torch.get_num_threads(),
            "processes": parallel.world(),
        }
        used |= {"compiled": compiled}
        create_run(out, config, words, prepared.description | used | {"versions": versions()})
    with alone(out):
        return _iterate(
            config, prepared, out, accelerator, resume, stop_after, progress, tensorboard, compiled
        )


def _iterate(  # type: ignore[no-untyped-def]
    config: Config, prepared: Prepared, out: Path, accelerator, resume: bool, stop_after: int | None,
    progress: bool, tensorboard: bool, compiled: bool,
) -> dict:  # fmt: skip
    """All iterations of a run whose folder is there, or those that are left."""
    device, main = accelerator.device, accelerator.is_main_process
    model = build_model(config, prepared).to(device)
    if compiled:
        compile_layers(model)
    optimizer = make_optimizer(config, model)
    state: dict = {"iteration": 0, "best": None, "bad_checks": 0, "seconds": 0.0, "finished": False}
    if resume and (checkpoint := newest_checkpoint(out)):
        state |= load_checkpoint(checkpoint, model, optimizer)
    if resume and main:
        _forget_after(out / "log.jsonl", state["iteration"])
    parallel.require_alike(
        config.asdict() | prepared.description | {"iteration": state["iteration"]}
    )
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    wrapped.train()
    if parallel.rank():  # dropout differs between processes
        torch.manual_seed(config.seed + 1_000 * parallel.rank() + 1_000_000 * state["iteration"])

    order = Shuffled(prepared.pairs["train"], config.batch_size, config.seed)
    records = (out / "log.jsonl").open("a", encoding="utf-8") if main else None
    board = _tensorboard(out) if tensorboard and main else None
    last = min(config.max_iterations, stop_after or config.max_iterations)
    bar = tqdm(
        total=config.max_iterations,
        initial=state["iteration"],
        disable=None if progress and main else True,
        unit="it",
    )
    window, seen, since = Window(state.pop("window", None), device), 0, time.monotonic()
    begun, before = time.monotonic(), state["seconds"]

    def write(record: dict) -> None:
        if records is not None:
            try:
                records.write(json.dumps(record) + "\n")
                records.flush()
            except OSError as error:
                raise RunError(
                    f"{out / 'log.jsonl'} cannot be written: {error.strerror}. Then use --resume."
                ) from error
        if board is not None:
            for name, value in record.items():
                board.add_scalar(name, value, record["iteration"])

    def require_sound() -> None:
        late, odd = window.unsound() or (0, {})
        spoiled = None if odd else unsound_weights(model)
        if not odd and not spoiled:
            return
        iteration = state["iteration"] - late
        path = out / f"bad-batch-{iteration:06d}.safetensors"
        facts = {
            "iteration": iteration,
            "lr": learning_rate(config, iteration),
            "odd": {n: str(v) for n, v in odd.items()},
        }
        if main:
            save_batch(path, prepared.pairs["train"].collate(order[iteration - 1]), facts)
        said = (
            ", ".join(f"{name} is {value:.4g}" for name, value in odd.items())
            or f"{spoiled} is no longer finite"
        )
        raise RunError(
            f"Iteration {iteration}: {said}. Its batch is in {path}; what was saved is from before. "
            "Lower learning_rate, or set clip=1."
        )

    def save() -> None:
        require_sound()  # what is spoiled takes no good checkpoint's place
        state["seconds"], kept = before + time.monotonic() - begun, {"window": window.asdict()}
        if main:
            save_checkpoint(out, state["iteration"], model, _plain(optimizer), state | kept)
        accelerator.wait_for_everyone()

    if resume:  # another number of threads or processes adds up in another order
        write(
            {
                "iteration": state["iteration"],
                "threads": torch.get_num_threads(),
                "processes": parallel.world(),
            }
        )

    interrupted = False
    with graceful_stop() as stop:
        while state["iteration"] < last and not state["finished"]:
            iteration = state["iteration"] + 1
            index = order[iteration - 1]
            batch = prepared.pairs["train"].collate(index, parallel.share()).to(device)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, iteration)
            with accelerator.autocast():
                output = wrapped(batch)
            accelerator.backward(output.losses["total"])
            norm = (
                accelerator.clip_grad_norm_(wrapped.parameters(), config.clip)
                if config.clip
                else None
            )
            optimizer.step()
            optimizer.zero_grad()
            state["iteration"] = iteration
            window.add(output, batch, norm)
            seen += len(index)
            bar.update()
            if iteration % LOG_EVERY == 0 or iteration == last:
                require_sound()
                record = window.means()
                rate = seen / max(time.monotonic() - since, 1e-9)
                bar.set_postfix_str(_postfix(record, rate))
                write(
                    {
                        "iteration": iteration,
                        "lr": learning_rate(config, iteration),
                        "examples_per_s": rate,
                        **record,
                    }
                )
                window, seen, since = Window(), 0, time.monotonic()
            if (
                iteration % config.check_every == 0 and iteration >= config.check_from
            ) or iteration == config.max_iterations:
                require_sound()
                _check(config, state, wrapped, prepared, device, accelerator, out, write)
                save()
                since = time.monotonic()
            elif iteration % config.check_every == 0:
                save()
            interrupted = parallel.any_of(bool(stop)) or (
                iteration == last and last < config.max_iterations
            )
            if interrupted:
                save()
                break
    bar.close()
    state["finished"] = state["finished"] or state["iteration"] >= config.max_iterations
    if state["best"] is None and not interrupted:
        save()
    if records is not None:
        records.close()
    state["seconds"] = before + time.monotonic() - begun
    return state | {"interrupted": interrupted}


def _fit(config: Config, prepared: Prepared, out: Path, resume: bool) -> dict:
    """A model that scikit-learn fits: one step, after which the run folder is as any other. Every process does the same."""
    begun, words, main = time.monotonic(), prepared.corpus.vocabulary, parallel.rank() == 0
    if resume:
        _check_same_run(out, config, words.words)
    elif main:
        create_run(
            out, config, words, prepared.description | {"device": "cpu", "versions": versions()}
        )
    model = cast(TfIdf, build_model(config, prepared))
    model.fit(prepared.pairs["train"])
    scores = teacher_forced(score_pairs(model, prepared.pairs["valid"]))
    record = {"iteration": 0} | {f"dev_{name}": value for name, value in scores.items()}
    best = scores | {"iteration": 0}
    if main:
        write_text(out / "log.jsonl", json.dumps(record) + "\n")
        save_weights(out / "best.safetensors", model, best)
    seconds = time.monotonic() - begun
    return {
        "iteration": 0,
        "best": best,
        "seconds": seconds,
        "finished": True,
        "interrupted": False,
    }


def _check(config, state, model, prepared, device, accelerator, out, write) -> None:  # type: ignore[no-untyped-def]
    """Score all dev pairs, keep the best weights, and decide whether to stop; all processes come to the same."""
    with accelerator.autocast():
        scores = teacher_forced(
            score_pairs(accelerator.unwrap_model(model), prepared.pairs["valid"], device)
        )
    iteration = state["iteration"]
    write({"iteration": iteration} | {f"dev_{name}": value for name, value in scores.items()})
    log.info(
        "iteration %d: dev %s", iteration, {name: round(value, 2) for name, value in scores.items()}
    )
    if accelerator.is_main_process:
        tqdm.write(f"iteration {iteration}: dev {said(scores)}")
    if state["best"] is None or scores["ppl_token"] < state["best"]["ppl_token"]:
        state["best"], state["bad_checks"] = scores | {"iteration": iteration}, 0
        if accelerator.is_main_process:
            save_weights(out / "best.safetensors", accelerator.unwrap_model(model), state["best"])
    else:
        state["bad_checks"] += 1
        state["finished"] = 0 < config.patience <= state["bad_checks"]


def _postfix(record: dict[str, float], rate: float) -> str:
    names = ("generation", "emotion", "teacher", "student", "contrast", "diversity")
    losses = " ".join(f"{name[:3]} {record[name]:.2f}" for name in names if name in record)
    heard = f" acc {record['acc']:.0f}%" if "acc" in record else ""
    return f"{losses} | ppl {record['ppl']:.1f}{heard} | {rate:.0f} ex/s"


def said(scores: dict[str, float]) -> str:
    """The scores of a dev check in words; a model has those of what it predicts."""
    return ", ".join(
        f"{name} {scores[name]:.2f}" for name in ("ppl_token", "acc") if name in scores
    )


def _plain(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    return getattr(optimizer, "optimizer", optimizer)


def _check_same_run(out: Path, config: Config, words: list[str]) -> None:
    old, vocabulary, _ = read_run(out)
    free = {"max_iterations", "patience", "check_every"}
    changed = [
        name
        for name, value in config.asdict().items()
        if value != getattr(old, name) and name not in free
    ]
    if changed:
        raise RunError(
            f"{out} was begun with {', '.join(f'{n}={getattr(old, n)}' for n in changed)}; resume it with that."
        )
    if vocabulary.words != words:
        raise RunError(
            f"{out} was begun with {len(vocabulary)} words, the data has {len(words)}: other data."
        )


def _forget_after(path: Path, iteration: int) -> None:
    """Drop log lines behind the checkpoint: they will be written again."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["iteration"] <= iteration:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue  # a line cut off by a kill
    write_text(path, "".join(f"{line}\n" for line in kept))


def _tensorboard(out: Path):  # type: ignore[no-untyped-def]
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise RunError(
            "--tensorboard needs the package tensorboard: pip install tensorboard."
        ) from None
    return SummaryWriter(str(out / "tensorboard"))
