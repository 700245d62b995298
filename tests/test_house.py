"""The house: budgets of lines, the one-way rule, lines of 100 characters.

CONTRIBUTING.md ("The library", "The workbench") describes it.
"""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = sorted((ROOT / "ctsm_lib").rglob("*.py"))
WORKBENCH = sorted((ROOT / "ctsm_workbench").rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))
# The command's entry point looks the workbench up when it is run; nothing else may name it.
ENTRY_POINT = ROOT / "ctsm_lib" / "__main__.py"


def _lines(paths) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def test_the_library_is_thin():
    assert len(LIBRARY) > 30
    assert _lines(LIBRARY) <= 3_900


def test_the_paper_s_model_is_short():
    assert 500 < _lines((ROOT / "ctsm_lib" / "model").glob("*.py")) <= 1_000


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_no_module_of_the_library_is_long(path):
    assert _lines([path]) <= 250


WHOLE_TREE = 15_000


def test_the_whole_tree_is_bounded():
    assert _lines([*LIBRARY, *WORKBENCH, *SCRIPTS]) <= WHOLE_TREE


def _imports(path: Path) -> set[str]:
    """Every module that a file imports, inside of functions too, and by name in a string."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = node.args[0]
            if name in ("import_module", "__import__") and isinstance(first, ast.Constant):
                found.add(str(first.value))
    return found


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_the_library_never_imports_the_workbench(path):
    above = {name for name in _imports(path) if name.split(".")[0] == "ctsm_workbench"}
    assert above == ({"ctsm_workbench.cli"} if path == ENTRY_POINT else set())


def test_the_rule_notices_an_import_inside_a_function(tmp_path):
    module = tmp_path / "module.py"
    module.write_text("def f():\n    from ctsm_workbench.study import intervals\n")
    assert _imports(module) == {"ctsm_workbench.study"}
    module.write_text("import importlib\nimportlib.import_module('ctsm_workbench.cli')\n")
    assert "ctsm_workbench.cli" in _imports(module)


def test_every_extension_exists():
    """The entry points of pyproject.toml, by which the library finds the workbench's extensions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {name: points for name, points in project["entry-points"].items()}
    assert set(groups) == {f"ctsm_lib.{kind}" for kind in KINDS}
    from ctsm_lib.registry import available, extension

    for kind in KINDS:
        names = sorted(groups[f"ctsm_lib.{kind}"])
        assert available(kind) == names, "install the package again: pip install -e ."
        assert all(callable(extension(kind, name)) for name in names)


KINDS = ("decoders", "models", "providers", "vectors")


def test_lines_have_100_characters_and_the_linter_says_so():
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    assert ruff["line-length"] == 100
    assert "E" in ruff["lint"]["select"]
    ignored = {*ruff["lint"].get("ignore", ())}
    for rules in ruff["lint"].get("per-file-ignores", {}).values():
        ignored |= {*rules}
    assert not {"E", "E5", "E501"} & ignored
    folders = ("ctsm_lib", "ctsm_workbench", "tests", "notebooks", "scripts")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if len(re.sub(r"\s+# (type|noqa|fmt):.*$", "", line)) > 100
    ]
    assert long == []


def test_every_module_can_be_imported_first():
    """Imports run downhill: no module needs another one to have been imported before it."""
    code = """
import sys
from importlib import import_module
for name in sys.argv[1:]:
    for old in [name for name in sys.modules if name.startswith("ctsm_")]:
        del sys.modules[old]
    import_module(name)
"""
    paths = [path for path in [*LIBRARY, *WORKBENCH] if path.name != "__main__.py"]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    names = [name.removesuffix(".__init__") for name in names]
    done = subprocess.run(
        [sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-1500:]
