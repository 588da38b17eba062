"""Threads of their own for functions and cells with a loop, and how such a loop ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from nbdebug.core.commands.queue import Ticket

MOMENT = 0.05


class PassOver(Exception):  # noqa: N818
    """Tells the loop that its pass is over."""


class LoopEnded(BaseException):
    """Ends a loop from outside, at its next batch."""


class LoopThread(threading.Thread):
    """A thread of its own for a function or a cell with a loop."""

    def __init__(self, target: Callable[..., object], *args: Any) -> None:
        super().__init__(target=target, args=args, name="nbdebug-loop", daemon=True)

    def over(self, timeout: float) -> bool:
        """Wait for the end; False if it runs after so many seconds, and is not the caller."""
        if self is threading.current_thread():
            return True
        self.join(timeout)
        return not self.is_alive()


class Body(Protocol):
    """A loop that may begin another one behind it; see `LoopBody`."""

    begins: bool

    @property
    def started(self) -> Ticket | None: ...
    @property
    def runs(self) -> bool: ...
    def join(self, timeout: float) -> bool: ...


def wait_for_end(paused: Callable[[float | None], bool], body: Body, timeout: float | None) -> bool:
    """Wait until a loop is paused, or what goes on behind it is over.

    Args:
        paused: waits so many seconds until training is paused, without an end for None.
        body: the loop, behind which another one may begin.

    Returns:
        False if `timeout` seconds passed before.
    """
    end = time.monotonic() + (threading.TIMEOUT_MAX if timeout is None else timeout)
    while paused(None if timeout is None else max(end - time.monotonic(), 0.0)):
        left = end - time.monotonic()
        # Another loop may have begun since.
        if _is_over(body, min(MOMENT, max(left, 0.0))) and paused(0.0):
            return True
        if left <= 0:
            return False
    return False


def _is_over(body: Body, timeout: float) -> bool:
    """False if a loop is about to run, or what goes on behind one still does."""
    if not body.join(timeout):
        return False
    ticket = body.started
    begins = body.begins or (ticket is not None and not ticket.answer.done())
    return not (body.runs and begins)
