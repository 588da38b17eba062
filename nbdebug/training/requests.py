"""How the dashboard asks for a control's value."""

from __future__ import annotations

from typing import Any

from nbdebug.core.commands import (
    CommandQueue,
    Examine,
    RangeTest,
    Reestimate,
    SetControl,
    Stop,
)
from nbdebug.training.checking import Checking
from nbdebug.training.settings import Settings


class Requests:
    """What the dashboard's controls call; holds no Debugger, so that one can be let go."""

    def __init__(self, settings: Settings, checking: Checking, queue: CommandQueue) -> None:
        self._settings, self._checking, self._queue = settings, checking, queue

    def __call__(self, name: str, value: Any) -> None:
        """Ask for a value, at the next step boundary.

        Some values name a command of their own: BatchNorm's statistics anew, a range test,
        checks by their names with commas between, the end of what is under way.

        Raises:
            ControlValueError, CheckNameError: there is no such value; nothing was asked for.
        """
        if (name, value) == (Stop.control, Stop.value):
            self._queue.put(Stop())
            return
        if name == Examine.control:
            self._queue.put(Examine(self._checking.chosen(str(value).split(","))))
            return
        if (name, value) == (Reestimate.control, Reestimate.value):
            self._queue.put(Reestimate(who="dashboard"))
            return
        if (name, value) == (RangeTest.control, RangeTest.value):
            self._queue.put(RangeTest())
            return
        for control, valid in self._settings.validate({name: value}).items():
            self._queue.put(SetControl(control, valid, who="dashboard"))
