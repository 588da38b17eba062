"""Sees the calls of torch by which a loop makes an update, in the thread of the loop only."""

from __future__ import annotations

import functools
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

import torch
from torch import nn

from nbdebug.core.contexts import contextmanager
from nbdebug.model.module.hooks import (
    Handle,
    after_any_forward,
    after_any_step,
    before_any_step,
    forward_in,
)
from nbdebug.model.state.weights import trained
from nbdebug.model.state.wrapped_optimizer import take_step_anew
from nbdebug.training.own_loop.seen.hard_clipping import Bounds, bounds_of
from nbdebug.training.own_loop.seen.validation import SeenValidation
from nbdebug.training.own_loop.seen_calls import SeenCalls


class Observer(Protocol):
    """Watcher of the calls of a loop.

    Attributes:
        module_calls: sees calls of modules.
        validation: sees what the loop does between two steps.
    """

    module_calls: SeenCalls
    validation: SeenValidation

    def backward(self, call: Callable[[bool], Any], roots: Any) -> Any:
        """Make a backward pass from `roots` by `call(keep)`, which may keep the graph."""

    def clip(
        self,
        call: Callable[[], Any],
        parameters: Iterable[torch.Tensor],
        bounds: Bounds,
    ) -> Any:
        """Let the loop clip the gradients of `parameters` by `call`, at these; see `bounds_of`."""

    def scale(self, scaler: Any, scaled: Any) -> None:
        """Called when a GradScaler has scaled a loss."""

    def update(
        self,
        optimizer: torch.optim.Optimizer,
        step: Callable[..., Any],
        closure: Callable[[], Any] | None,
    ) -> Any:
        """Make an update of an optimizer by `step(closure)`."""

    def before_step(self) -> None:
        """Called before the step of any optimizer."""

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Called after the step of any optimizer."""


class _Replaced:
    """A function of torch and what is shown in its place."""

    def __init__(self, holder: Any, name: str, original: Callable[..., Any]) -> None:
        self._holder, self._name = holder, name
        self.original = self.shown = original

    def put_back(self) -> None:
        """Put the function back; whoever replaced it after us stays."""
        if getattr(self._holder, self._name) is self.shown:
            setattr(self._holder, self._name, self.original)


class _Functions:
    """Replacement of torch's functions for the threads of loops, while one of them works.

    A function that the loop's module imported by name before, such as `clip_grad_norm_`, is not
    seen.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._observers: dict[int, Observer] = {}
        self._undo: list[Callable[[], None]] = []
        self._made: dict[tuple[Any, str], _Replaced] = {}
        self._modules: Handle | None = None

    def begin(self, thread: int, observer: Observer) -> None:
        """Show an observer the calls of a thread."""
        with self._lock:
            if not self._observers:
                self._replace(torch.autograd, "backward", _backward)
                for name in ("clip_grad_norm_", "clip_grad_value_"):
                    for module in (torch.nn.utils, torch.nn.utils.clip_grad):
                        self._replace(module, name, _clip)
                self._replace(torch.amp.GradScaler, "scale", _scale)
                self._undo.append(before_any_step(self._before).remove)
                self._undo.append(after_any_step(self._after).remove)
            self._observers[thread] = observer
            if observer.module_calls.sees and self._modules is None:
                self._modules = after_any_forward(self._called, with_kwargs=True, everywhere=True)

    def end(self, thread: int) -> None:
        """Put everything back as it was, unless another loop works."""
        with self._lock:
            self._observers.pop(thread, None)
            if self._modules is not None and not self._observers:
                self._modules.remove()
                self._modules = None
            while self._undo and not self._observers:
                self._undo.pop()()

    def _called(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        observer = self._observers.get(threading.get_ident())
        if observer is not None and not torch.compiler.is_compiling():
            observer.module_calls.called(module, args, kwargs, output)

    def _before(self, optimizer: torch.optim.Optimizer) -> None:
        if (observer := self._observers.get(threading.get_ident())) is not None:
            observer.before_step()

    def _after(self, optimizer: torch.optim.Optimizer) -> None:
        if (observer := self._observers.get(threading.get_ident())) is not None:
            observer.after_step(optimizer)

    def _replace(self, holder: Any, name: str, call: Callable[..., Any]) -> None:
        """Replace a function; what replaced it in the last step does so again, if it fits."""
        made, original = self._made.get((holder, name)), getattr(holder, name)
        if made is None or made.original is not original:
            made = self._made[holder, name] = _Replaced(holder, name, original)
            made.shown = self._shown(original, call)
        setattr(holder, name, made.shown)
        self._undo.append(made.put_back)

    def _shown(self, original: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def replaced(*args: Any, **kwargs: Any) -> Any:
            observer = self._observers.get(threading.get_ident())
            if observer is None:
                return original(*args, **kwargs)
            return call(observer, original, *args, **kwargs)

        return replaced


FUNCTIONS = _Functions()


class TorchCalls:
    """Shows an observer the calls of a loop, in its thread only, while it works.

    The optimizers do not keep the observer alive.

    Attributes:
        wrappers: optimizers that wrap these, and decide when they step.
    """

    def __init__(self, observer: Observer, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        self._observer = weakref.ref(observer)
        self._optimizers = [weakref.ref(one) for one in optimizers]
        self._put_back: list[Callable[[], Any]] = []
        self.wrappers: Sequence[Any] = ()
        self.thread: int | None = None

    @contextmanager
    def seen(self, thread: int) -> Iterator[None]:
        """Context in which the calls of a thread are seen."""
        observer = self._observer()
        assert observer is not None
        observer.validation.outside.begin(thread)
        self.thread = thread
        if not self._put_back:
            for held in self._optimizers:
                self._replace_step(held)
            self._put_back.append(weakref.finalize(self, _take_anew, self.wrappers))
            _take_anew(self.wrappers)
        FUNCTIONS.begin(thread, observer)
        try:
            with forward_in(thread):
                yield
        finally:
            FUNCTIONS.end(thread)
            self.thread = None

    def release(self) -> None:
        """Put the optimizers back as they were."""
        for put_back in self._put_back:
            put_back()
        self._put_back = []

    def _replace_step(self, held: weakref.ref[torch.optim.Optimizer]) -> None:
        optimizer = held()
        assert optimizer is not None
        original, mine = optimizer.step, weakref.ref(self)

        def step(one: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
            calls = mine()
            observer = None if calls is None else calls._observer()
            if calls is None or observer is None or threading.get_ident() != calls.thread:
                if observer is not None:
                    by_closure = any(map(callable, (*args, *kwargs.values())))
                    observer.validation.outside.see_update(one, by_closure)
                return original(*args, **kwargs)
            closure, *rest = args if args else (kwargs.pop("closure", None),)

            def call(given: Any) -> Any:
                return original(*(() if given is None else (given,)), *rest, **kwargs)

            return observer.update(one, call, closure)

        # Schedulers mark this function, and wrap a bound method.
        step.__dict__.update(getattr(original, "__dict__", {}))
        method = types.MethodType(step, optimizer)
        optimizer.step = method  # type: ignore[method-assign]

        def put_back() -> None:
            there = held()
            if there is not None and vars(there).get("step") is method:
                _set_step(there, original)

        self._put_back.append(weakref.finalize(self, put_back))


def _take_anew(wrappers: Sequence[Any]) -> None:
    for wrapper in wrappers:
        take_step_anew(wrapper)


def _backward(
    observer: Observer, original: Any, tensors: Any, grads: Any = None, keep: Any = None, /,
    *args: Any, **kwargs: Any,
) -> Any:  # fmt: skip
    grads, keep = kwargs.pop("grad_tensors", grads), kwargs.pop("retain_graph", keep)

    def call(kept: bool) -> Any:
        return original(tensors, grads, kept or keep, *args, **kwargs)

    return observer.backward(call, tensors)


def _clip(observer: Observer, original: Any, parameters: Any, *args: Any, **kwargs: Any) -> Any:
    seen = [parameters] if isinstance(parameters, torch.Tensor) else parameters
    if isinstance(parameters, Iterator):
        # A generator or filter can be read once.
        seen = list(parameters)
        parameters = (parameter for parameter in seen)
    bounds = None
    with suppress(Exception):
        # What the loop passes wrongly torch will tell it.
        bounds = bounds_of(original.__name__, args, kwargs, seen)
    return observer.clip(functools.partial(original, parameters, *args, **kwargs), seen, bounds)


def _scale(observer: Observer, original: Any, scaler: Any, *args: Any, **kwargs: Any) -> Any:
    scaled = original(scaler, *args, **kwargs)
    observer.scale(scaler, scaled)
    return scaled


def _set_step(optimizer: torch.optim.Optimizer, original: Any) -> None:
    if getattr(original, "__func__", None) is type(optimizer).step:
        del optimizer.step
    else:
        optimizer.step = original  # type: ignore[method-assign]


@contextmanager
def gradients_aside(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Put the gradients of a model aside; those that come inside are dropped."""
    kept = [(parameter, parameter.grad) for parameter in trained(model, optimizer)]
    for parameter, _ in kept:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in kept:
            parameter.grad = gradient
