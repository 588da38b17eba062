"""No files import each other in a circle, not even inside of functions or for types alone."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "nbdebug"
Graph = Mapping[str, set[str]]


def sources() -> dict[str, str]:
    """Source of each module by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path.read_text(encoding="utf-8")
    return found


def imported(source: str, modules: Collection[str]) -> Iterator[str]:
    """Modules that a module imports anywhere, or imports names from."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "imports are absolute"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in modules else node.module


def graph_of(modules: Mapping[str, str]) -> Graph:
    """Files that each file imports."""
    return {
        name: {one for one in imported(source, modules) if one in modules and one != name}
        for name, source in modules.items()
    }


def reached(graph: Graph, start: str) -> set[str]:
    """All that a module leads to; itself only in a circle."""
    found: set[str] = set()
    todo = [start]
    while todo:
        new = graph[todo.pop()] - found
        found |= new
        todo += new
    return found


def in_circles(graph: Graph) -> set[str]:
    return {name for name in graph if name in reached(graph, name)}


def test_files_do_not_import_each_other() -> None:
    graph = graph_of(sources())

    assert len(graph) > 500
    assert sum(map(len, graph.values())) > 2000
    assert in_circles(graph) == set()


def test_circles_in_functions_and_for_types_are_seen() -> None:
    modules = {
        "a": "def f():\n    from b import g\n",
        "b": "import c.d\n",
        "c": "from c.d import x\n",
        "c.d": "if TYPE_CHECKING:\n    from a import f\n",
        "e": "import a\n",
    }
    assert in_circles(graph_of(modules)) == {"a", "b", "c.d"}
