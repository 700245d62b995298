"""The training loop. Paper: Sec. 4.2."""

import sys
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from ctsm_lib.batches import Batch, Shuffled
from ctsm_lib.checkpoint import save_weights
from ctsm_lib.config import Config
from ctsm_lib.interface import Output
from ctsm_lib.parallel import any_of, rank, share, world
from ctsm_lib.prepare import Prepared
from ctsm_lib.registry import model_class
from ctsm_lib.run_folder import create_run, versions
from ctsm_lib.scores import score_pairs, teacher_forced
from ctsm_lib.settings import TrainingSettings


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
    """The rate of an iteration, counted from 1: Noam's (Vaswani et al., 2017) or linear."""
    if config.schedule == "noam":
        slope = min(iteration**-0.5, iteration * config.warmup**-1.5)
        return config.learning_rate * config.dim**-0.5 * slope
    rise = iteration / config.warmup
    fall = (config.max_iterations - iteration) / max(config.max_iterations - config.warmup, 1)
    return config.learning_rate * max(min(rise, fall), 0.0)


@dataclass
class Progress:
    """Progress of a run, stored in its checkpoint."""

    iteration: int = 0
    best: dict | None = None  # dev scores of the best weights
    bad_checks: int = 0  # dev checks since then
    seconds: float = 0.0
    finished: bool = False


class Guard(AbstractContextManager):
    """Accompanies a run. This one only makes the run folder; `ctsm_workbench.running` has one that
    also logs, saves checkpoints, resumes, and stops gracefully."""

    def __exit__(self, *_: object) -> None:
        return None

    def open(self, out: Path, config: Config, prepared: Prepared, facts: dict) -> None:
        """Make the run folder, in the main process; a `RunError` refuses."""
        create_run(out, config, prepared.corpus.vocabulary, prepared.description | facts)

    # Before the first iteration; may refuse, or put the run back where it was.
    def begin(self, run: "Training") -> None: ...
    # After each iteration.
    def after_step(self, run: "Training", step: "Step") -> None: ...
    # Before weights may be saved; raises to prevent it.
    def before_dev(self, run: "Training") -> None: ...
    # With the scores of a dev check.
    def after_dev(self, run: "Training", scores: dict[str, float]) -> None: ...
    # Every `check_every` iterations and at the end.
    def save(self, run: "Training") -> None: ...

    def stop(self) -> bool:
        """True if the run should end after this iteration."""
        return False


@dataclass
class Step:
    """Results of an iteration."""

    output: Output
    batch: Batch
    norm: Tensor | None  # of the gradients, where they are clipped
    rate: float  # the learning rate
    is_last: bool


class Training:
    """A run in progress: model, optimizer, order of batches, progress."""

    def __init__(self, config: Config, prepared: Prepared, out: Path, accelerator: Accelerator):
        self.config = config
        self.prepared = prepared
        self.out = out
        self.accelerator = accelerator
        self.model = build_model(config, prepared).to(accelerator.device)
        self.optimizer = make_optimizer(config, self.model)
        self.pairs = prepared.pairs["train"]
        self.order = Shuffled(self.pairs, config.batch_size, config.seed)
        self.progress = Progress()

    def check_dev(self) -> dict[str, float]:
        """Score all dev pairs, keep the best weights, and decide whether to stop early."""
        progress = self.progress
        pairs = self.prepared.pairs["valid"]
        with self.accelerator.autocast():
            scores = teacher_forced(score_pairs(self.model, pairs, self.accelerator.device))
        if progress.best is None or scores["ppl_token"] < progress.best["ppl_token"]:
            progress.best = scores | {"iteration": progress.iteration}
            progress.bad_checks = 0
            if self.accelerator.is_main_process:
                save_weights(self.out / "best.safetensors", self.model, progress.best)
        else:
            progress.bad_checks += 1
            progress.finished = 0 < self.config.patience <= progress.bad_checks
        return scores


def train(
    config: Config, prepared: Prepared, out: Path, *, cpu: bool = False,
    stop_after: int | None = None, guard: Guard | None = None,
) -> dict:  # fmt: skip
    """Train a run in the folder `out`. Paper: Sec. 4.2.

    With `stop_after` it ends there as if interrupted; the schedule stays `max_iterations` long.
    Returns iteration, finished, interrupted, best (dev scores), bad_checks and seconds.
    """
    guard = guard or Guard()
    # A notebook's next run may have another precision.
    AcceleratorState._reset_state()
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    precision = "bf16" if config.precision == "bf16" else "no"
    accelerator = Accelerator(cpu=cpu, mixed_precision=precision, kwargs_handlers=[unused])
    if accelerator.is_main_process:
        facts = {"device": str(accelerator.device), "threads": torch.get_num_threads()}
        facts |= {"processes": world(), "versions": versions()}
        guard.open(out, config, prepared, facts)
    with guard:
        run = Training(config, prepared, out, accelerator)
        guard.begin(run)
        return run_to_end(run, guard, min(config.max_iterations, stop_after or sys.maxsize))


def run_to_end(run: Training, guard: Guard, last: int) -> dict:
    """The loop: all iterations up to the last one, with dev checks."""
    config = run.config
    state = run.progress
    model, optimizer = run.accelerator.prepare(run.model, run.optimizer)
    model.train()
    if rank():
        # Dropout must differ between processes.
        torch.manual_seed(config.seed + 1_000 * rank() + 1_000_000 * state.iteration)
    begun = time.monotonic()
    before = state.seconds
    interrupted = False

    while state.iteration < last and not state.finished and not interrupted:
        iteration = state.iteration + 1
        batch = run.pairs.collate(run.order[iteration - 1], share()).to(run.accelerator.device)
        rate = learning_rate(config, iteration)
        for group in optimizer.param_groups:
            group["lr"] = rate

        # One step: losses, gradients, clipped if the settings say so, and new weights.
        with run.accelerator.autocast():
            output = model(batch)
        run.accelerator.backward(output.losses["total"])
        norm = None
        if config.clip:
            norm = run.accelerator.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()

        state.iteration = iteration
        guard.after_step(run, Step(output, batch, norm, rate=rate, is_last=iteration == last))
        # Dev checks and checkpoints; spoiled weights must not replace good ones.
        at_end = iteration == config.max_iterations
        due = iteration % config.check_every == 0
        interrupted = any_of(guard.stop()) or (iteration == last and not at_end)
        if due or at_end or interrupted:
            guard.before_dev(run)
            if at_end or (due and iteration >= config.check_from):
                guard.after_dev(run, run.check_dev())
            state.seconds = before + time.monotonic() - begun
            guard.save(run)
    state.finished = state.finished or state.iteration >= config.max_iterations
    state.seconds = before + time.monotonic() - begun
    return asdict(state) | {"interrupted": interrupted}
