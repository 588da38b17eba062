"""How the dashboard asks for a control's value."""

from __future__ import annotations

from typing import Any

from nbdebug.core.commands import CommandQueue, RangeTest, Reestimate, SetControl
from nbdebug.training.settings import Settings


class Requests:
    """What the dashboard's controls call; holds no Debugger, so that one can be let go."""

    def __init__(self, settings: Settings, queue: CommandQueue) -> None:
        self._settings, self._queue = settings, queue

    def __call__(self, name: str, value: Any) -> None:
        """Ask for a value, at the next step boundary.

        Two values name a command of their own: BatchNorm's statistics anew, a range test.

        Raises:
            ControlValueError: the value is out of range; nothing was asked for.
        """
        if (name, value) == (Reestimate.control, Reestimate.value):
            self._queue.put(Reestimate(who="dashboard"))
            return
        if (name, value) == (RangeTest.control, RangeTest.value):
            self._queue.put(RangeTest())
            return
        for control, valid in self._settings.validate({name: value}).items():
            self._queue.put(SetControl(control, valid, who="dashboard"))
