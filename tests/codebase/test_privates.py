"""Tests go through what is public; what they must reach into stands in one file."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]
INSIDE = TESTS / "inside.py"
ALLOWED = {
    # IPython's protocol: a method with one of these names is how an object shows itself.
    "_ipython_display_",
    "_repr_html_",
    "_repr_mimebundle_",
    # The documented end of a forked child.
    "_exit",
    # torch has no public way to ask for hooks, children by key, or a storage's identity.
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_post_accumulate_grad_hooks",
    "_modules",
    "_cdata",
    "_C",
    "_acc",
    "_reset_parameters",
    "_foreach_norm",
    "_setup_privateuseone_for_python_backend",
    # ipywidgets counts its living widgets there alone.
    "_instances",
}


def reached_into(path: Path) -> list[str]:
    """Private attributes of other objects that a file reads, writes or patches."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Attribute | ast.Call):
            continue
        name, place = "", ast.unparse(node)
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            name = "" if own else node.attr
        elif ast.unparse(node.func).rpartition(".")[2] in ("getattr", "setattr"):
            named = [part for part in node.args if isinstance(part, ast.Constant)]
            name = next((str(part.value) for part in named), "")
        private = name.startswith("_") and not name.endswith("__")
        if private and name not in ALLOWED:
            found.append(f"{path.name}:{node.lineno}: {place}")
    return found


def test_no_test_reaches_into_what_is_private() -> None:
    files = [path for path in sorted(TESTS.rglob("*.py")) if path != INSIDE]
    assert [place for path in files for place in reached_into(path)] == []


def test_whoever_reaches_in_is_found(tmp_path: Path) -> None:
    path = tmp_path / "test_one.py"
    path.write_text("dbg._queue\nself._x\nm.__dict__\npatch.setattr(journal, '_file', None)\n")

    assert [place.partition(":")[2] for place in reached_into(path)] == [
        "1: dbg._queue",
        "4: patch.setattr(journal, '_file', None)",
    ]
