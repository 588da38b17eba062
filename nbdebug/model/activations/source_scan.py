"""Scans the code of a forward for activation functions, without running it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import nn

MAX_DEPTH = 4
MAX_SCANNED_FUNCTIONS = 300
# A name that is computed at run time can be any.
DYNAMIC_LOOKUPS = ("getattr", "eval", "exec", "attrgetter", "methodcaller")


def may_call(module: nn.Module, names: Collection[str], functions: Collection[Any]) -> bool:
    """True if a forward, or code that it may call, uses one of these names or functions.

    Also true if that cannot be determined. Tracing by torch.fx runs a forward with all its side
    effects; if this is false, tracing can be skipped.

    Args:
        names: of functions and methods.
        functions: the functions, which may be bound to other names.
    """
    scan = _SourceScan(names, functions)
    held = [value for key, value in vars(module).items() if not key.startswith("_")]
    return scan.code(type(module).forward, type(module)) or any(map(scan.value, held))


class _SourceScan:
    """Walks through functions and the objects that they name, each once."""

    def __init__(self, names: Collection[str], functions: Collection[Any]) -> None:
        self._names = {*names, *DYNAMIC_LOOKUPS}
        self._functions = functions
        self._seen: set[int] = set()

    def code(self, function: Any, owner: type | None = None) -> bool:
        """True if a function uses them; `owner` is the class whose methods it may call."""
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        if not isinstance(function, FunctionType) or len(self._seen) > MAX_SCANNED_FUNCTIONS:
            return True
        if id(function) in self._seen:
            return False
        self._seen.add(id(function))
        named = set(_names_in(function.__code__))
        if named & self._names:
            return True
        found = [function.__globals__[name] for name in named if name in function.__globals__]
        found += [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
        packages = [value for value in found if isinstance(value, ModuleType)]
        found += [
            getattr(package, name)
            for package in packages
            for name in named
            if not _is_torchs(package.__name__) and hasattr(package, name)
        ]
        methods = [getattr(owner, name, None) for name in named] if owner else []
        return any(map(self.value, found)) or any(
            self.code(method, owner)
            for method in methods
            if isinstance(method, FunctionType) and not _is_torchs(method.__module__)
        )

    def value(self, value: Any, depth: int = 0) -> bool:
        """True if a value that a function may use leads to them."""
        if any(value is function for function in self._functions):
            return True
        if isinstance(value, dict | list | tuple):
            inside = value.values() if isinstance(value, dict) else value
            return depth < MAX_DEPTH and any(self.value(part, depth + 1) for part in inside)
        if isinstance(value, partial):
            return self.value(value.func)
        own = not _is_torchs(getattr(value, "__module__", ""))
        return own and isinstance(value, FunctionType) and self.code(value)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _is_torchs(module: str | None) -> bool:
    return str(module).partition(".")[0] == "torch"
