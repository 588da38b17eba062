from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT_TORCH = [
    name
    for name in ("core", "elsewhere", "panels", "rules", "runs")
    if (ROOT / "nbdebug" / name).is_dir()
]
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module("{package}")
for info in pkgutil.walk_packages(package.__path__, "{package}."):
    importlib.import_module(info.name)
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


def child(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def packages_after(source: str) -> set[str]:
    """Top-level packages that a fresh interpreter holds after running `source`."""
    result = child("-c", source)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_imports_only_go_down() -> None:
    result = child("-c", "from importlinter.cli import lint_imports_command as c; c()")

    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_loads_without_torch(name: str) -> None:
    loaded = packages_after(IMPORT_ALL.format(package=f"nbdebug.{name}"))

    assert "nbdebug" in loaded
    assert "torch" not in loaded


def test_core_loads_without_widgets() -> None:
    loaded = packages_after(IMPORT_ALL.format(package="nbdebug.core"))

    assert not loaded & {"anywidget", "bokeh", "ipywidgets"}


def test_importing_nbdebug_loads_nothing_heavy() -> None:
    loaded = packages_after("import sys, nbdebug; print(*sys.modules)")

    assert "nbdebug" in loaded
    assert not loaded & {"torch", "bokeh", "pandas", "ipywidgets", "anywidget"}


def imports_of_tests(source: str) -> list[str]:
    """Lines of a program, a notebook or a script that import `tests` or run a part of it."""
    found = r"(?:from|import) tests\b(?!\w)|-m tests\b|import_module\(.tests\b"
    return [line for line in source.splitlines() if re.search(found, line)]


def test_nothing_outside_the_tests_imports_them() -> None:
    folders = ("nbdebug", "tools", "benchmarks", "notebooks", "binder")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    texts = [path for path in files if path.suffix in ("", ".py", ".ipynb")]
    sources = {str(p.relative_to(ROOT)): p.read_text("utf-8") for p in [ROOT / "Makefile", *texts]}
    assert {"nbdebug/__init__.py", "tools/install", "notebooks/05_what_is_wrong.ipynb"} <= {
        *sources
    }
    found = {name: imports_of_tests(source) for name, source in sources.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line", ["from tests.problems import blobs", '    "import tests\\n",', "python -m tests.x"]
)
def test_an_import_of_the_tests_is_seen(line: str) -> None:
    assert imports_of_tests(f"import os\n{line}\nfrom testsuite import x\n") == [line]
