"""Finds code that picks layers of a container by their position or key."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from fnmatch import fnmatchcase
from types import FunctionType
from typing import NamedTuple

from torch import nn


class Pick(NamedTuple):
    """One place in the code: the path of the container, the key where one is named, who."""

    path: str
    key: str | None
    who: str


class PickedLayers:
    """Who picks layers out of containers (`self.net[0]`, `self.net[:2]`, `self.net.norm`).

    Read is the source of the classes of all modules that hold a container, as far as it
    can be had; what happens behind another variable or outside the model is not seen.
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
        self._picks = {
            kind: [pick for function in _methods(kind) for pick in _picks(function)]
            for kind in kinds
        }

    def sentence(self, place: nn.Sequential) -> str:
        """The end of a sentence that begins with the name of `place`; "" when nobody does."""
        for path, kind in self._holders.get(place, ()):
            for pick in self._picks[kind]:
                named = pick.key is None or pick.key in place._modules
                if named and fnmatchcase(path, pick.path):
                    return f"has layers that {pick.who} picks one by one"
        return ""


def _methods(kind: type) -> Iterator[FunctionType]:
    # The constructor may index what it builds: that is over when training begins.
    overridden = {"__init__"}
    for base in kind.__mro__:
        if base.__module__.startswith("torch.nn."):
            return
        for name, value in vars(base).items():
            if isinstance(value, FunctionType) and name not in overridden:
                yield value
        overridden.update(vars(base))


def _picks(function: FunctionType) -> list[Pick]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return []
    owner = next(iter(inspect.signature(function).parameters), "")
    picks = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript | ast.Attribute):
            path = _path(node.value, owner)
            key = node.attr if isinstance(node, ast.Attribute) else None
            if path is not None:
                picks.append(Pick(path, key, function.__qualname__))
    return picks


def _path(node: ast.expr, owner: str) -> str | None:
    """`self.blocks[i].net` as `blocks.*.net`; None for what does not begin at `owner`."""
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
