"""Sees the calls of torch by which a loop makes an update, in the thread of the loop only."""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn


class Observer(Protocol):
    """Watcher of the calls of a loop, in `thread`."""

    thread: int | None

    def backward(self, call: Callable[[bool], Any], roots: Any) -> Any:
        """Make a backward pass from `roots` by `call(keep)`, which may keep the graph."""

    def clip(self, call: Callable[[], Any]) -> Any:
        """Let the loop clip gradients by `call`."""

    def update(self, step: Callable[..., Any], closure: Callable[[], Any] | None) -> Any:
        """Make an update by `step(closure)`."""


class TorchCalls:
    """Replaces torch's functions while a loop is watched; other threads find them as they were.

    A function that the loop's module imported by name before, such as `clip_grad_norm_`, is not
    seen.
    """

    def __init__(self, observer: Observer, optimizer: torch.optim.Optimizer) -> None:
        self._observer, self._optimizer = observer, optimizer
        self._undo: list[Callable[[], None]] = []

    def watch(self) -> None:
        """Watch the calls of the loop's thread."""
        with _lock:
            if self not in _watching:
                self._replace_step()
                _watching.append(self)
                if len(_watching) == 1:
                    _replace_all()

    def release(self) -> None:
        """Put everything back as it was."""
        with _lock:
            while self._undo:
                self._undo.pop()()
            if self in _watching:
                _watching.remove(self)
            if not _watching:
                while _undo:
                    _undo.pop()()

    @property
    def inside(self) -> bool:
        """True in the thread of the loop."""
        return threading.get_ident() == self._observer.thread

    def _replace_step(self) -> None:
        optimizer = self._optimizer
        original = optimizer.step

        def step(_: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
            if not self.inside:
                return original(*args, **kwargs)
            closure, *rest = args if args else (kwargs.pop("closure", None),)

            def call(given: Any) -> Any:
                return original(*(() if given is None else (given,)), *rest, **kwargs)

            return self._observer.update(call, closure)

        # Schedulers mark this function, and wrap a bound method.
        step.__dict__.update(getattr(original, "__dict__", {}))
        method = types.MethodType(step, optimizer)
        optimizer.step = method  # type: ignore[method-assign]

        def put_back() -> None:
            if vars(optimizer).get("step") is method:
                _set_step(optimizer, original)

        self._undo.append(put_back)

    def backward(
        self, original: Any, tensors: Any, grads: Any = None, keep: Any = None, /,
        *args: Any, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """Show the observer a backward pass."""
        grads, keep = kwargs.pop("grad_tensors", grads), kwargs.pop("retain_graph", keep)

        def call(kept: bool) -> Any:
            return original(tensors, grads, kept or keep, *args, **kwargs)

        return self._observer.backward(call, tensors)

    def clip(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        """Show the observer that gradients are clipped."""
        return self._observer.clip(partial(original, *args, **kwargs))


# The calls that are watched, of all loops; what puts the functions of torch back.
_watching: list[TorchCalls] = []
_lock = threading.RLock()
_undo: list[Callable[[], None]] = []


def _replace_all() -> None:
    _replace(torch.autograd, "backward", lambda calls: calls.backward)
    for name in ("clip_grad_norm_", "clip_grad_value_"):
        for module in (torch.nn.utils, torch.nn.utils.clip_grad):
            _replace(module, name, lambda calls: calls.clip)


def _replace(holder: Any, name: str, shown: Callable[[TorchCalls], Callable[..., Any]]) -> None:
    original = getattr(holder, name)

    def replaced(*args: Any, **kwargs: Any) -> Any:
        call = original
        for calls in tuple(_watching):
            if calls.inside:
                call = partial(shown(calls), call)
        return call(*args, **kwargs)

    setattr(holder, name, replaced)
    _undo.append(lambda: _put_back(holder, name, replaced, original))


def _put_back(holder: Any, name: str, replaced: Any, original: Any) -> None:
    # Whoever replaced it after us stays.
    if getattr(holder, name) is replaced:
        setattr(holder, name, original)


def _set_step(optimizer: torch.optim.Optimizer, original: Any) -> None:
    if getattr(original, "__func__", None) is type(optimizer).step:
        del optimizer.step
    else:
        optimizer.step = original  # type: ignore[method-assign]


@contextmanager
def gradients_aside(model: nn.Module) -> Iterator[None]:
    """Put the gradients of a model aside; those that come inside are dropped."""
    kept = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in kept:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in kept:
            parameter.grad = gradient
