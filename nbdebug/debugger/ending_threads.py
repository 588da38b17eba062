"""Threads that were told to end, for which the end of the program waits."""

from __future__ import annotations

import atexit
import threading
import weakref

EXIT_JOIN_SECONDS = 10.0
_ENDING: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def join_at_exit(thread: threading.Thread) -> None:
    """Let the end of the program wait for a thread.

    Python stops a daemon thread wherever it is; within torch, that aborts the process.
    """
    _ENDING.add(thread)


@atexit.register
def _join() -> None:
    for thread in list(_ENDING):
        thread.join(EXIT_JOIN_SECONDS)
