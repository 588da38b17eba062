"""Attributes that the code of a dataset writes into, read from its source."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import types
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import Any

from torch import nn

from nbdebug.model.source_code import is_of_library
from nbdebug.model.state.values.kept import AsIs, Kept, KeptObject
from nbdebug.model.state.values.places import GENERATOR_TYPES

READERS = ("__getitem__", "__getitems__", "__call__", "forward")
MUTATORS = frozenset({
    "append", "appendleft", "extend", "insert", "pop", "popleft", "remove", "discard", "add",
    "clear", "setdefault", "put", "put_nowait", "partial_fit", "fill", "sort",
})  # fmt: skip
# Functions that write into their first argument, such as `numpy.add.at` and `random.shuffle`.
WRITERS = frozenset({"at", "copyto", "shuffle", "place", "putmask", "heappush", "heappop"})


@cache
def attributes_written(kind: Any) -> dict[str, bool]:
    """Attributes that reading a sample writes into, by what the source says.

    Args:
        kind: class of a dataset, a transform or a collate_fn.

    Returns:
        For each name True if it writes into a value that was there, False if it may only fill an
        empty place, as a cache does.
    """
    found: dict[str, bool] = {}
    waiting, known = list(READERS), set[str]()
    while waiting:
        name = waiting.pop()
        function = inspect.getattr_static(kind, name, None)
        if name in known or not isinstance(function, types.FunctionType):
            continue
        known.add(name)
        if is_of_library(function) or (tree := _tree_of(function)) is None:
            continue
        writes = _Writes(tree)
        waiting += writes.methods
        for attribute, updates in writes.found:
            found[attribute] = found.get(attribute, False) or updates
    return found


def told_by_source(objects: Iterable[KeptObject], copied: Collection[int]) -> str:
    """Name of an attribute that reading writes into and no copy holds; "" for none.

    Args:
        objects: copies of the objects of a dataset; copied: ids of values that are copied once
            they have changed.
    """
    for kept in objects:
        for name, updates in attributes_written(type(kept.held)).items():  # type: ignore[arg-type]
            part = kept.parts.get(name)
            value = part.value if type(part) is AsIs else getattr(part, "held", None)
            if id(value) in copied or not _is_state(value, part):
                continue
            if updates or not isinstance(value, list | dict):
                return f"{kept.kind}.{name}"
    return ""


def _is_state(value: Any, part: Kept | None) -> bool:
    """True for a value that a write changes, and that is left as it is."""
    if isinstance(value, nn.Module):
        return True
    if type(part) is not AsIs or value is None or isinstance(value, io.IOBase):
        return False
    return not isinstance(value, (type, types.ModuleType, types.FunctionType, *GENERATOR_TYPES))


def _tree_of(function: types.FunctionType) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    return tree if isinstance(tree, ast.FunctionDef) and tree.args.args else None


class _Writes:
    """Writes of one method into attributes of its object.

    Attributes:
        found: names of attributes, and if a value that was there is changed.
        methods: other methods of the object that it calls.
    """

    def __init__(self, tree: ast.FunctionDef) -> None:
        self._self = tree.args.args[0].arg
        # Variables that are a part of an attribute.
        self._parts: dict[str, str] = {}
        self.found: list[tuple[str, bool]] = []
        self.methods: list[str] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                self._assign(node)
            elif isinstance(node, ast.AugAssign):
                self._write(node.target, updates=True)
            elif isinstance(node, ast.Delete):
                for target in node.targets:
                    self._write(target, updates=True)
            elif isinstance(node, ast.Call):
                self._call(node)

    def _assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            name, depth = self._base(node.value)
            if isinstance(target, ast.Name) and name and depth:
                self._parts[target.id] = name
            for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                self._write(one, updates=False)

    def _write(self, target: ast.expr, updates: bool) -> None:
        name, depth = self._base(target)
        if name and depth:
            self.found.append((name, updates or depth > 1))

    def _call(self, node: ast.Call) -> None:
        function = node.func
        if not isinstance(function, ast.Attribute):
            return
        name, _ = self._base(function.value)
        in_place = function.attr.endswith("_") and not function.attr.startswith("_")
        if name and (in_place or function.attr in MUTATORS):
            self.found.append((name, True))
        if isinstance(function.value, ast.Name) and function.value.id == self._self:
            self.methods.append(function.attr)
        for one in node.args[:1] if function.attr in WRITERS else ():
            if written := self._base(one)[0]:
                self.found.append((written, True))

    def _base(self, node: ast.expr) -> tuple[str, int]:
        """Attribute that an expression is a part of, and how deep inside; "" for none."""
        chain = list(_chain(node))
        root = chain[-1]
        if not isinstance(root, ast.Name):
            return "", 0
        if root.id in self._parts:
            return self._parts[root.id], len(chain)
        if root.id != self._self or len(chain) < 2 or not isinstance(chain[-2], ast.Attribute):
            return "", 0
        return chain[-2].attr, len(chain) - 2


def _chain(node: ast.expr) -> Iterator[ast.expr]:
    """An expression and what it is taken from: `a.b[c]`, `a.b`, `a`."""
    yield node
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
        yield node
