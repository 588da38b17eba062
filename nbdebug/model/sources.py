"""The source of classes and functions of the user's own, with what they need from around them."""

from __future__ import annotations

import builtins
import inspect
import sys
import textwrap
import types
from collections.abc import Iterable, Iterator
from typing import Any

from nbdebug.core.errors import ScriptError

PLAIN = (int, float, complex, str, bytes, bool, type(None))


class Sources:
    """Collects imports and definitions, each once, what is needed first comes first.

    Attributes:
        imports: lines such as `from torch import nn`; definitions: sources and constants.
    """

    def __init__(self) -> None:
        self.imports: dict[str, None] = {}
        self.definitions: list[str] = []
        self._known: set[str] = set()

    def add(self, thing: Any) -> str:
        """Take in a class or a function; gives the expression that names it.

        Raises:
            ScriptError: its source cannot be found.
        """
        module = getattr(thing, "__module__", None) or "builtins"
        name = getattr(thing, "__qualname__", "")
        if name == "<lambda>" or "<locals>" in name:
            return self._define(thing, name)
        if _installed(module):
            top, _, rest = name.partition(".")
            self.imports[f"from {module} import {top}"] = None
            return f"{top}.{rest}" if rest else top
        return self._define(thing, name)

    def _define(self, thing: Any, name: str) -> str:
        short = name.rpartition(".")[2]
        if not short.isidentifier():
            raise ScriptError(
                f"A {short or 'thing'} cannot be written into a script: give it a name by def."
            )
        if short in self._known:
            return short
        self._known.add(short)
        try:
            source = textwrap.dedent(inspect.getsource(thing))
        except (OSError, TypeError) as error:
            raise ScriptError(
                f"The source of {short} cannot be found ({error}): define it in a cell or a file."
            ) from error
        for used, value in _globals_of(thing):
            self._need(used, value)
        self.definitions.append(source.rstrip())
        return short

    def _need(self, name: str, value: Any) -> None:
        """Something that a definition uses by a global name."""
        if isinstance(value, types.ModuleType):
            line = f"import {value.__name__}"
            self.imports[line if value.__name__ == name else f"{line} as {name}"] = None
        elif isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            found = self.add(value)
            if found != name:
                self.definitions.append(f"{name} = {found}")
        elif type(value) in PLAIN or (
            type(value) in (tuple, list) and all(type(part) in PLAIN for part in value)
        ):
            if name not in self._known:
                self._known.add(name)
                self.definitions.append(f"{name} = {value!r}")
        else:
            raise ScriptError(
                f"{name}, a {type(value).__name__} that your code uses, cannot be written into a "
                "script: pass it as an argument or define it by numbers."
            )


def _installed(module: str) -> bool:
    """Whether a module can be imported by whoever runs the script; cells and scripts cannot."""
    found = sys.modules.get(module)
    if module in ("__main__", "builtins"):
        return module == "builtins"
    place = getattr(found, "__file__", "") or ""
    return "site-packages" in place or module.partition(".")[0] in sys.stdlib_module_names


def _globals_of(thing: Any) -> Iterator[tuple[str, Any]]:
    """Global names that a class or a function uses, and what they stand for."""
    for function in _functions(thing):
        names = dict.fromkeys(_names(function.__code__))
        for name in names:
            if name in function.__globals__ and not hasattr(builtins, name):
                value = function.__globals__[name]
                if value is not thing:
                    yield name, value
    if inspect.isclass(thing):
        for base in thing.__bases__:
            if base is not object:
                found = sys.modules.get(thing.__module__)
                known = vars(found) if found is not None else {}
                name = next((n for n, v in known.items() if v is base), "")
                if name:
                    yield name, base
        # class Net(nn.Module): the source names the module.
        yield from _modules_named(thing)


def _modules_named(kind: type) -> Iterator[tuple[str, Any]]:
    found = sys.modules.get(kind.__module__)
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        return
    for name, value in list(vars(found).items()) if found is not None else ():
        if isinstance(value, types.ModuleType) and f"{name}." in source:
            yield name, value


def _functions(thing: Any) -> Iterator[types.FunctionType]:
    if isinstance(thing, types.FunctionType):
        yield thing
    elif inspect.isclass(thing):
        for member in vars(thing).values():
            inner = getattr(member, "__func__", getattr(member, "fget", member))
            if isinstance(inner, types.FunctionType):
                yield inner


def _names(code: types.CodeType) -> Iterable[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
