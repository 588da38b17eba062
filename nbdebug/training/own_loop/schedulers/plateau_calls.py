"""Sees the values that a loop steps its ReduceLROnPlateau with, also between two passes."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from nbdebug.core.results.metric_names import PlateauValues
from nbdebug.model.joint_optimizer import members_of
from nbdebug.model.origin.source_line import user_line
from nbdebug.model.state.wrapped_optimizer import bare_optimizer
from nbdebug.training.engine.loop import Loop

MAX_VALUES = 200
# Share of the first rate with which values hardly move any more.
LITTLE = 0.02


class _Step:
    """Replacement of the step of ReduceLROnPlateau, while a loop may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._observers: weakref.WeakSet[PlateauCalls] = weakref.WeakSet()
        self._original: Callable[..., Any] | None = None
        self._ours: Callable[..., Any] | None = None

    def add(self, observer: PlateauCalls) -> None:
        with self._lock:
            self._observers.add(observer)
            if self._original is not None:
                return
            original = self._original = ReduceLROnPlateau.step

            @functools.wraps(original)
            def step(scheduler: Any, metrics: Any, *args: Any, **kwargs: Any) -> Any:
                observer, before = None, list[float]()
                # What goes wrong here is no matter of the loop.
                with suppress(Exception):
                    observer = next((o for o in list(self._observers) if o.sees(scheduler)), None)
                    before = [] if observer is None else observer.rates(scheduler)
                found = original(scheduler, metrics, *args, **kwargs)
                with suppress(Exception):
                    if observer is not None and before:
                        observer.note(scheduler, float(metrics), before)
                return found

            self._ours = step
            setattr(ReduceLROnPlateau, "step", step)  # noqa: B010

    def drop(self, observer: PlateauCalls) -> None:
        """Forget an observer; without any, put the step back unless another one replaced it."""
        with self._lock:
            self._observers.discard(observer)
            if self._observers or self._original is None:
                return
            if ReduceLROnPlateau.step is self._ours:
                ReduceLROnPlateau.step = self._original  # type: ignore[method-assign]
            self._original = self._ours = None


STEP = _Step()


class PlateauCalls:
    """Values and rates of one ReduceLROnPlateau of a loop, for the rules."""

    def __init__(self) -> None:
        self._loop: Any = None
        self._scheduler: weakref.ref[Any] | None = None

    def attach(self, loop: Loop) -> None:
        """Set the loop of the training, whose history takes what is found."""
        self._loop = loop
        STEP.add(self)

    def close(self) -> None:
        """See nothing any more."""
        STEP.drop(self)

    def sees(self, scheduler: Any) -> bool:
        """True for a call of the loop, in a step that counts, for an optimizer that is watched."""
        session = self._loop.session
        if threading.get_ident() != session.body.thread or session.body.on_trial:
            return False
        return bare_optimizer(scheduler.optimizer) in members_of(session.optimizer)

    def rates(self, scheduler: Any) -> list[float]:
        """Learning rates of all groups."""
        return [float(group["lr"]) for group in scheduler.optimizer.param_groups]

    def note(self, scheduler: Any, value: float, before: list[float]) -> None:
        """Note a value and what became of the learning rates."""
        known = None if self._scheduler is None else self._scheduler()
        step = self._loop.session.step
        if known is not scheduler:
            self._scheduler, self._first = weakref.ref(scheduler), before[0]
            self._values: list[tuple[int, float]] = []
            self._lowered: list[int] = []
            self._line = user_line()
        # Training may have gone back.
        self._values = [one for one in self._values if one[0] <= step]
        self._lowered = [one for one in self._lowered if one <= step]
        if not self._values or before[0] > LITTLE * self._first:
            self._values.append((step, value))
        if len(self._values) > MAX_VALUES:
            # The first and the last one stay.
            del self._values[1:-1:2]
        after = self.rates(scheduler)
        if any(new < old for new, old in zip(after, before, strict=True)):
            self._lowered.append(step)
            steps, values = zip(*self._values, strict=True)
            found = PlateauValues(
                scheduler.mode, steps, values, self._first, after[0], len(self._lowered), self._line
            )
            self._loop.history.set_result(found)
