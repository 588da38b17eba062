"""Schedulers that a loop of the user's own steps, beside a change of the learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from nbdebug.core.error_text import raise_interrupt
from nbdebug.errors import ControlValueError
from nbdebug.model.schedule.builders import (
    CHAINABLE_SCHEDULERS,
    LR_OPTIONS,
    ActiveSchedule,
    all_schedulers,
    scale,
    set_option,
)
from nbdebug.model.schedule.forecast import forecast

# Steps of a scheduler in which it is seen what becomes of a new learning rate.
MAX_STEPS_AHEAD = 200
SCALED = "The scheduler of the loop was scaled by the same factor."
GOES_ON = "The scheduler of the loop goes on from this value"
STEPPED_BY_LOOP = (
    "the loop steps {} itself. Change it there, or set lr, which scales it by the same factor."
)


def outermost(schedulers: Iterable[LRScheduler]) -> list[LRScheduler]:
    """The schedulers without those that are inside of another one, each once."""
    found = list({id(one): one for one in schedulers}.values())
    inner = {id(part) for one in found for part in all_schedulers(getattr(one, "_schedulers", ()))}
    return [one for one in found if id(one) not in inner]


def names(schedulers: Iterable[LRScheduler]) -> str:
    """Their kinds in words, such as `its StepLR`."""
    kinds = dict.fromkeys(type(one).__name__ for one in schedulers)
    return "its " + " and ".join(kinds)


def check_continue(schedulers: Iterable[LRScheduler]) -> None:
    """Raise ControlValueError if a scheduler cannot go on from a learning rate that is set."""
    for one in outermost(schedulers):
        if type(one) not in CHAINABLE_SCHEDULERS:
            raise ControlValueError(
                f"lr: the {type(one).__name__} of the loop computes each learning rate from its "
                "base, so it cannot continue from a value. Set lr_change to 'scale'."
            )


class Beside:
    """Course of the schedulers of a loop, before the learning rate of an optimizer changes.

    Nobody but the loop steps them; what they will do is seen on copies.
    """

    def __init__(self, optimizer: Any, schedulers: Sequence[LRScheduler]) -> None:
        self._optimizer, self._schedulers = optimizer, outermost(schedulers)
        self._before = [_ahead(one) for one in self._schedulers]
        self._bases = [
            {key: float(group[key]) for key in LR_OPTIONS[1:] if key in group}
            for group in optimizer.param_groups
        ]

    def follow(self, by: float, continues: bool = False) -> str:
        """Scale the schedulers, or let them go on; tell what becomes of the new learning rate."""
        if not self._schedulers:
            return ""
        # A second change of a step begins at what was before the first one, but for schedulers.
        for group, bases in zip(self._optimizer.param_groups, self._bases, strict=True):
            for key, value in bases.items():
                set_option(group, key, value)
        if continues:
            return f"{GOES_ON}: {names(self._schedulers)}."
        scale(self._optimizer, self._schedulers, by)
        told = [
            text
            for one, before in zip(self._schedulers, self._before, strict=True)
            if (text := _undone(one, before, by))
        ]
        return " ".join([SCALED, *told] if len(told) < len(self._schedulers) else told)


def _ahead(scheduler: LRScheduler) -> np.ndarray[Any, Any] | None:
    """Learning rates at the next steps of a scheduler, None if they are unknown."""
    course = ActiveSchedule(None, scheduler)
    try:
        return forecast(course, scheduler.optimizer, 0, MAX_STEPS_AHEAD)[1]
    except BaseException as error:
        raise_interrupt(error)
        return None


def _undone(scheduler: LRScheduler, before: np.ndarray[Any, Any] | None, by: float) -> str:
    """Say what a scheduler will do that does not keep to the new learning rate; "" if it does."""
    name, after = type(scheduler).__name__, _ahead(scheduler)
    if before is None or after is None:
        return f"It cannot be told what {name} will do with it."
    if isinstance(scheduler, ReduceLROnPlateau):
        return ""
    steps = min(len(before), len(after))
    before, after = before[1:steps], after[1:steps]
    back = np.abs(after - before) < np.abs(after - before * by)
    if not back.any():
        return ""
    first = int(np.argmax(back))
    return (
        f"{name} computes the learning rate by itself: when the loop calls its step() the "
        f"{_ordinal(first + 1)} time from here, it is {after[first]:.3g}, as without this change. "
        "Change it in the code of the loop."
    )


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
