from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "nbdebug"
FILES = [path for suffix in ("py", "js", "css") for path in sorted(PACKAGE.rglob(f"*.{suffix}"))]
FILE_LIMIT = 300
FUNCTION_LIMIT = 40
FOLDER_LIMIT = 15
PLUGIN_FOLDERS = {"checks", "controls", "panels", "probes", "rules"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield node


def lines(function: Function) -> int:
    """Lines from `def` to the end, with the docstring."""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def test_files_are_short() -> None:
    sizes = {
        str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in FILES
    }

    assert "core/history/history.py" in sizes
    assert {name: size for name, size in sizes.items() if size > FILE_LIMIT} == {}


def test_folders_are_small() -> None:
    modules = [path.relative_to(PACKAGE) for path in FILES if path.suffix == ".py"]
    sizes = Counter(str(path.parent) for path in modules)

    assert sizes.keys() > PLUGIN_FOLDERS
    large = {name: size for name, size in sizes.items() if size > FOLDER_LIMIT}
    assert {name: size for name, size in large.items() if name not in PLUGIN_FOLDERS} == {}


def test_functions_are_short() -> None:
    sizes = {
        f"{path.relative_to(PACKAGE)}: {function.name}": lines(function)
        for path in FILES
        if path.suffix == ".py"
        for function in functions(path)
    }

    assert "core/history/history.py: append" in sizes
    assert {name: size for name, size in sizes.items() if size > FUNCTION_LIMIT} == {}


def test_docstrings_count() -> None:
    function = ast.parse(
        '@staticmethod\ndef f():\n    """One.\n\n    Two."""\n    return 1\n'
    ).body[0]

    assert isinstance(function, ast.FunctionDef)
    assert lines(function) == 5
