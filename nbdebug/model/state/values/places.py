"""Places where Python keeps values: cells of functions, slots and members of classes."""

from __future__ import annotations

import csv
import decimal
import functools
import gc
import io
import logging
import os
import random
import re
import sys
import types
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from nbdebug.core.attributes import attribute
from nbdebug.model.source_code import is_of_library, used_names

GENERATOR_TYPES = (torch.Generator, random.Random, np.random.RandomState, np.random.Generator)
# Belong to an object: what a method made in C acts on, or a view looks into.
CSV_WRITER = type(csv.writer(io.StringIO()))
OWNED_TYPES = (types.MethodWrapperType, types.BuiltinMethodType, memoryview, CSV_WRITER)
CONTEXTS = ("getcontext", "setcontext")
HOOKS_OF_ALL_OPTIMIZERS = ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")
HOOKS_OF_TENSORS = ("_backward_hooks", "_post_accumulate_grad_hooks")
HOOKS_OF_MODULES = tuple(name for name in vars(nn.Module()) if name.endswith("_hooks"))
HOOK_MARKS = tuple(name for name in vars(nn.Module()) if "_hooks_" in name)
CACHE = type(functools.lru_cache(len))
# Names of functions that give other values each time.
DRAWS = re.compile("rand|normal|choice|shuffle|sample|uniform|bernoulli|multinomial|dropout|time")
# In a place without a value, such as a variable before its first assignment.
ABSENT: Any = object()


def functions_in(member: Any) -> list[types.FunctionType]:
    """Functions of a member of a class: a method, of any kind, or a property."""
    names = ("__func__", "fget", "fset", "func", "__wrapped__")
    found = [member, *(attribute(member, name, None) for name in names)]
    return [one for one in found if isinstance(one, types.FunctionType)]


def put(space: dict[str, Any], name: str, value: Any) -> None:
    """Bind a name in a dict; `ABSENT` removes it."""
    if value is ABSENT:
        space.pop(name, None)
    else:
        space[name] = value


def set_in_class(kind: type, name: str, value: Any) -> None:
    """Set an attribute of a class, unless it is that value."""
    if vars(kind).get(name) is not value:
        type.__setattr__(kind, name, value)


def slots(kind: type) -> Iterator[str]:
    """Names of the slots of a class and its bases; what a class made in C has is no state."""
    for one in kind.__mro__:
        for name, member in vars(one).items() if "__slots__" in vars(one) else ():
            if isinstance(member, types.MemberDescriptorType):
                yield name


def content(cell: types.CellType) -> Any:
    """Value of a variable that a function took from the one around it, or `ABSENT`."""
    try:
        return cell.cell_contents
    except ValueError:
        return ABSENT


def fill(cell: types.CellType, value: Any) -> None:
    """Set such a variable."""
    if value is not ABSENT:
        cell.cell_contents = value
        return
    with suppress(ValueError):
        del cell.cell_contents


def owner_of(value: Any) -> Any:
    """Object that a value of `OWNED_TYPES` belongs to; None for a function of a module."""
    if isinstance(value, CSV_WRITER):
        # It shows nobody the method of the file that it writes by, or its own method.
        held = gc.get_referents(value)
        found = [one for one in held if isinstance(one, types.BuiltinMethodType | types.MethodType)]
        return found[0].__self__ if found else None
    owner = value.obj if isinstance(value, memoryview) else value.__self__
    return None if isinstance(owner, types.ModuleType) else owner


def value_at(bind: Callable[[Any], None] | None, value: Any) -> Any:
    """Value that is now in the place that `bind` binds, or `value` where that cannot be told."""
    if not isinstance(bind, partial):
        return value
    if bind.func is fill:
        return content(bind.args[0])
    if bind.func is put:
        return bind.args[0].get(bind.args[1], ABSENT)
    if bind.func is set_in_class:
        return vars(bind.args[0]).get(bind.args[1], ABSENT)
    space = getattr(bind.func, "__self__", None)
    return space.get(bind.args[0], ABSENT) if isinstance(space, dict) else value


def parameters_of(value: Any) -> Iterator[torch.Tensor]:
    """Parameters of a network that have attributes of their own; or a tensor that has."""
    held = value.parameters() if isinstance(value, nn.Module) else (value,)
    return (one for one in held if isinstance(one, torch.Tensor) and vars(one))


def attributes_of_parameters(
    model: nn.Module | torch.Tensor,
) -> Iterator[tuple[str, Any, Callable[[Any], None]]]:
    """Attributes that code has put on parameters, and what binds them."""
    for parameter in parameters_of(model):
        for name, part in list(vars(parameter).items()):
            yield f"parameter.{name}", part, partial(put, vars(parameter), name)


