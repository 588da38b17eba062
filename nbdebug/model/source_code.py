"""Source code of the user's classes and functions, with the globals that they use."""

from __future__ import annotations

import ast
import builtins
import dis
import functools
import inspect
import linecache
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterator
from typing import Any

from nbdebug.errors import ScriptError
from nbdebug.model.state.copying import SIMPLE_TYPES

LIBRARIES = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")})


class Sources:
    """Collects imports and definitions, each once, in the order in which a script needs them.

    Attributes:
        imports: lines such as `from torch import nn`; definitions: sources and constants.
    """

    def __init__(self) -> None:
        self.imports: dict[str, None] = {}
        self.definitions: list[str] = []
        self._known: set[str] = set()

    def add(self, thing: Any) -> str:
        """Add a class or a function and return the expression that names it.

        Raises:
            ScriptError: the source cannot be found.
        """
        module = getattr(thing, "__module__", None) or "builtins"
        name = getattr(thing, "__qualname__", "")
        if name == "<lambda>" or "<locals>" in name:
            return self._define(thing, name)
        if _is_importable(module):
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
            source = source_of(thing)
        except (OSError, TypeError) as error:
            raise ScriptError(
                f"The source of {short} cannot be found ({error}): define it in a cell or a file."
            ) from error
        for used, value in _globals_of(thing, source):
            self._need(used, value)
        self.definitions.append(source.rstrip())
        return short

    def _need(self, name: str, value: Any) -> None:
        """Add a global that a definition uses."""
        if isinstance(value, types.ModuleType):
            line = f"import {value.__name__}"
            self.imports[line if value.__name__ == name else f"{line} as {name}"] = None
        elif isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            found = self.add(value)
            if found != name:
                self.definitions.append(f"{name} = {found}")
        elif type(value) in SIMPLE_TYPES or (
            type(value) in (tuple, list) and all(type(part) in SIMPLE_TYPES for part in value)
        ):
            if name not in self._known:
                self._known.add(name)
                self.definitions.append(f"{name} = {value!r}")
        else:
            raise ScriptError(
                f"{name}, a {type(value).__name__} that your code uses, cannot be written into a "
                "script: pass it as an argument or define it by numbers."
            )


def source_of(thing: Any) -> str:
    """Source of a class or a function, also of a class defined in a cell.

    Raises:
        OSError, TypeError: the source cannot be found.
    """
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        # inspect finds no class of a cell, which is not in a file; functions know their lines.
        for function in _functions(thing):
            found = _class_around(function.__code__, thing.__name__)
            if found is not None:
                return found
        raise


def _class_around(code: types.CodeType, name: str) -> str | None:
    lines = linecache.getlines(code.co_filename)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        # Code that was made from a page or a template names that as its file.
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == name:
            end = node.end_lineno or node.lineno
            if node.lineno <= code.co_firstlineno <= end:
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                return textwrap.dedent("".join(lines[first - 1 : end]))
    return None


def _is_importable(module: str) -> bool:
    """True if the script can import a module; false for cells and scripts."""
    found = sys.modules.get(module)
    if module in ("__main__", "builtins"):
        return module == "builtins"
    file = getattr(found, "__file__", "") or ""
    return "site-packages" in file or module.partition(".")[0] in sys.stdlib_module_names


def _globals_of(thing: Any, source: str) -> Iterator[tuple[str, Any]]:
    """Global names that a class or a function uses, with their values."""
    around = vars(sys.modules[thing.__module__]) if thing.__module__ in sys.modules else {}
    for name in dict.fromkeys(_names_at_definition(ast.parse(source).body[0])):
        if name in around and not hasattr(builtins, name):
            yield name, around[name]
    for function in _functions(thing):
        for name in dict.fromkeys(_global_names(function.__code__)):
            known = function.__globals__
            if name in known and not hasattr(builtins, name) and known[name] is not thing:
                yield name, known[name]


def _names_at_definition(node: ast.AST) -> Iterator[str]:
    """Names that are looked up when a definition is executed: bases, decorators, defaults."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        parts: list[ast.AST | None] = [
            *node.decorator_list,
            *node.args.defaults,
            *node.args.kw_defaults,
        ]
    elif isinstance(node, ast.ClassDef):
        parts = [*node.decorator_list, *node.bases, *(k.value for k in node.keywords), *node.body]
    else:
        yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name))
        return
    for part in parts:
        if part is not None:
            yield from _names_at_definition(part)


def _functions(thing: Any) -> Iterator[types.FunctionType]:
    if isinstance(thing, types.FunctionType):
        yield thing
    elif inspect.isclass(thing):
        for member in vars(thing).values():
            inner = getattr(member, "__func__", getattr(member, "fget", member))
            if isinstance(inner, types.FunctionType):
                yield inner


def _global_names(code: types.CodeType) -> Iterator[str]:
    """Global names that code reads, without names of attributes."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


@functools.lru_cache(1024)
def used_names(code: types.CodeType) -> frozenset[str]:
    """Names of globals and attributes that code uses."""
    inner = (used_names(part) for part in code.co_consts if isinstance(part, types.CodeType))
    return frozenset(code.co_names).union(*inner)


@functools.lru_cache(1024)
def globals_of(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """Global names that code reads, and those that it binds, also as `globals()["name"]`."""
    read, stored = set[str](), set[str]()
    # The code of a cell or a script binds its names as globals.
    top = code.co_name == "<module>"
    for part in dis.get_instructions(code):
        if part.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            read.add(part.argval)
        elif part.opname == "STORE_GLOBAL" or (top and part.opname == "STORE_NAME"):
            stored.add(part.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = globals_of(constant)
            read |= inner[0]
            stored |= inner[1]
    if "globals" in read:
        texts = (one for one in code.co_consts if isinstance(one, str))
        stored |= {text for text in texts if text.isidentifier()}
    return frozenset(read), frozenset(stored)


@functools.lru_cache(1024)
def cells_bound(code: types.CodeType) -> frozenset[str]:
    """Variables of the functions around it that code binds, also in functions within it."""
    found = {part.argval for part in dis.get_instructions(code) if part.opname == "STORE_DEREF"}
    inner = (one for one in code.co_consts if isinstance(one, types.CodeType))
    return frozenset(found).union(*map(cells_bound, inner))


def is_of_library(kind: Any) -> bool:
    """True for a class or a function of an installed package, the standard library or nbdebug."""
    name = str(kind.__module__)
    module = sys.modules.get(name)
    return is_library_file(name, getattr(module, "__file__", None))


def is_library_file(name: str, file: str | None) -> bool:
    """True if a module of this name and file is of a library; one without a file is built in."""
    if file is None:
        return name != "__main__"
    return bool(file.startswith(LIBRARIES)) or name.partition(".")[0] == "nbdebug"
