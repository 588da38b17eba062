"""Copy of a meeting in a forked child, where the other thread is not there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

from nbdebug.core.forked import HomeProcess, when_forked
from nbdebug.errors import ClosedError

# At work on a batch, done with it, on its own before the next step, on its own between two passes.
State = Literal["none", "begins", "waits", "works", "rests", "apart", "between"]


class ForkedCopy:
    """State of a meeting of two threads, which is over in a forked child.

    The loop goes on there as far as its next batch, which it would wait for without end.

    Attributes:
        at_end: called when a loop is left.
    """

    closed: bool
    cut: bool

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._state: State = "none"
        self._answer: Any = None
        self.at_end: Callable[[], None] = lambda: None
        self._home = HomeProcess()
        when_forked(self, ForkedCopy._end)

    def _end(self) -> None:
        # Whoever held the lock is not there to give it back.
        self._change = threading.Condition()
        self._state, self.closed = "none", True
        try:
            self._home.check()
        except ClosedError as error:
            self._answer = error

    @property
    def attended(self) -> bool:
        """False if training must not pause by itself, since nobody could let it go on."""
        return True

    def raises(self, error: BaseException) -> bool:
        """Let a loop that nobody attends raise an error where it waits for a batch, if it does."""
        with self._change:
            waits = not self.attended and self._state in ("begins", "waits")
            if waits:
                self._state, self._answer, self.cut = "between", error, True
                self._change.notify_all()
            return waits
