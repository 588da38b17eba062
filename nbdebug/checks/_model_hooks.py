"""Calls of a model, or of its parts one by one, as seen by an observer of operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import nn

from nbdebug.core.contexts import contextmanager
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import after_forward, before_forward

MAX_OUTPUTS = 16


class CallObserver(Protocol):
    """Observer of calls, which may be within one another."""

    def enter(self, module: nn.Module, inputs: Any) -> None:
        """Called before a module of the model."""

    def leave(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """Called after a module of the model, also if it raised."""


@contextmanager
def calls_observed(model: nn.Module, observer: CallObserver) -> Iterator[None]:
    """Context in which an observer is told of the calls of a model and of all its modules.

    A step may call the parts of a model, or several networks, and never the whole.
    """
    hooks = [
        hook
        for module in model.modules()
        for hook in (
            before_forward(module, observer.enter),
            after_forward(module, observer.leave, always_call=True),
        )
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Outermost:
    """Keeps the outputs [B, ...] of modules that no other module calls."""

    def __init__(self) -> None:
        self.outputs: list[torch.Tensor] = []
        self._depth = 0

    def enter(self, *_: Any) -> None:
        """Called before a module."""
        self._depth += 1

    def leave(self, module: Any, inputs: Any, outputs: Any) -> None:
        """Called after it."""
        self._depth -= 1
        if not self._depth and len(self.outputs) < MAX_OUTPUTS:
            self.outputs += [one for one in tensors_of(outputs) if one.requires_grad and one.ndim]
