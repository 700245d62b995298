"""The checks of `ctsm doctor`."""

import os
import platform
import shutil
from collections import namedtuple
from collections.abc import Iterator
from importlib.util import find_spec

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
Check = namedtuple("Check", ("sign", "name", "finding"))  # sign: OK, EXTRA or BROKEN


def examine() -> Iterator[Check]:
    """Look at Python, packages, device, browser, disk, data and cache."""
    yield Check(OK, "Python", platform.python_version())
    for name, use in PACKAGES.items():
        lacking = f"missing, needed for {use} only" if use else "missing: pip install -e ."
        found = find_spec(name)
        yield Check(OK, name, "found") if found else Check(EXTRA if use else BROKEN, name, lacking)
    if find_spec("torch"):
        import torch

        cuda = torch.cuda.is_available() and f"cuda: {torch.cuda.get_device_name(0)}"
        yield Check(OK, "device", cuda or f"cpu with {torch.get_num_threads()} threads")
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
