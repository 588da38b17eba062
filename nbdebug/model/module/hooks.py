"""Hooks of one module, of all modules and of all optimizers, in the threads that they are for.

Another thread may call a model, or train another one, while hooks come and go: it is neither
measured nor disturbed. Copies and files of a module are free of its hooks.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle

from nbdebug.core.contexts import contextmanager

# Takes anything, does nothing, and can be loaded where nbdebug is not installed.
NOTHING = functools.partial(sys.audit, "nbdebug.hook_of_a_copy")
# The thread in which the passes of another one run, by that one.
_STANDS_IN: dict[int, int] = {}


class Handle(Protocol):
    """A registered hook."""

    def remove(self) -> None:
        """Take the hook away; again without effect."""


@contextmanager
def forward_in(thread: int) -> Iterator[None]:
    """Context in which hooks of this thread see the passes of another one, such as a loop's."""
    mine = threading.get_ident()
    before = _STANDS_IN.get(mine)
    _STANDS_IN[mine] = thread
    try:
        yield
    finally:
        if before is None:
            del _STANDS_IN[mine]
        else:
            _STANDS_IN[mine] = before


class _Hook:
    """A hook that becomes one that does nothing where its module is copied or pickled.

    A loop may copy or save its model within a step in which something is measured.

    Args:
        values: that it takes. torch notes apart that a hook takes keywords, and may call it
            without them where another thread registers or removes it meanwhile.
        everywhere: it is called in every thread.
    """

    def __init__(self, call: Callable[..., Any], values: int, everywhere: bool) -> None:
        self._call, self._values = call, values
        self._thread = None if everywhere else threading.get_ident()

    def __call__(self, *args: Any) -> Any:
        if len(args) == self._values and self._is_here(args[0]):
            return self._call(*args)
        return None

    def _is_here(self, module: nn.Module) -> bool:
        here, mine = threading.get_ident(), self._thread
        if mine is None or mine == here or _STANDS_IN.get(mine) == here:
            return True
        # nn.DataParallel calls a copy in a thread for each device.
        return "_is_replica" in vars(module)

    def __deepcopy__(self, memo: Any) -> Any:
        return NOTHING

    def __reduce__(self) -> Any:
        return NOTHING.__reduce__()


def before_forward(
    module: nn.Module,
    hook: Callable[..., Any],
    *,
    with_kwargs: bool = False,
    everywhere: bool = False,
) -> RemovableHandle:
    """Register a hook that is called with module and inputs before each forward.

    Args:
        everywhere: also in other threads than this one.
    """
    own = _Hook(hook, 2 + with_kwargs, everywhere)
    return module.register_forward_pre_hook(own, with_kwargs=with_kwargs)


def after_forward(
    module: nn.Module,
    hook: Callable[..., Any],
    *,
    with_kwargs: bool = False,
    always_call: bool = False,
) -> RemovableHandle:
    """Register a hook that is called with module, inputs and outputs after each forward."""
    own = _Hook(hook, 3 + with_kwargs, everywhere=False)
    return module.register_forward_hook(own, with_kwargs=with_kwargs, always_call=always_call)


def before_any_forward(hook: Callable[..., Any]) -> Handle:
    """Register a hook that is called with module and inputs before the forward of any module."""
    return torch_module.register_module_forward_pre_hook(_Hook(hook, 2, everywhere=False))


def after_any_forward(
    hook: Callable[..., Any], *, with_kwargs: bool = False, everywhere: bool = False
) -> Handle:
    """Register a hook that is called with module, inputs and outputs after any forward.

    Args:
        everywhere: also in other threads than this one.
    """
    own = _Hook(hook, 3 + with_kwargs, everywhere)
    return _OfAll(torch_module.register_module_forward_hook(own, with_kwargs=with_kwargs))


class _OfAll:
    """A hook of all modules; torch keeps the number of one that takes keywords, and warns of it."""

    def __init__(self, handle: RemovableHandle) -> None:
        self._handle = handle

    def remove(self) -> None:
        self._handle.remove()
        kept = getattr(torch_module, "_global_forward_hooks_with_kwargs", {})
        kept.pop(self._handle.id, None)


class _StepHooks:
    """Hooks of the steps of all optimizers.

    torch walks over its own hooks while it calls them: one that came or went meanwhile would end
    the step of another thread. So it gets a single one, which stays.
    """

    def __init__(self, register: Callable[[Callable[..., None]], RemovableHandle]) -> None:
        self._register: Callable[[Callable[..., None]], RemovableHandle] | None = register
        self._lock = threading.Lock()
        self._hooks: tuple[Callable[[torch.optim.Optimizer], None], ...] = ()

    def add(self, hook: Callable[[torch.optim.Optimizer], None]) -> Handle:
        with self._lock:
            if self._register is not None:
                self._register(self._step)
                self._register = None
            self._hooks += (hook,)
        return _OfSteps(self, hook)

    def remove(self, hook: Callable[[torch.optim.Optimizer], None]) -> None:
        with self._lock:
            self._hooks = tuple(one for one in self._hooks if one is not hook)

    def _step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for hook in self._hooks:
            hook(optimizer)


class _OfSteps:
    """A hook of the steps of all optimizers."""

    def __init__(self, hooks: _StepHooks, hook: Callable[[torch.optim.Optimizer], None]) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        self._hooks.remove(self._hook)


_BEFORE = _StepHooks(register_optimizer_step_pre_hook)
_AFTER = _StepHooks(register_optimizer_step_post_hook)


def before_any_step(hook: Callable[[torch.optim.Optimizer], None]) -> Handle:
    """Register a hook that is called with each optimizer before its step, in every thread."""
    return _BEFORE.add(hook)


def after_any_step(hook: Callable[[torch.optim.Optimizer], None]) -> Handle:
    """Register a hook that is called with each optimizer after its step, in every thread."""
    return _AFTER.add(hook)
