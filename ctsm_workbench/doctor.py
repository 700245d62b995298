"""What `ctsm doctor` looks at."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from ctsm_lib.errors import CtsmError


@dataclass(frozen=True)
class Check:
    """One finding. `ok` False means that the main job cannot run; `optional` that only an extra is missing."""

    name: str
    finding: str
    ok: bool = True
    optional: bool = False

    @property
    def sign(self) -> str:
        """A mark for the terminal."""
        return "!!" if not self.ok else " -" if self.optional else "ok"


def examine() -> Iterator[Check]:
    """Look at Python, packages, device, memory, disk and data."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python", version, sys.version_info >= (3, 11))
    for package in ("torch", "numpy", "nltk", "accelerate", "safetensors", "sklearn", "tqdm"):
        yield Check(
            package,
            "found" if find_spec(package) else "missing: pip install -e .",
            bool(find_spec(package)),
        )
    extras = {"pooch": "downloads", "sacrebleu": "BLEU", "plotly": "figures", "kaleido": "PNG and SVG of figures",
              "transformers": "COMET", "jupyterlab": "notebooks", "ipywidgets": "explorers", "umap": "the map"}  # fmt: skip
    for package, use in extras.items():
        found = find_spec(package) is not None
        yield Check(
            package, "found" if found else f"missing, needed for {use} only", True, not found
        )
    if find_spec("torch"):
        import torch

        threads = torch.get_num_threads()
        cuda = torch.cuda.is_available()
        device = f"cuda: {torch.cuda.get_device_name(0)}" if cuda else f"cpu with {threads} threads"
        yield Check("device", device)
    browser = next(
        filter(
            None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))
        ),
        None,
    )
    yield Check(
        "browser",
        browser or "none found, needed for PNG and SVG of figures only",
        True,
        browser is None,
    )
    free = shutil.disk_usage(".").free / 1e9
    yield Check("disk", f"{free:.1f} GB free", free > 0.5)
    try:
        from ctsm_lib.sources import cache_folder, find_sources

        found_sources = find_sources()
        yield Check(
            "data", ", ".join(f"{name} {value}" for name, value in found_sources.describe().items())
        )
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
        yield Check(
            "cache",
            f"{folder}{'' if writable else ' cannot be written: set CTSM_CACHE'}",
            True,
            not writable,
        )
    except (CtsmError, OSError) as error:
        yield Check("data", str(error), False)
