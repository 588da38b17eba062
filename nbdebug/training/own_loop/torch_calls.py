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
    """Watcher of the calls of a loop."""

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
        self.thread: int | None = None

    def watch(self, thread: int) -> None:
        """Watch the calls of a thread."""
        self.thread = thread
        if self._undo:
            return
        self._replace(torch.autograd, "backward", self._backward)
        for name in ("clip_grad_norm_", "clip_grad_value_"):
            for module in (torch.nn.utils, torch.nn.utils.clip_grad):
                self._replace(module, name, self._clip)
        self._replace_step()

    def release(self) -> None:
        """Put everything back as it was."""
        while self._undo:
            self._undo.pop()()

    @property
    def _inside(self) -> bool:
        return threading.get_ident() == self.thread

    def _replace(self, holder: Any, name: str, call: Callable[..., Any]) -> None:
        original = getattr(holder, name)

        def replaced(*args: Any, **kwargs: Any) -> Any:
            if not self._inside:
                return original(*args, **kwargs)
            return call(original, *args, **kwargs)

        setattr(holder, name, replaced)
        self._undo.append(lambda: _put_back(holder, name, replaced, original))

    def _replace_step(self) -> None:
        optimizer = self._optimizer
        original = optimizer.step

        def step(_: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
            if not self._inside:
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

    def _backward(
        self, original: Any, tensors: Any, grads: Any = None, keep: Any = None, /,
        *args: Any, **kwargs: Any,
    ) -> Any:  # fmt: skip
        grads, keep = kwargs.pop("grad_tensors", grads), kwargs.pop("retain_graph", keep)

        def call(kept: bool) -> Any:
            return original(tensors, grads, kept or keep, *args, **kwargs)

        return self._observer.backward(call, tensors)

    def _clip(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        return self._observer.clip(partial(original, *args, **kwargs))


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
