"""Finds code that picks layers of a container by their position or key."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from fnmatch import fnmatchcase
from types import FunctionType

from torch import nn


def indexed_in(model: nn.Module, place: nn.Sequential) -> str:
    """Who picks layers out of `place` (`self.net[0]`, `self.net[:2]`, `self.net.norm`).

    Read is the source of the classes of all modules that hold `place`, as far as it can
    be had; what happens behind another variable or outside the model is not seen.

    Returns:
        The end of a sentence that begins with the name of `place`, or "".
    """
    for owner in model.modules():
        if type(owner).__module__.startswith("torch.nn."):
            continue
        paths = [path for path, module in owner.named_modules() if module is place]
        for function in _methods(type(owner)):
            if any(_picks(function, path, tuple(place._modules)) for path in paths):
                return f"has layers that {function.__qualname__} picks one by one"
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


def _picks(function: FunctionType, path: str, keys: tuple[str, ...]) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    if not arguments:
        return False
    for node in ast.walk(tree):
        picked = isinstance(node, ast.Subscript) or (
            isinstance(node, ast.Attribute) and node.attr in keys
        )
        if picked and isinstance(node, ast.Subscript | ast.Attribute):
            pattern = _path(node.value, arguments[0])
            if pattern is not None and fnmatchcase(path, pattern):
                return True
    return False


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
