"""Finds code that accesses layers of a container by index or name."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from fnmatch import fnmatchcase
from types import FunctionType
from typing import NamedTuple

from torch import nn


class LayerAccess(NamedTuple):
    """Access to a layer: path of the container, key if it is known, and the function."""

    path: str
    key: str | None
    who: str


class IndexedLayers:
    """Functions that access layers of containers (`self.net[0]`, `self.net[:2]`, `self.net.norm`).

    These are found in the source of the classes of all modules that hold a container, as far
    as it is available. Access by way of another variable or from outside the model is missed.
    """

    def __init__(self, model: nn.Module) -> None:
        self._holders: dict[nn.Module, list[tuple[str, type]]] = {}
        kinds = set()
        for owner in model.modules():
            kind = type(owner)
            if kind.__module__.startswith("torch.nn."):
                continue
            kinds.add(kind)
            for path, module in owner.named_modules():
                if isinstance(module, nn.Sequential):
                    self._holders.setdefault(module, []).append((path, kind))
        self._accesses = {
            kind: [access for function in _methods(kind) for access in _accesses(function)]
            for kind in kinds
        }

    def sentence(self, container: nn.Sequential) -> str:
        """The end of a sentence that begins with the name of `container`; "" without access."""
        for path, kind in self._holders.get(container, ()):
            for access in self._accesses[kind]:
                named = access.key is None or access.key in container._modules
                if named and fnmatchcase(path, access.path):
                    return f"has layers that {access.who} accesses one by one"
        return ""


def _methods(kind: type) -> Iterator[FunctionType]:
    # The constructor may index the layers it builds, before training begins.
    overridden = {"__init__"}
    for base in kind.__mro__:
        if base.__module__.startswith("torch.nn."):
            return
        for name, value in vars(base).items():
            if isinstance(value, FunctionType) and name not in overridden:
                yield value
        overridden.update(vars(base))


def _accesses(function: FunctionType) -> list[LayerAccess]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return []
    owner = next(iter(inspect.signature(function).parameters), "")
    accesses = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript | ast.Attribute):
            path = _path(node.value, owner)
            key = node.attr if isinstance(node, ast.Attribute) else None
            if path is not None:
                accesses.append(LayerAccess(path, key, function.__qualname__))
    return accesses


def _path(node: ast.expr, owner: str) -> str | None:
    """`self.blocks[i].net` as `blocks.*.net`; None for a path that does not begin at `owner`."""
    if isinstance(node, ast.Name):
        return "" if node.id == owner else None
    if isinstance(node, ast.Attribute):
        step, before = node.attr, _path(node.value, owner)
    elif isinstance(node, ast.Subscript):
        step = str(node.slice.value) if isinstance(node.slice, ast.Constant) else "*"
        before = _path(node.value, owner)
    else:
        return None
    return None if before is None else f"{before}.{step}".lstrip(".")
