"""The task of a part; the best that this machine can do for it, and how its time grows.

Growth: three sizes of one thing with all else equal, and the slope on log scales.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ctsm_lib.batches import Batch
from ctsm_lib.config import Config
from ctsm_lib.corpus import CLS, EOS, SPECIALS, SPLITS, USR, Corpus
from ctsm_lib.interface import Tables
from ctsm_lib.prepare import Prepared, prepare
from ctsm_lib.registry import model_class
from ctsm_lib.runs import Run, load_run, require_same_words
from ctsm_lib.sources import Sources
from ctsm_workbench.bench import peak_memory

BATCHES = (4, 16, 64)
TARGET = 16  # tokens of a made-up response
KNOWLEDGE = 12  # tokens of a made-up relation

Job = Callable[[], object]
Step = Callable[[Batch], object]
Measured = tuple[dict[str, dict], dict]  # rows by name, and facts about all of them

_aten = torch.ops.aten
# These read some rows of a table, not the whole of it.
_LOOK_UPS = (_aten.embedding, _aten.index, _aten.index_select, _aten.gather)


@dataclass(frozen=True)
class Task:
    """The model and the data that are measured."""

    config: Config
    sources: Sources
    seconds: float = 20.0  # to measure training for; other parts take about as long or less
    run: Path | None = None  # reads, and answers the whole test split; else an untrained model
    grow: bool = True  # also measure how time grows with batch, context, vocabulary and corpus

    def as_json(self) -> str:
        """The task on its way to another process."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """A task that comes from another process."""
        given = json.loads(text)
        places = given.pop("sources")
        origin = places.pop("origin")
        places = {name: path and Path(path) for name, path in places.items()}
        config = Config.from_dict(given.pop("config"))
        run = given.pop("run")
        return cls(config, Sources(origin, **places), run=run and Path(run), **given)

    def prepared(self, *splits: str) -> Prepared:
        """The data, from the cache where it is there; with commonsense for these splits only."""
        config = self.config if splits else self.config.override(["knowledge=none"])
        found = prepare(config, self.sources, splits, progress=False)
        if self.loaded:
            require_same_words(self.loaded, found)
        return found

    @cached_property
    def loaded(self) -> Run | None:
        """The run, if there is one, read once."""
        return load_run(self.run) if self.run else None


def row(value: float, unit: str, began: float | None = None, **more: object) -> dict:
    """A rate or a time; the peak memory before and after it, if it was done in this process.

    `more` may have limit (in `unit`), share_of_limit, bound, target (seconds), growth, and note.
    """
    memory = {} if began is None else {"peak_mb": round(peak_memory()), "before_mb": round(began)}
    return {"value": value, "unit": unit} | memory | more


class Work(NamedTuple):
    """Floating-point operations of matrix products, and the least bytes that must be moved."""

    flops: float
    bytes: float


def beside_limit(work: Work, done: float, per_s: float, matrix: float, memory: float) -> dict:
    """limit, share_of_limit and bound (what takes longer) of `per_s` examples per second.

    `work` is the least that `done` examples need; `matrix` and `memory` are this machine's FLOP/s
    and byte/s.
    """
    bounds = {"matrix products": work.flops / matrix, "memory": work.bytes / memory}
    bound, seconds = max(bounds.items(), key=lambda item: item[1])
    return {"limit": done / seconds, "share_of_limit": per_s * seconds / done, "bound": bound}


def shortest(work: Job, seconds: float, least: int = 1) -> float:
    """The shortest time of `work()`, tried for some seconds and at least so many times."""
    tries: list[float] = []
    while len(tries) < least or sum(tries) < seconds:
        begun = time.perf_counter()
        work()
        tries.append(time.perf_counter() - begun)
    return min(tries)


def matrix_rate(precision: str = "float32", size: int = 1024, seconds: float = 1.0) -> float:
    """FLOP/s of large matrix products, in a precision of `Config.precision`."""
    matrix = torch.randn(size, size).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    return 2 * size**3 / shortest(lambda: matrix @ matrix, seconds)


def memory_rate(size: float, seconds: float = 0.5) -> float:
    """Byte/s of reading `size` bytes again and again, from a cache where they fit into it."""
    rows = torch.ones(max(int(size) // 4096, 1), 1024)
    vector = torch.ones(1024)
    product = shortest(lambda: rows @ vector, seconds / 2)
    return rows.nbytes / min(product, shortest(rows.sum, seconds / 2))


def limit(works: Sequence[Work], done: int, per_s: float, again: float) -> dict:
    """A rate in float32 beside its limit; `again` bytes are read again and again."""
    least = Work(*map(sum, zip(*works, strict=True)))
    return beside_limit(least, done, per_s, matrix=matrix_rate(), memory=memory_rate(again))


def count(work: Job, model: nn.Module) -> Work:
    """FLOPs of `work()`, and the bytes of the parameters that it reads, each counted once."""
    with FlopCounterMode(display=False) as products, _ParametersRead(model) as parameters:
        work()
    return Work(products.get_total_flops(), sum(parameters.whole.values()) + parameters.rows)


class _ParametersRead(TorchDispatchMode):
    """Counts the bytes of the parameters that operations read: of whole ones, and single rows."""

    def __init__(self, model: nn.Module):
        super().__init__()
        storages = [parameter.untyped_storage() for parameter in model.parameters()]
        self.sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
        self.whole: dict[int, int] = {}  # address -> bytes
        self.rows = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = [value for value in args if isinstance(value, Tensor)]
        found = {tensor.untyped_storage().data_ptr() for tensor in tensors} & self.sizes.keys()
        if found and function.overloadpacket in _LOOK_UPS:
            self.rows += result.nbytes
        elif not function.is_view:
            self.whole |= {address: self.sizes[address] for address in found}
        return result


def training_bytes(model: nn.Module) -> int:
    """The least bytes that a training step with Adam moves."""
    # A weight is read in both directions and its gradient is written. Then weight, gradient and
    # both moments are read, and weight and moments are written.
    return 10 * sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)


def thirds(most: int) -> list[int]:
    """Three sizes up to `most`, each four times the one before."""
    return sorted({max(most // 16, 1), max(most // 4, 1), most})


def growth(make: Callable[[int], Job], sizes: Sequence[int], seconds: float = 0.5) -> dict:
    """`grown` for `make(size)()`, tried for some seconds and at least twice; once if it is 0 s."""
    make(sizes[0])()  # to warm up
    return grown(sizes, [shortest(make(size), seconds, 1 + bool(seconds)) for size in sizes])


def grown(sizes: Sequence[int], seconds: Sequence[float]) -> dict:
    """Sizes and seconds with the slope of log time over log size, which is None for one size."""
    several = len(set(sizes)) > 1
    slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0] if several else None
    return {"sizes": list(sizes), "seconds": list(seconds), "slope": slope}


def corpus_row(task: Task, make: Callable[[int], Job], most: int, *, done: int, unit: str) -> dict:
    """The row of `make(most)()`, tried once, which does `done` things; with its growth if asked."""
    began = peak_memory()
    found = growth(make, thirds(most) if task.grow else [most], 0)
    growing = {"growth": {"corpus": found}} if task.grow else {}
    return row(done / found["seconds"][-1], unit, began, **growing)


def model_growth(task: Task, prepared: Prepared, make_step: Callable[[Any], Step]) -> dict:
    """Growth of a model's step with batch, context length and vocabulary, if it was asked for."""
    if not task.grow:
        return {}
    words = len(prepared.corpus.vocabulary)
    lengths = [max(task.config.max_context // parts, 2) for parts in (8, 4, 2)]
    step = cache(lambda vocabulary: make_step(made_up_model(task.config, vocabulary)))

    def work(vocabulary: int = words, batch: int = BATCHES[1], length: int = lengths[1]) -> Job:
        return partial(step(vocabulary), made_up_batch(vocabulary, batch, length))

    axes = {
        "batch": (lambda size: work(batch=size), BATCHES),
        "context": (lambda size: work(length=size), lengths),
        "vocabulary": (work, [words // 4, words // 2, words]),
    }
    return {"growth": {axis: growth(*tried, task.seconds / 40) for axis, tried in axes.items()}}


def made_up_model(config: Config, words: int) -> Any:
    """A new model with a made-up vocabulary and random vectors."""
    torch.manual_seed(config.seed)
    tables = Tables.empty(words, config.dim)
    labels = len(SPECIALS) + torch.arange(len(tables.labels))
    vectors = 0.3 * torch.randn(words, config.dim)
    return model_class(config)(config, replace(tables, vectors=vectors, labels=labels))


def made_up_batch(words: int, batch: int, length: int) -> Batch:
    """Random words without padding: contexts [batch, length], relations and responses alike."""
    ids = partial(torch.randint, len(SPECIALS), words, generator=torch.Generator().manual_seed(0))
    knowledge = ids((batch, 5, KNOWLEDGE))
    target = ids((batch, TARGET))
    context = ids((batch, length))
    speaker = torch.full_like(context, USR)
    context[:, 0] = speaker[:, 0] = knowledge[..., 0] = CLS
    target[:, -1] = EOS
    pair = torch.arange(batch)
    return Batch(
        context=context, speaker=speaker, knowledge=knowledge, target=target,
        label=pair % 32, pair=pair, total_tokens=target.numel(), total_pairs=batch,
    )  # fmt: skip


def dialogues_in(corpus: Corpus) -> int:
    """Number of dialogues in all splits."""
    return sum(len(split.labels) for split in corpus.splits.values())


def part_of(corpus: Corpus, dialogues: int) -> Corpus:
    """A corpus of about so many dialogues, the first of each split, with the whole vocabulary."""
    parts = {}
    for name, split in corpus.splits.items():
        kept = -(-len(split.labels) * dialogues // dialogues_in(corpus))
        turns = split.dialogue_offsets[kept]
        parts[name] = replace(  # the offsets still find the turns in `text`
            split,
            tokens=split.tokens[: split.turn_offsets[turns]],
            turn_offsets=split.turn_offsets[: turns + 1],
            dialogue_offsets=split.dialogue_offsets[: kept + 1],
            labels=split.labels[:kept],
        )
    return replace(corpus, splits=parts)


def cut_files(folder: Path, out: Path, share: int) -> int:
    """Write the first 1 / `share` of each split's dialogues; return the number of dialogues."""
    total = 0
    for name in SPLITS:
        with (folder / f"{name}.csv").open("rb") as file:
            header, *rows = file
        by_dialogue = groupby(rows, key=lambda row: row.partition(b",")[0])
        dialogues = [b"".join(group) for _, group in by_dialogue]
        kept = dialogues[: -(-len(dialogues) // share)]
        (out / f"{name}.csv").write_bytes(b"".join([header, *kept]))
        total += len(kept)
    return total