def hooks_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Hooks of a network, a tensor or an optimizer, by name, without those of nbdebug."""
    held = hooked(value) if isinstance(value, nn.Module | torch.Tensor) else (value,)
    for one in held:
        for name, hooks in hooks_by_name(one):
            yield from ((name, hook) for hook in list(hooks.values()) if not is_own(hook))


def around_optimizer(
    optimizer: torch.optim.Optimizer,
) -> Iterator[tuple[str, Any, Callable[[Any], None] | None]]:
    """Hooks of an optimizer, and what one of the user's own keeps in attributes, with its binds."""
    for name, hook in hooks_of(optimizer):
        yield f"optimizer.{name}", hook, None
    for name in HOOKS_OF_ALL_OPTIMIZERS:
        # The module has no name in its package.
        for hook in list(getattr(sys.modules["torch.optim.optimizer"], name, {}).values()):
            if not is_own(hook):
                yield f"optimizer.{name}", hook, None
    if not is_of_library(type(optimizer)):
        for name, value in list(vars(optimizer).items()):
            if name not in _of_every_optimizer():
                yield f"optimizer.{name}", value, partial(put, vars(optimizer), name)


@functools.cache
def _of_every_optimizer() -> frozenset[str]:
    """Names of what torch itself keeps in an optimizer, and of what a scheduler puts there.

    Made when it is asked for: the first optimizer loads torch's compiler, which takes a second.
    """
    own = vars(torch.optim.SGD([torch.zeros(1)]))
    return frozenset((*own, "step", "_opt_called", "_step_count"))


def hooked(value: nn.Module | torch.Tensor) -> Iterator[nn.Module | torch.Tensor]:
    """Modules and parameters of a network, or a tensor, which may have hooks."""
    if isinstance(value, nn.Module):
        yield from value.modules()
        yield from value.parameters()
    else:
        yield value


def hooks_by_name(value: Any) -> list[tuple[str, dict[int, Any]]]:
    """Dicts of the hooks that a module, a tensor or an optimizer has."""
    if isinstance(value, torch.Tensor):
        found = [(name, getattr(value, name, None)) for name in HOOKS_OF_TENSORS]
        return [(name, hooks) for name, hooks in found if hooks]
    inside = attribute(value, "__dict__", {})
    if isinstance(value, nn.Module):
        return [(name, hooks) for name in HOOKS_OF_MODULES if (hooks := inside.get(name))]
    return [
        (name, hooks)
        for name, hooks in inside.items()
        if name.endswith("_hooks") and hooks and isinstance(hooks, dict)
    ]


def hook_marks(value: Any) -> list[dict[int, Any]]:
    """Dicts that tell which hooks of a module take keywords, or are always called."""
    if not isinstance(value, nn.Module):
        return []
    inside = vars(value)
    return [marks for name in HOOK_MARKS if (marks := inside.get(name))]


def is_own(hook: Any) -> bool:
    """True for a hook of nbdebug."""
    if isinstance(hook, partial):
        return is_own(hook.func)
    hook = getattr(hook, "__func__", hook)
    kind = hook if isinstance(hook, types.FunctionType) else type(hook)
    return str(kind.__module__).partition(".")[0] == "nbdebug"


def parts_of_process(module: types.ModuleType, code: types.CodeType) -> Iterator[tuple[str, Any]]:
    """Parts of a module of the standard library that code uses, and may change for all."""
    if module is os and "environ" in used_names(code):
        yield "os.environ", os.environ
    elif module is logging:
        known = logging.root.manager.loggerDict
        yield "logging.root", logging.root
        yield from ((one, known[one]) for one in sorted(texts_in(code) & known.keys()))
    yield from parts_of_thread(module, used_names(code))


def parts_of_thread(module: Any, names: Container[str]) -> Iterator[tuple[str, Any]]:
    """Functions among some names of a module whose state belongs to a thread."""
    for one in CONTEXTS if module is decimal else ():
        if one in names:
            yield f"decimal.{one}", getattr(decimal, one)


def handlers_of(log: logging.Logger) -> Iterator[logging.Handler]:
    """Handlers that get the lines of a logger."""
    one: logging.Logger | None = log
    while one is not None:
        yield from one.handlers
        one = one.parent if one.propagate else None


def fills_by_chance(value: Any) -> bool:
    """True for a cached function of the user's that draws numbers or reads what may change."""
    function = attribute(value, "__wrapped__", None)
    if not isinstance(value, CACHE) or not isinstance(function, types.FunctionType):
        return False
    if is_of_library(function):
        return False
    names, space = used_names(function.__code__), function.__globals__
    read = [space[name] for name in names & space.keys()]
    moves = any(isinstance(one, (list, dict, set, torch.Tensor, *GENERATOR_TYPES)) for one in read)
    return bool(function.__closure__) or moves or any(map(DRAWS.search, names))


def texts_in(code: types.CodeType) -> set[str]:
    """Texts that code holds."""
    return {one for one in code.co_consts if isinstance(one, str)}


def forwards(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Functions and generators of the classes of a model's modules, and its hooks."""
    yield from held_by({type(module) for module in model.modules()})
    yield from hooks_of(model)


def functions_of(kinds: Iterable[type]) -> Iterator[tuple[str, Any]]:
    """The functions of classes and their bases that are not of a library, by name."""
    return ((n, value) for n, value in held_by(kinds) if isinstance(value, types.FunctionType))


def held_by(kinds: Iterable[type]) -> Iterator[tuple[str, Any]]:
    """Functions and random number generators of classes that are not of a library, by name."""
    for kind in kinds:
        for one in kind.__mro__:
            if not is_of_library(one):
                for name, value in vars(one).items():
                    if isinstance(value, (types.FunctionType, *GENERATOR_TYPES)):
                        yield f"{one.__name__}.{name}", value
