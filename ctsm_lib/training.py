"""The training loop. Paper: Sec. 4.2."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn

from ctsm_lib.batches import Shuffled
from ctsm_lib.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint, save_weights
from ctsm_lib.config import Config
from ctsm_lib.model.generation import DecoderLayer
from ctsm_lib.model.layers import EncoderLayer
from ctsm_lib.parallel import any_of, rank, share, world
from ctsm_lib.prepare import Prepared
from ctsm_lib.registry import model_class
from ctsm_lib.run_folder import create_run, require_same_run
from ctsm_lib.scores import score_pairs, teacher_forced
from ctsm_lib.settings import TrainingSettings
from ctsm_lib.training_log import TrainingLog
from ctsm_lib.versions import versions

LOG_EVERY = 20  # iterations; reading a loss makes a GPU wait


def build_model(config: Config, prepared: Prepared) -> Any:
    """A new model; its weights depend on the seed alone."""
    torch.manual_seed(config.seed)
    return model_class(config)(config, prepared.tables(config))


def make_optimizer(config: TrainingSettings, model: nn.Module) -> torch.optim.Optimizer:
    """Adam or AdamW, fused. Matrices decay; biases, norms and the word table do not."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decays = [p for name, p in trained if p.dim() > 1 and not name.startswith("embed.")]
    others = [p for name, p in trained if p.dim() <= 1 or name.startswith("embed.")]
    groups = [
        {"params": decays, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    betas = (config.beta1, config.beta2)
    return kind(groups, lr=0.0, betas=betas, eps=config.epsilon, fused=True)


def learning_rate(config: Config, iteration: int) -> float:
    """The learning rate of an iteration, counted from 1.

    "noam": `factor d^-0.5 min(i^-0.5, i warmup^-1.5)` (Vaswani et al., 2017); "linear": up to the
    peak during the warm-up, then down to 0.
    """
    if config.schedule == "noam":
        slope = min(iteration**-0.5, iteration * config.warmup**-1.5)
        return config.learning_rate * config.dim**-0.5 * slope
    rise = iteration / config.warmup
    fall = (config.max_iterations - iteration) / max(config.max_iterations - config.warmup, 1)
    return config.learning_rate * max(min(rise, fall), 0.0)


@dataclass
class Progress:
    """How far a run is; a part of the checkpoint."""

    iteration: int = 0
    best: dict | None = None  # dev scores of the best weights
    bad_checks: int = 0  # dev checks since then
    seconds: float = 0.0
    finished: bool = False


class Guard(AbstractContextManager):
    """Watches a run; this one does nothing. `ctsm_workbench.running` has one for long runs."""

    def __exit__(self, *_: object) -> None:
        return None

    def begin(self, run: Training) -> None:
        """Called before the first iteration; may refuse."""

    def check(self, run: Training) -> None:
        """Called before anything is logged or saved; raises to prevent it."""

    def stop(self) -> bool:
        """Whether somebody wants the run to end after this iteration."""
        return False


class Training:
    """A run in progress: model, optimizer, order of batches, progress, log."""

    def __init__(self, config: Config, prepared: Prepared, out: Path, accelerator: Accelerator):
        self.config, self.prepared, self.out = config, prepared, out
        self.accelerator, self.is_main = accelerator, accelerator.is_main_process
        self.model = build_model(config, prepared).to(accelerator.device)
        self.optimizer = make_optimizer(config, self.model)
        self.pairs = prepared.pairs["train"]
        self.order = Shuffled(self.pairs, config.batch_size, config.seed)
        self.progress = Progress()
        self.log: TrainingLog

    def resume(self) -> dict | None:
        """Go back to the newest checkpoint; returns the part of it that belongs to the log."""
        checkpoint = newest_checkpoint(self.out)
        if checkpoint is None:
            return None
        state = load_checkpoint(checkpoint, self.model, self.optimizer)
        window = state.pop("window", None)
        self.progress = Progress(
            **{name: state[name] for name in vars(Progress()) if name in state}
        )
        return window

    def save(self) -> None:
        """Write a checkpoint, in the main process, while the others wait."""
        state = asdict(self.progress) | {"window": self.log.asdict()}
        if self.is_main:
            number = self.progress.iteration
            save_checkpoint(self.out, number, self.model, optimizer=self.optimizer, state=state)
        self.accelerator.wait_for_everyone()

    def check_dev(self) -> dict[str, float]:
        """Score all dev pairs, keep the best weights, and decide whether to stop early."""
        progress, device = self.progress, self.accelerator.device
        with self.accelerator.autocast():
            scores = teacher_forced(score_pairs(self.model, self.prepared.pairs["valid"], device))
        if progress.best is None or scores["ppl_token"] < progress.best["ppl_token"]:
            progress.best = scores | {"iteration": progress.iteration}
            progress.bad_checks = 0
            if self.is_main:
                save_weights(self.out / "best.safetensors", self.model, progress.best)
        else:
            progress.bad_checks += 1
            progress.finished = 0 < self.config.patience <= progress.bad_checks
        return scores


def train(
    config: Config,
    prepared: Prepared,
    out: Path,
    *,
    resume: bool = False,
    cpu: bool = False,
    stop_after: int | None = None,
    progress: bool = True,
    compiled: bool = False,
    guard: Guard | None = None,
    report: Callable[[dict], None] | None = None,
) -> dict:
    """Train one run, or go on with it. Paper: Sec. 4.2.

    Args:
        out: the run folder; new, or with `resume` one that was begun.
        stop_after: end at this iteration as if interrupted. The schedule is `max_iterations` long
            all the same.
        compiled: compile the layers, for GPUs.
        guard: watches the run.
        report: called with every record of the log, in the main process.

    Returns:
        iteration, finished, interrupted, best (dev scores), bad_checks and seconds.

    Raises:
        RunError: the folder exists (or does not, with `resume`), or cannot be written.
    """
    guard = guard or Guard()
    accelerator = _accelerator(config, cpu)
    if resume:
        require_same_run(out, config, prepared.corpus.vocabulary)
    elif accelerator.is_main_process:
        used = {"device": str(accelerator.device), "threads": torch.get_num_threads()}
        used |= {"processes": world(), "compiled": compiled, "versions": versions()}
        create_run(out, config, prepared.corpus.vocabulary, prepared.description | used)
    with guard:
        run = Training(config, prepared, out, accelerator)
        if compiled:
            compile_layers(run.model)
        window = run.resume() if resume else None
        run.log = TrainingLog(out, window, accelerator.device, progress=progress, report=report)
        return run_to_end(run, guard, stop_after or config.max_iterations, resumed=resume)


def run_to_end(run: Training, guard: Guard, stop_after: int, *, resumed: bool = False) -> dict:
    """The loop: all iterations that are left, with log, dev checks and checkpoints."""
    config, state, log = run.config, run.progress, run.log
    guard.begin(run)
    model, optimizer = run.accelerator.prepare(run.model, run.optimizer)
    model.train()
    if rank():  # dropout differs between processes
        torch.manual_seed(config.seed + 1_000 * rank() + 1_000_000 * state.iteration)
    log.begin(state.iteration, config.max_iterations, resumed=resumed)
    last = min(config.max_iterations, stop_after)
    begun, before, interrupted = time.monotonic(), state.seconds, False

    while state.iteration < last and not state.finished and not interrupted:
        iteration = state.iteration + 1
        index = run.order[iteration - 1]
        batch = run.pairs.collate(index, share()).to(run.accelerator.device)
        rate = learning_rate(config, iteration)
        for group in optimizer.param_groups:
            group["lr"] = rate

        with run.accelerator.autocast():
            output = model(batch)
        run.accelerator.backward(output.losses["total"])
        norm = None
        if config.clip:
            norm = run.accelerator.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()

        state.iteration = iteration
        log.add(output, batch, norm, examples=len(index))
        if iteration % LOG_EVERY == 0 or iteration == last:
            guard.check(run)
            log.write_means(iteration, rate)

        at_end = iteration == config.max_iterations
        due = iteration % config.check_every == 0
        interrupted = any_of(guard.stop()) or (iteration == last and not at_end)
        if due or at_end or interrupted:
            guard.check(run)  # spoiled weights must not replace a good checkpoint
            if at_end or (due and iteration >= config.check_from):
                log.write_dev(iteration, run.check_dev())
            state.seconds = before + time.monotonic() - begun
            run.save()
    state.finished = state.finished or state.iteration >= config.max_iterations
    state.seconds = before + time.monotonic() - begun
    log.close()
    return asdict(state) | {"interrupted": interrupted}


def _accelerator(config: Config, cpu: bool) -> Accelerator:
    AcceleratorState._reset_state()  # a notebook's next run may have another precision
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    precision = "bf16" if config.precision == "bf16" else "no"
    return Accelerator(cpu=cpu, mixed_precision=precision, kwargs_handlers=[unused])


def compile_layers(model: nn.Module, backend: str = "inductor") -> None:
    """Compile each Transformer layer, for any length. The results are the same up to rounding.

    The rest of a step depends on the number of real words, and its operations are large anyway.
    """
    for module in model.modules():
        if isinstance(module, (EncoderLayer, DecoderLayer)):
            module.compile(dynamic=True, backend=backend)
