"""Places where Python keeps values: cells of functions, slots and members of classes."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


def functions_in(member: Any) -> list[types.FunctionType]:
    """Functions of a member of a class: a method, of any kind, or a property."""
    names = ("__func__", "fget", "fset", "func", "__wrapped__")
    found = [member, *(getattr(member, name, None) for name in names)]
    return [one for one in found if isinstance(one, types.FunctionType)]


def set_in_class(kind: type, name: str, value: Any) -> None:
    """Set an attribute of a class, unless it is that value."""
    if vars(kind).get(name) is not value:
        type.__setattr__(kind, name, value)


def slots(kind: type) -> Iterator[str]:
    """Names of the slots of a class and its bases."""
    for one in kind.__mro__:
        for name, member in vars(one).items():
            if isinstance(member, types.MemberDescriptorType):
                yield name


def content(cell: types.CellType) -> Any:
    """Value of a variable that a function took from the one around it; None before it has one."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def fill(cell: types.CellType, value: Any) -> None:
    """Set such a variable."""
    cell.cell_contents = value


def hooks_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Hooks of a network, a tensor or an optimizer, by name, without those of nbdebug."""
    for one in value.modules() if isinstance(value, nn.Module) else (value,):
        inside = dict(vars(one)) if hasattr(one, "__dict__") else {}
        if isinstance(one, torch.Tensor):
            inside["_backward_hooks"] = one._backward_hooks
        for name, hooks in inside.items():
            if name.endswith("_hooks") and isinstance(hooks, dict):
                yield from ((name, hook) for hook in list(hooks.values()) if not _is_own(hook))


def _is_own(hook: Any) -> bool:
    kind = hook if isinstance(hook, types.FunctionType) else type(hook)
    return str(kind.__module__).partition(".")[0] == "nbdebug"
