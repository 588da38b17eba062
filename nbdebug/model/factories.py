"""Checks of optimizers and schedulers that are given as objects or factories."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.errors import ArgumentError

Kind = Literal["optimizer", "schedule"]
WANTED = {
    "optimizer": "a name, a torch.optim.Optimizer, or a factory that takes the parameters",
    "schedule": "a name, a torch.optim.lr_scheduler object, or a factory that takes the optimizer",
}
ONE_LOOP = {
    "optimizer": (
        " A training has one optimizer: put the parts into parameter groups of one, or train each "
        "in a Debugger of its own."
    ),
    "schedule": " Join several in a torch.optim.lr_scheduler.SequentialLR or ChainedScheduler.",
}


def check_factory(kind: Kind, given: Any, argument: str) -> None:
    """Raise ArgumentError if an object cannot be called with one argument.

    Args:
        argument: name of what the factory is called with.
    """
    if isinstance(given, list | tuple | set | Mapping):
        parts = given.values() if isinstance(given, Mapping) else given
        kinds = ", ".join(sorted({type(part).__name__ for part in parts})) or "nothing"
        raise ArgumentError(
            f"{kind} is a {type(given).__name__} of {kinds}: expected {WANTED[kind]}."
            f"{ONE_LOOP[kind]}"
        )
    if not callable(given) or inner_of(given) is not None:
        raise ArgumentError(f"{kind} is {described(given, kind)}")
    try:
        signature = inspect.signature(given)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError as error:
        name = getattr(given, "__name__", type(given).__name__)
        raise ArgumentError(
            f"{kind}={name} is called with the {argument} alone, which does not fit ({error}): "
            f"give a function such as lambda {argument}: {name}({argument}, ...)."
        ) from error


def described(thing: Any, kind: str = "optimizer") -> str:
    """End of a sentence about an object that is no optimizer or scheduler."""
    kind = "schedule" if kind == "scheduler" else kind
    inner = inner_of(thing)
    if inner is not None:
        return (
            f"a {type(thing).__name__}, which wraps a {type(inner).__name__}: give the wrapped "
            f"object itself. Expected {WANTED[kind]}."
        )
    return f"a {type(thing).__name__}: expected {WANTED[kind]}."


def inner_of(thing: Any) -> torch.optim.Optimizer | LRScheduler | None:
    """The optimizer or scheduler in a wrapper, None if an object is no wrapper."""
    if isinstance(thing, type):
        return None
    for name in ("optimizer", "scheduler", "_optimizer", "_scheduler", "optim", "base_optimizer"):
        try:
            inner = getattr(thing, name, None)
        except Exception:
            continue
        if isinstance(inner, torch.optim.Optimizer | LRScheduler):
            return inner
    return None


def check_function(name: str, value: Any) -> None:
    """Check an argument that is a function or a module, or None.

    Raises:
        ArgumentError: the argument is no function, or the class of a module.
    """
    if value is not None and not callable(value):
        raise ArgumentError(f"{name} is a {type(value).__name__}: expected a function.")
    if isinstance(value, type) and issubclass(value, nn.Module):
        call = f"{value.__name__}()"
        raise ArgumentError(f"{name} is the class {value.__name__}, not a loss: write {call}.")
