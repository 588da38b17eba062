"""Whether the code of a forward may call activation functions, found without running it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import nn

DEEPEST = 4
MOST = 300
# A name that is put together while forward runs can be any.
UNSEEN = ("getattr", "eval", "exec", "attrgetter", "methodcaller")


def mentions(module: nn.Module, names: Collection[str], functions: Collection[Any]) -> bool:
    """Whether a forward, or what it may call, has one of these names or functions in it.

    True where it cannot be told. A forward that is followed by torch.fx is run, with all
    that its author does in it: where this says no, that can be left out.

    Args:
        names: of functions and methods.
        functions: what may be behind another name.
    """
    look = _Look(names, functions)
    held = [value for key, value in vars(module).items() if not key.startswith("_")]
    return look.code(type(module).forward, type(module)) or any(map(look.value, held))


class _Look:
    """Goes through functions and what they name, each once."""

    def __init__(self, names: Collection[str], functions: Collection[Any]) -> None:
        self._names = {*names, *UNSEEN}
        self._functions = functions
        self._seen: set[int] = set()

    def code(self, function: Any, owner: type | None = None) -> bool:
        """Whether a function has it in it; `owner` is the class whose methods it may call."""
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        if not isinstance(function, FunctionType) or len(self._seen) > MOST:
            return True
        if id(function) in self._seen:
            return False
        self._seen.add(id(function))
        named = set(_named(function.__code__))
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
        """Whether a value that a function may use has it in it."""
        if any(value is function for function in self._functions):
            return True
        if isinstance(value, dict | list | tuple):
            inside = value.values() if isinstance(value, dict) else value
            return depth < DEEPEST and any(self.value(part, depth + 1) for part in inside)
        if isinstance(value, partial):
            return self.value(value.func)
        own = not _is_torchs(getattr(value, "__module__", ""))
        return own and isinstance(value, FunctionType) and self.code(value)


def _named(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _named(constant)


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _is_torchs(module: str | None) -> bool:
    return str(module).partition(".")[0] == "torch"
