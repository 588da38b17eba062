"""Waiting for a status, and the code that would wait for itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from nbdebug.core.records import Status
from nbdebug.errors import ArgumentError, InsideStepError

WAIT_SLICE_SECONDS = 0.02


def wait_for_status(
    read: Callable[[], Status],
    condition: Callable[[Status], bool],
    changed: threading.Condition,
    inside: Inside,
    timeout: float | None,
) -> bool:
    """Sleep until a status fulfils `condition`; see `History.wait_until`."""
    inside.refuse("Waiting for a status")
    writer = inside.writer
    if timeout is not None and type(timeout) not in (int, float):
        raise ArgumentError(f"timeout must be a number of seconds or None, got {timeout!r:.80}.")
    end = None if timeout is None else time.monotonic() + timeout
    with changed:
        while True:
            # Asked first: a thread may publish its last status and end before the next line.
            ended = writer is not None and not writer.is_alive()
            if condition(read()):
                return True
            left = WAIT_SLICE_SECONDS if end is None else end - time.monotonic()
            if ended or left <= 0:
                return False
            changed.wait(min(left, WAIT_SLICE_SECONDS))


class Inside:
    """Knows if the calling code is part of a step, and would wait for itself.

    Attributes:
        writer: the training thread, None before it starts.
        in_loop: tells if the caller is the code of a loop of the user's own; may_wait: if it is
            no step of it.
    """

    def __init__(self) -> None:
        self.writer: threading.Thread | None = None
        self.in_loop: Callable[[], bool] = lambda: False
        self.may_wait: Callable[[], bool] = lambda: True

    def __bool__(self) -> bool:
        return self.writer is threading.current_thread() or self.in_loop()

    def refuse(self, what: str) -> None:
        """Raise InsideStepError inside of a step."""
        if self.writer is threading.current_thread():
            raise InsideStepError(
                f"{what} would wait for the step that it is called from (in a loss, a forward, a "
                "hook, a metric, the data or a plug-in). Of all commands only dbg.pause() works "
                "there: training pauses after the step. Call the others from another cell, or use "
                "dbg.break_when(...) or a schedule."
            )
        if not self.may_wait():
            raise InsideStepError(
                f"{what} would wait for the loop that it is called from. Of all commands only "
                "dbg.set(...) and dbg.pause() work there, after the step. Call the others behind "
                "the block of `with dbg.step():`, between two passes or after the loop, or from "
                "another cell while dbg.run(function) runs the loop."
            )
