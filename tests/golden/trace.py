"""Losses, weights and answers of every model on tiny settings, as hex digits.

`python -m tests.golden.trace` prints them; `--write` keeps them as this machine's golden file. A
change that is not meant to move a number leaves every digit as it is. Digits depend on the version
of torch and on the processor, so there is a file for each pair of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

# The sample's word vectors are learned from its texts. With more than one thread, their last digits
# would depend on the number of cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

HERE = Path(__file__).resolve().parent
STEPS = 5
TINY = [
    "dim=24", "heads=2", "key_depth=24", "ffn_dim=24", "small_key_depth=8", "small_ffn_dim=8",
    "batch_size=8", "max_iterations=8", "warmup=2",
]  # fmt: skip
ABLATIONS = ("wo-tee", "wo-see", "wo-egm", "wo-ccl", "wo-egm-ccl")
BASELINES = ("transformer", "multi-transformer", "moel", "mime", "empdg", "kemp", "cem", "case")
NO_EXTRAS = ["bag_expert=false", "word_dropout=0", "head_dropout=0"]
CASES: dict[str, tuple[str, list[str]]] = {
    **{name: (name, []) for name in ("paper", "improved", "best", "sample")},
    **{f"paper-{part}": (f"paper-{part}", []) for part in ABLATIONS},
    "paper conv, emotion memory": ("paper", ["ffn=conv", "memory=emotion"]),
    "improved peer losses": ("improved", ["peer_losses=true"]),
    "best as trained": ("best", ["copy_bias=0", "tilt=0", "repeat_bias=0"]),
    "best, no intensity or labels": ("best", ["guidance=false", "contrast=false", "trait=false"]),
    **{f"improved {name}": ("improved", [f"model={name}"]) for name in BASELINES},
    **{f"best {name}": ("best", [f"model={name}", *NO_EXTRAS]) for name in ("cem", "moel", "case")},
    "best cem, all extras": ("best", ["model=cem"]),
    "faithful": ("faithful", []),
    "faithful-wo-egm": ("faithful-wo-egm", []),
}


def digest(*tensors: torch.Tensor) -> str:
    """Sixteen digits of the bytes of tensors."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(tensor.detach().contiguous().cpu().numpy().tobytes())
    return total.hexdigest()[:16]


def machine() -> str:
    """The version of torch and the kind of processor, as they stand in a golden file's name."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.is_file() else ""
    vendor = re.search(r"vendor_id\s*:\s*(\w+)", text)
    family = re.search(r"cpu family\s*:\s*(\d+)", text)
    model = re.search(r"^model\s*:\s*(\d+)", text, re.MULTILINE)
    parts = [torch.__version__.partition("+")[0], torch.backends.cpu.get_cpu_capability().lower()]
    parts += [found[1].lower() for found in (vendor, family, model) if found]
    return "-".join(["torch", *parts])


def golden_file() -> Path:
    """Where this machine's digits are kept."""
    return HERE / f"{machine()}.json"


def trace(
    preset_name: str, settings: list[str], steps: int = STEPS, prepared=None, change=None
) -> dict:
    """Train for a few steps, then score and answer.

    Args:
        prepared: the data; prepared anew where it is None.
        change: called with the new model, to see whether a change of it is noticed.
    """
    from ctsm_lib.batches import Shuffled
    from ctsm_lib.config import preset
    from ctsm_lib.decoding import Decoding, answer_batch
    from ctsm_lib.training import build_model, learning_rate, make_optimizer

    config = preset(preset_name, [*TINY, *settings])
    prepared = prepared or data(config)
    model = build_model(config, prepared)
    if change is not None:
        change(model)
    optimizer = make_optimizer(config, model)
    pairs = prepared.pairs
    order = Shuffled(pairs["train"], config.batch_size, config.seed)
    model.train()
    digits: dict = {"steps": [], "evaluation": []}
    for iteration in range(1, steps + 1):
        batch = pairs["train"].collate(order[iteration - 1])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, iteration)
        losses = model(batch).losses
        losses["total"].backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip or 1e9)
        optimizer.step()
        optimizer.zero_grad()
        values = {name: float(value.detach()).hex() for name, value in sorted(losses.items())}
        digits["steps"].append(values | {"norm": float(norm).hex()})
    model.eval()
    digits["weights"] = digest(*(value.float() for _, value in sorted(model.state_dict().items())))
    for split, count in (
        ("valid", 3 if preset_name == "best" else 1),
        ("test", 2 if preset_name == "best" else 0),
    ):
        for index in list(pairs[split].in_order(8))[:count]:
            batch = pairs[split].collate(index)
            with torch.no_grad():
                output = model(batch)
            blind = replace(batch, target=None, label=None)
            greedy, _ = answer_batch(model, blind, Decoding(max_length=8))
            beam, _ = answer_batch(model, blind, Decoding(method="beam", beams=2, max_length=8))
            digits["evaluation"].append(
                {
                    "nll": digest(output.token_nll),
                    "emotion": digest(output.emotion_logits),
                    "prediction": digest(output.token_prediction),
                    "greedy": [
                        [answer.ids, answer.log_prob.hex(), digest(torch.tensor(answer.alpha))]
                        for answer in greedy
                    ],
                    "beam": [[answer.ids, answer.log_prob.hex()] for answer in beam],
                }
            )
    return digits


_DATA: dict[tuple, object] = {}


def data(config):
    """The sample, prepared once for all configurations that read the same of it."""
    from ctsm_lib.prepare import prepare
    from ctsm_lib.sources import SAMPLE, find_sources

    key = (
        config.vocab,
        config.knowledge,
        config.max_context,
        config.dim,
        config.model in ("kemp", "case"),
    )
    if key not in _DATA:
        _DATA[key] = prepare(config, find_sources(SAMPLE), workers=1, progress=False)
    return _DATA[key]


def all_traces() -> dict[str, dict]:
    """The digits of all configurations."""
    found = {}
    for name, (preset_name, settings) in CASES.items():
        found[name] = trace(preset_name, settings)
        print(name, file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help=f"keep the digits in {golden_file().name}"
    )
    arguments = parser.parse_args()
    os.environ.pop("CTSM_DATA", None)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with tempfile.TemporaryDirectory(prefix="golden-") as cache:
        os.environ["CTSM_CACHE"] = cache
        text = json.dumps(all_traces(), indent=1) + "\n"
    # One number a line would be 20,000 lines: lists of plain numbers are joined.
    text = re.sub(
        r"\[\s+((?:\d+,?\s*)+)\]", lambda match: "[" + " ".join(match[1].split()) + "]", text
    )
    if arguments.write:
        golden_file().write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
