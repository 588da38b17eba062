"""Updates of a watched optimizer that a loop makes while it takes no batch."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

import torch

from nbdebug.core.results.metric_names import UpdatesOutside
from nbdebug.model.origin.source_line import user_line, users_caller
from nbdebug.training.engine.loop import Loop

Gradient = tuple[weakref.ref[torch.Tensor], int]


class OutsideUpdates:
    """Tells the rules of updates between two passes, or between two steps of a loop without data.

    Not counted is an update with gradients of watched batches, as of the rest of an accumulation,
    and what comes behind the last pass. An update is sure to have other gradients if the model was
    called with gradients since, or if it is the second one, and they have changed in between.

    Args:
        state: of the loop.

    Attributes:
        made: number of updates that belong to no step; updated: is told of each, with the step.
    """

    updated: Callable[[int], None] = staticmethod(lambda step: None)

    def __init__(self, state: Callable[[], str]) -> None:
        self._state = state
        self._loop: Loop | None = None
        self._thread = 0
        self._total, self._first, self.made = 0, 0, 0
        self._line = self._caller = ""
        self._clear()

    def attach(self, loop: Loop) -> None:
        """Set the loop of the training."""
        self._loop = loop

    def _clear(self) -> None:
        self._called, self._count = False, 0
        self._last: weakref.WeakKeyDictionary[torch.optim.Optimizer, Gradient] = (
            weakref.WeakKeyDictionary()
        )

    def begin(self, thread: int) -> None:
        """Take note of what the loop in this thread did, before it gets its next batch."""
        self._thread = thread
        if self._count:
            with suppress(Exception):
                self._judge()
        self._clear()

    def see_call(self) -> None:
        """See a call of the model, which may be one for gradients."""
        self._called = self._called or (self._is_outside() and torch.is_grad_enabled())

    def see_update(self, optimizer: torch.optim.Optimizer, by_closure: bool) -> None:
        """See an update of a watched optimizer that belongs to no step."""
        if not self._is_outside():
            return
        self.made += 1
        with suppress(Exception):
            self._note(optimizer, by_closure)
            if self._loop is not None:
                self.updated(self._loop.session.step)

    def _is_outside(self) -> bool:
        """True in the thread of a loop that is on its own, behind its first batch."""
        return threading.get_ident() == self._thread and self._state() in ("apart", "between")

    def _note(self, optimizer: torch.optim.Optimizer, by_closure: bool) -> None:
        before, now = self._last.get(optimizer), _gradient(optimizer)
        if now is None and not by_closure:
            return
        if now is not None:
            self._last[optimizer] = now
        changed = before is not None and now is not None and _differ(before, now)
        self._called = self._called or by_closure or changed
        self._count += 1
        if not self._line:
            self._line, self._caller = user_line(), users_caller()

    def _judge(self) -> None:
        assert self._loop is not None
        if not self._called:
            return
        step = self._loop.session.step
        self._first = self._first if self._total else step
        self._total += self._count
        self._loop.history.set_result(
            UpdatesOutside(self._first, self._total, self._line, self._caller)
        )


def _gradient(optimizer: torch.optim.Optimizer) -> Gradient | None:
    """The first gradient of an optimizer, and how often it was changed."""
    held = (p.grad for group in optimizer.param_groups for p in group["params"])
    grad = next((grad for grad in held if grad is not None), None)
    return None if grad is None else (weakref.ref(grad), grad._version)


def _differ(before: Gradient, now: Gradient) -> bool:
    return before[0]() is not now[0]() or before[1] != now[1]
