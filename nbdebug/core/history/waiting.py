"""Waiting for a status, and the thread that will never publish one."""

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
    writer: threading.Thread | None,
    timeout: float | None,
) -> bool:
    """Sleep until a status fulfils `condition`; see `History.wait_until`."""
    refuse_inside(writer, "Waiting for a status")
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


def refuse_inside(writer: threading.Thread | None, what: str) -> None:
    """Raise InsideStepError in the thread that trains, which would wait for itself."""
    if writer is threading.current_thread():
        raise InsideStepError(
            f"{what} would wait for the step that it is called from (in a loss, a forward, a hook, "
            "a metric, the data or a plug-in). Of all commands only dbg.pause() works there: "
            "training pauses after the step. Call the others from another cell, or use "
            "dbg.break_when(...) or a schedule."
        )
