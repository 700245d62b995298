"""Safety of what is installed and what is run.

The locked files have checksums, and no call runs text or data from a file or a user.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [
    path
    for folder in ("ctsm_lib", "ctsm_workbench", "notebooks", "scripts", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
RUNS_TEXT = {
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
}
RUNS_DATA = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a call's function, "" where it is no plain name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def dangers(source: str) -> list[str]:
    """Calls and imports that run text, unpickle data or use a shell, each as "line N: name"."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").split(".")[0]]
        found += [f"line {node.lineno}: import {name}" for name in names if name in RUNS_DATA]
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        given = {keyword.arg: keyword.value for keyword in node.keywords}

        def says(name: str, value: bool, given: dict = given) -> bool:
            return isinstance(given.get(name), ast.Constant) and given[name].value is value

        if (
            called in RUNS_TEXT
            or (called == "torch.load" and not says("weights_only", True))
            or ("shell" in given and not says("shell", False))
            or (
                called.endswith(".load")
                and "allow_pickle" in given
                and not says("allow_pickle", False)
            )
            or called == "yaml.load"
            or (
                called.endswith(".extractall") and not isinstance(given.get("filter"), ast.Constant)
            )
        ):
            found.append(f"line {node.lineno}: {called}")
    return found


def test_nothing_runs_what_a_file_says() -> None:
    """The library, lessons, scripts and tests use no eval, no shell strings and no pickle."""
    assert len(SOURCES) > 150
    found = {
        str(path.relative_to(ROOT)): dangers(path.read_text(encoding="utf-8")) for path in SOURCES
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "exec(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "import pickle",
        "from joblib import load",
        "subprocess.run(command, shell=True)",
        "subprocess.run(command, shell=flag)",
        "os.system(command)",
        "np.load(path, allow_pickle=True)",
        "archive.extractall(folder)",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    """Each of these is found; their harmless forms are not."""
    assert len(dangers(line)) == 1
    harmless = (
        "torch.load(path, weights_only=True)\nmodel.eval()\n"
        "np.load(path, allow_pickle=False)\nsubprocess.run(['ls'])"
    )
    assert dangers(harmless) == []


def locked() -> dict[str, list[str]]:
    """Name and version -> checksums, of requirements.lock."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    packages = {}
    for line in text.splitlines():
        if found := re.match(r"([A-Za-z0-9._-]+)==(\S+)", line):
            name = re.sub(r"[-_.]+", "-", found[1]).lower()
            packages[f"{name}=={found[2]}"] = re.findall(r"--hash=sha256:([0-9a-f]{64})\b", line)
    return packages


def test_the_lock_has_the_constraints_versions_and_a_checksum_for_each() -> None:
    """The lock has the versions of constraints.txt, and no file may be installed unchecked."""
    packages = locked()
    assert len(packages) > 100
    assert [name for name, hashes in packages.items() if not hashes] == []
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    pinned = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pinned.items()}
    other = {
        f"{name} {version}, constraints.txt: {pinned[name]}"
        for name, version in (package.split("==") for package in packages)
        if name in pinned and pinned[name] != version
    }
    assert other == set()
    assert set(pinned) <= {package.split("==")[0] for package in packages}
