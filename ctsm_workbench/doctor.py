"""The checks of `ctsm doctor`."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from ctsm_lib.errors import CtsmError
from ctsm_lib.sources import cache_folder, find_sources

NEEDED = ("torch", "numpy", "nltk", "accelerate", "safetensors", "sklearn", "tqdm")
EXTRAS = {
    "pooch": "downloads", "sacrebleu": "BLEU", "plotly": "figures", "umap": "the map",
    "kaleido": "PNG and SVG of figures", "transformers": "COMET", "jupyterlab": "notebooks",
    "ipywidgets": "explorers",
}  # fmt: skip
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True)
class Check:
    """One finding. Without `ok` the main job cannot run; `optional`: only an extra is missing."""

    name: str
    finding: str
    ok: bool = True
    optional: bool = False

    @property
    def sign(self) -> str:
        """A mark for the terminal."""
        return "!!" if not self.ok else " -" if self.optional else "ok"


def examine() -> Iterator[Check]:
    """Look at Python, packages, device, disk and data."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python", version, ok=sys.version_info >= (3, 11))
    for name in NEEDED:
        found = find_spec(name) is not None
        yield Check(name, "found" if found else "missing: pip install -e .", ok=found)
    for name, use in EXTRAS.items():
        found = find_spec(name) is not None
        yield Check(
            name, "found" if found else f"missing, needed for {use} only", optional=not found
        )
    if find_spec("torch"):
        import torch

        cpu = f"cpu with {torch.get_num_threads()} threads"
        cuda = torch.cuda.is_available()
        yield Check("device", f"cuda: {torch.cuda.get_device_name(0)}" if cuda else cpu)
    browser = next(filter(None, map(shutil.which, BROWSERS)), "")
    finding = browser or "none found, needed for PNG and SVG of figures only"
    yield Check("browser", finding, optional=not browser)
    free = shutil.disk_usage(".").free / 1e9
    yield Check("disk", f"{free:.1f} GB free", ok=free > 0.5)
    try:
        data = find_sources().describe()
        yield Check("data", ", ".join(f"{name} {value}" for name, value in data.items()))
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
        finding = str(folder) if writable else f"{folder} cannot be written: set CTSM_CACHE"
        yield Check("cache", finding, optional=not writable)
    except (CtsmError, OSError) as error:
        yield Check("data", str(error), ok=False)
