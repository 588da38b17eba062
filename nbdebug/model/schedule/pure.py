"""Tell functions that only compute from those that may do something, without calling them."""

from __future__ import annotations

import builtins
import dis
import functools
import math
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from nbdebug.model.source_code import is_of_library

MODULES = frozenset({"math", "numpy", "bisect"})
# Methods of modules; a name such as append would be one of NumPy and one of a list.
METHODS = frozenset((
    *dir(math), "clip", "interp", "maximum", "minimum", "power", "bisect", "bisect_left",
    "bisect_right",
))  # fmt: skip
BUILTINS = frozenset((
    "abs", "bool", "divmod", "float", "int", "len", "max", "min", "pow", "round", "sum",
))  # fmt: skip
MISSING = object()
VALUES = (bool, int, float, str, tuple, list, dict, type(None), np.ndarray, np.number)
MAX_DEPTH = 4


def only_computes(function: Any, depth: int = 0) -> bool:
    """True if a function writes nothing and calls nothing but arithmetic, as far as its code tells.

    A function of an installed library counts as one that only computes.
    """
    if isinstance(function, functools.partial):
        return only_computes(function.func, depth)
    if not isinstance(function, FunctionType) or depth > MAX_DEPTH:
        return False
    if is_of_library(function):
        return True
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    for one in dis.get_instructions(function):
        if one.opname.startswith(("STORE_", "DELETE_")) and "FAST" not in one.opname:
            return False
        if one.opname.startswith(("IMPORT", "YIELD", "MAKE_FUNCTION")):
            return False
        if one.opname == "LOAD_GLOBAL" and not _may_use(_named(function, one.argval), depth):
            return False
        if one.opname == "LOAD_DEREF" and not _may_use(_held(cells.get(one.argval)), depth):
            return False
        method = one.opname == "LOAD_METHOD" or "NULL|self" in one.argrepr
        if method and one.argval not in METHODS:
            return False
    return True


def _may_use(value: Any, depth: int) -> bool:
    """True for numbers, collections and modules of mathematics, and functions that compute."""
    if isinstance(value, ModuleType):
        return value.__name__ in MODULES
    if isinstance(value, VALUES):
        return True
    name = getattr(value, "__name__", "")
    if name in BUILTINS and value is getattr(builtins, name, None):
        return True
    if getattr(value, "__module__", "") in MODULES:
        return True
    # An object with settings, whose methods are not called.
    return only_computes(value, depth + 1) if callable(value) else value is not MISSING


def _named(function: FunctionType, name: str) -> Any:
    return function.__globals__.get(name, getattr(builtins, name, MISSING))


def _held(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except (AttributeError, ValueError):
        return MISSING
