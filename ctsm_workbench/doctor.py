"""The checks of `ctsm doctor`."""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import NamedTuple

from ctsm_lib.errors import CtsmError
from ctsm_lib.sources import cache_folder, find_sources

OK, EXTRA, BROKEN = ("ok", " -", "!!")  # EXTRA is missing for some uses only
PACKAGES = {  # package -> what needs it, "" for everything
    **dict.fromkeys(("torch", "numpy", "nltk", "accelerate", "safetensors", "sklearn", "tqdm"), ""),
    "pooch": "downloads", "sacrebleu": "BLEU", "plotly": "figures", "umap": "the map",
    "kaleido": "PNG and SVG of figures", "transformers": "COMET", "jupyterlab": "notebooks",
    "ipywidgets": "explorers",
}  # fmt: skip
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Check(NamedTuple):
    """One finding, with its mark for the terminal: `OK`, `EXTRA` or `BROKEN`."""

    sign: str
    name: str
    finding: str


def examine() -> Iterator[Check]:
    """Look at Python, packages, device, browser, disk, data and cache."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check(OK if sys.version_info >= (3, 11) else BROKEN, "Python", version)
    for name, use in PACKAGES.items():
        if find_spec(name):
            yield Check(OK, name, "found")
        elif use:
            yield Check(EXTRA, name, f"missing, needed for {use} only")
        else:
            yield Check(BROKEN, name, "missing: pip install -e .")
    if find_spec("torch"):
        import torch

        cpu = f"cpu with {torch.get_num_threads()} threads"
        cuda = torch.cuda.is_available()
        yield Check(OK, "device", f"cuda: {torch.cuda.get_device_name(0)}" if cuda else cpu)
    browser = next(filter(None, map(shutil.which, BROWSERS)), "")
    missing = "none found, needed for PNG and SVG of figures only"
    yield Check(OK if browser else EXTRA, "browser", browser or missing)
    free = shutil.disk_usage(".").free / 1e9
    yield Check(OK if free > 0.5 else BROKEN, "disk", f"{free:.1f} GB free")
    try:
        data = find_sources().describe()
        yield Check(OK, "data", ", ".join(f"{name} {value}" for name, value in data.items()))
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
        finding = str(folder) if writable else f"{folder} cannot be written: set CTSM_CACHE"
        yield Check(OK if writable else EXTRA, "cache", finding)
    except (CtsmError, OSError) as error:
        yield Check(BROKEN, "data", str(error))
