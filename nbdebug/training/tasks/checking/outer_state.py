"""Search for state of the user's code that no copy of a training holds, such as a counter."""

from __future__ import annotations

import dis
import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from nbdebug.model.source_code import is_of_library
from nbdebug.model.state.copying import SIMPLE_TYPES
from nbdebug.training.data.sources import DatasetSource, StreamSource
from nbdebug.training.engine.session import Session

ASSIGN_OUTSIDE = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
WRITE_INTO = frozenset({"STORE_ATTR", "STORE_SUBSCR", "DELETE_SUBSCR"})
WRITING_METHODS = frozenset({
    "add", "append", "appendleft", "clear", "extend", "insert", "pop", "popleft", "remove",
    "setdefault", "update", "write",
})  # fmt: skip
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def outer_state(session: Session) -> str:
    """Name the code whose additional runs may be seen from outside; "" if there is none.

    Weights, buffers, attributes of modules and random numbers are copied and restored. A number
    that a function counts in a variable of its own is not.
    """
    if session.body is not None:
        return "a loop of your own"
    if session.step_fn is not None:
        return "step_fn"
    for name, code in _code(session):
        if not _is_clean(code, set()):
            return name
    source = session.source
    if isinstance(source, StreamSource):
        return "a stream of data"
    if isinstance(source, DatasetSource):
        for code in (getattr(type(source.dataset), "__getitem__", None), source.own_collate):
            if not (_is_clean(code, set()) and _only_reads(code)):
                return "the dataset"
    return ""


def _code(session: Session) -> Iterator[tuple[str, Any]]:
    """Names and objects of the code that runs for a batch, beside its data."""
    yield "loss_fn", session.loss_fn
    for module in session.model.modules():
        yield f"the forward of {type(module).__name__}", module
        hooks = (hook for kind in HOOKS for hook in getattr(module, kind).values())
        yield from (("a hook of the model", hook) for hook in hooks)


def _is_clean(code: Any, seen: set[int]) -> bool:
    """Tell if code reaches nothing that it could change and that is not copied."""
    if id(code) in seen or isinstance(code, types.BuiltinFunctionType | type):
        return True
    seen.add(id(code))
    if isinstance(code, functools.partial):
        return all(_is_held(one, seen) for one in (code.func, *code.args, *code.keywords.values()))
    if isinstance(code, types.MethodType):
        return isinstance(code.__self__, nn.Module) and _is_clean(code.__func__, seen)
    if isinstance(code, nn.Module):
        own = [] if is_of_library(type(code)) else [type(code).forward]
        own += [vars(code)["forward"]] if "forward" in vars(code) else []
        return all(_is_clean(one, seen) for one in own)
    if not isinstance(code, types.FunctionType):
        return is_of_library(type(code))
    if _is_of_library(code):
        return True
    found = inspect.getclosurevars(code)
    reached = (*found.nonlocals.values(), *found.globals.values(), *(code.__defaults__ or ()))
    return not _assigns(code) and all(_is_held(one, seen) for one in reached)


def _is_held(value: Any, seen: set[int]) -> bool:
    """Tell if a value cannot change, or goes back with the training."""
    if type(value) in SIMPLE_TYPES or isinstance(
        value, types.ModuleType | type | torch.Tensor | torch.device | torch.dtype
    ):
        return True
    if isinstance(value, tuple | frozenset):
        return all(_is_held(one, seen) for one in value)
    return callable(value) and _is_clean(value, seen)


def _assigns(function: types.FunctionType) -> bool:
    """Tell if a function binds variables outside of it."""
    outside = set(function.__code__.co_freevars)
    return any(
        one.opname in ASSIGN_OUTSIDE or (one.opname == "STORE_DEREF" and one.argval in outside)
        for one in dis.get_instructions(function)
    )


def _only_reads(code: Any) -> bool:
    """Tell if a function writes into no object, which may be the dataset itself."""
    if not isinstance(code, types.FunctionType) or _is_of_library(code):
        return True
    return not any(
        one.opname in WRITE_INTO
        or (one.opname in ("LOAD_METHOD", "LOAD_ATTR") and one.argval in WRITING_METHODS)
        for one in dis.get_instructions(code)
    )


def _is_of_library(function: types.FunctionType) -> bool:
    return (function.__module__ or "").partition(".")[0] in ("torch", "torchvision", "nbdebug")
