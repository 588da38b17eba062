"""Progress and cancellation of a long command."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from nbdebug.core.history.history import History
from nbdebug.core.records import Progress

MIN_UPDATE_SECONDS = 0.1


class TaskProgress:
    """Progress of a long command, in History while the context is entered.

    Attributes:
        should_stop: returns whether the command is asked to stop.
    """

    def __init__(self, name: str, history: History, should_stop: Callable[[], bool]) -> None:
        self._name, self._history, self.should_stop = name, history, should_stop
        self._title, self._next = "", 0.0

    def __enter__(self) -> TaskProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._history.drop_result(Progress)

    def advance(self, share: float, title: str) -> None:
        """Publish the progress, at most ten times a second except for a new title."""
        now = time.monotonic()
        if title != self._title or now >= self._next:
            self._title, self._next = title, now + MIN_UPDATE_SECONDS
            self._history.set_result(Progress(self._name, title, min(max(share, 0.0), 1.0)))
