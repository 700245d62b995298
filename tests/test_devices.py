"""Work on accelerators, as far as a CPU can test it: waits of the host, and compiled layers."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from beyond_cases import tiny_extended
from helpers import collate, random_pairs, tiny_model, tiny_tables
from helpers import tiny_config as config_of
from torch.utils._python_dispatch import TorchDispatchMode

from ctsm_lib import training
from ctsm_lib.run_folder import read_run
from ctsm_workbench.baselines.transformer import Transformer
from ctsm_workbench.running import train as running
from ctsm_workbench.running.log import read_log
from ctsm_workbench.running.train import train

# Operations whose result has a size, or is a number, that the host cannot know before the device
# has computed it.
WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "equal",
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Waits(TorchDispatchMode):
    """Counts waits of the host, by the line of this project that causes them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: Counter[str] = Counter()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = operation._schema.name.removeprefix("aten::")
        masked = name in INDEXING and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if masked or name in WAITING:
            ours = [frame for frame in traceback.extract_stack() if "ctsm_" in frame.filename]
            place = f"{ours[-1].filename.split('/')[-1]}: {ours[-1].line}" if ours else name
            self.lines[place] += 1
        return operation(*args, **(kwargs or {}))


def waits_of_a_step(model: torch.nn.Module) -> Counter[str]:
    """Forwards, backwards, clipping and the optimizer."""
    optimizer = training.make_optimizer(model.config, model.train())
    batch = collate(random_pairs(6))
    with Waits() as waits:
        model(batch).losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return waits.lines


BEST = dict(
    bag_expert=True, word_dropout=0.2, head_dropout=0.3, dropout=0.2, copy_once=True,
    fusion="joint", tie_output=True, optimizer="adamw",
)  # fmt: skip


@pytest.mark.parametrize(
    "make", [tiny_model, partial(tiny_extended, **BEST)], ids=["paper", "best"]
)
def test_a_step_waits_three_times(make: Callable[[], torch.nn.Module]) -> None:
    """Once for each of cognitive phrases, affective phrases and real words of the answers."""
    lines = waits_of_a_step(make())
    assert sorted(line.partition(":")[0] for line in lines.elements()) == [
        "context.py",
        "context.py",
        "generation.py",
    ]


def test_a_step_of_a_transformer_waits_once() -> None:
    lines = waits_of_a_step(Transformer(config_of(model="transformer"), tiny_tables()))
    assert [line.partition(":")[0] for line in lines.elements()] == ["generation.py"]


def test_the_counter_sees_a_wait() -> None:
    with Waits() as waits:
        values = torch.arange(4.0)
        float(values.sum())
        values[values > 1] = 0
        values[values > 1]
        values[torch.tensor([0, 1])]
    assert sum(waits.lines.values()) == 3


def test_compiled_layers_compute_the_same_at_any_length() -> None:
    """Losses and gradients as without; no break in a layer, and no new graph for new lengths."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    changes: dict[str, Any] = dict(decoder_layers=2, fusion="joint")
    plain, compiled = tiny_extended(**changes).train(), tiny_extended(**changes).train()
    running.compile_layers(compiled, "eager")
    graphs = []
    for seed in range(6):
        batch = collate(random_pairs(4 + seed, seed=seed, target=5 + 2 * seed))
        for model in (plain, compiled):
            model.zero_grad()
            model(batch).losses["total"].backward()
        for (name, one), other in zip(plain.named_parameters(), compiled.parameters(), strict=True):
            if one.grad is not None:
                assert other.grad is not None
                torch.testing.assert_close(other.grad, one.grad, msg=name)
        graphs.append(counters["stats"]["unique_graphs"])
    assert not counters["graph_break"]
    assert 0 < graphs[0] <= graphs[3] == graphs[-1]
    assert plain.state_dict().keys() == compiled.state_dict().keys()


@pytest.mark.slow
def test_a_compiled_run_is_the_same_run_and_says_so(
    tiny_config, tiny_prepared, tiny_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(running, "compile_layers", partial(running.compile_layers, backend="eager"))
    torch._dynamo.reset()
    train(tiny_config, tiny_prepared, tmp_path / "run", cpu=True, progress=False, compiled=True)

    def losses(folder):
        return [record["total"] for record in read_log(folder) if "total" in record]

    assert losses(tmp_path / "run") == pytest.approx(losses(tiny_run), rel=1e-5)
    assert read_run(tmp_path / "run")[2]["compiled"] is True
    assert read_run(tiny_run)[2]["compiled"] is False
