"""What a result was made with."""

import platform
from importlib.metadata import PackageNotFoundError, version

import ctsm_lib


def versions() -> dict[str, str]:
    """Versions of the library, Python and the packages that numbers depend on."""
    found = {"ctsm_lib": ctsm_lib.__version__, "python": platform.python_version()}
    for package in ("torch", "numpy", "nltk", "accelerate", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
