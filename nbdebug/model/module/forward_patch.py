"""What stands on a module as its `forward`, around the one of its class."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from torch import nn

COPYING = ("__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__")


class Around(Protocol):
    """Something that a forward is run within."""

    def __call__(self, run: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Do what `run(*args, **kwargs)` does, but with a difference."""


T = TypeVar("T", bound=Around)


class ForwardPatch:
    """Stands on a module as its `forward` and runs the one of its class.

    Several things may be put around that forward, in any order, and taken away again in
    any other. Pickled and copied with the module.

    Attributes:
        around: what the forward is run within, from the inside out.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.around: tuple[Around, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        run: Callable[..., Any] = partial(type(self._module).forward, self._module)
        for around in self.around:
            run = partial(around, run)
        return run(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(type(self._module).forward.__get__(self._module))


def is_users(module: nn.Module) -> bool:
    """Whether the forward of a module is somebody's own, not one of torch's layers."""
    return not str(type(module).forward.__module__).startswith("torch.")


def obstacle(module: nn.Module) -> str:
    """Why nothing can be put around a forward, the end of a sentence; "" when it can."""
    standing = vars(module).get("forward")
    if standing is not None and not isinstance(standing, ForwardPatch):
        return "has a forward that was put on the object itself"
    if overrides(module, COPYING):
        return "says itself how it is copied and pickled"
    return ""


def overrides(module: nn.Module, names: tuple[str, ...]) -> bool:
    """Whether the class of a module has methods of its own for one of these names."""
    return any(
        getattr(type(module), name, None) is not getattr(nn.Module, name, None) for name in names
    )


def found(module: nn.Module, kind: type[T]) -> T | None:
    """What of a kind is around the forward of a module."""
    standing = vars(module).get("forward")
    inside = standing.around if isinstance(standing, ForwardPatch) else ()
    return next((around for around in inside if isinstance(around, kind)), None)


def put(module: nn.Module, around: Around) -> None:
    """Put something around a forward, in the place of what it had of the same kind."""
    take(module, type(around))
    standing = vars(module).get("forward") or ForwardPatch(module)
    standing.around = (*standing.around, around)
    vars(module)["forward"] = standing


def take(module: nn.Module, kind: type[T]) -> T | None:
    """Take away what of a kind is around a forward; without anything it is the class's again."""
    away = found(module, kind)
    if away is None:
        return None
    standing: ForwardPatch = vars(module)["forward"]
    standing.around = tuple(around for around in standing.around if around is not away)
    if not standing.around:
        del vars(module)["forward"]
    return away
