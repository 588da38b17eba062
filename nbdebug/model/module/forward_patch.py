"""Instance-level `forward` that wraps the class's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from torch import nn

COPY_METHODS = ("__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__")


class ForwardWrapper(Protocol):
    """Callable that runs a forward inside of it."""

    def __call__(self, run: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `run(*args, **kwargs)` with something changed, and return the outputs."""


T = TypeVar("T", bound=ForwardWrapper)


class ForwardPatch:
    """Instance attribute `forward` of a module that runs the forward of its class.

    Several wrappers can be added around that forward and removed again, in any order. The
    patch is pickled and copied with the module.

    Attributes:
        wrappers: from the innermost to the outermost.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.wrappers: tuple[ForwardWrapper, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        run: Callable[..., Any] = partial(type(self._module).forward, self._module)
        for wrapper in self.wrappers:
            run = partial(wrapper, run)
        return run(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(type(self._module).forward.__get__(self._module))


def has_user_forward(module: nn.Module) -> bool:
    """True if the forward of a module is the user's own, not that of a torch layer."""
    return not str(type(module).forward.__module__).startswith("torch.")


def why_unpatchable(module: nn.Module) -> str:
    """Reason why a forward cannot be wrapped, as the end of a sentence; "" if it can."""
    patch = vars(module).get("forward")
    if patch is not None and not isinstance(patch, ForwardPatch):
        return "has a forward that was set on the object itself"
    if overrides(module, COPY_METHODS):
        return "defines itself how it is copied and pickled"
    return ""


def overrides(module: nn.Module, names: tuple[str, ...]) -> bool:
    """True if the class of a module overrides one of these methods of nn.Module."""
    return any(
        getattr(type(module), name, None) is not getattr(nn.Module, name, None) for name in names
    )


def find_wrapper(module: nn.Module, kind: type[T]) -> T | None:
    """The wrapper of a kind around the forward of a module, None without one."""
    patch = vars(module).get("forward")
    inside = patch.wrappers if isinstance(patch, ForwardPatch) else ()
    return next((wrapper for wrapper in inside if isinstance(wrapper, kind)), None)


def add_wrapper(module: nn.Module, wrapper: ForwardWrapper) -> None:
    """Wrap a forward; a wrapper of the same kind is replaced."""
    remove_wrapper(module, type(wrapper))
    patch = vars(module).get("forward") or ForwardPatch(module)
    patch.wrappers = (*patch.wrappers, wrapper)
    vars(module)["forward"] = patch


def remove_wrapper(module: nn.Module, kind: type[T]) -> T | None:
    """Remove the wrapper of a kind; with the last one the patch is removed too."""
    removed = find_wrapper(module, kind)
    if removed is None:
        return None
    patch: ForwardPatch = vars(module)["forward"]
    patch.wrappers = tuple(one for one in patch.wrappers if one is not removed)
    if not patch.wrappers:
        del vars(module)["forward"]
    return removed
