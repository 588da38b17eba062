"""Warnings that are not shown while a thread does something nobody asked the user's code to do."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class _OfThreads:
    """Pattern of messages that matches everything that some threads warn of, and nothing else.

    `warnings.catch_warnings` puts back the filters of all threads, in an order that may leave
    those of another one behind.
    """

    def __init__(self) -> None:
        self._threads: dict[int, int] = {}

    def match(self, text: str) -> bool:
        """True for a warning of a thread within `silenced`."""
        return self._threads.get(threading.get_ident(), 0) > 0

    def count(self, by: int) -> None:
        """Begin or end silence in this thread."""
        thread = threading.get_ident()
        left = self._threads.pop(thread, 0) + by
        if left > 0:
            self._threads[thread] = left


@contextmanager
def silenced() -> Iterator[None]:
    """Context in which user warnings of this thread are not shown; others are as ever."""
    pattern = _OfThreads()
    pattern.count(1)
    entry = ("ignore", pattern, UserWarning, None, 0)
    filters: list[object] = warnings.filters  # type: ignore[assignment]
    filters.insert(0, entry)
    warnings._filters_mutated()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        pattern.count(-1)
        if entry in filters:
            filters.remove(entry)
        warnings._filters_mutated()  # type: ignore[attr-defined]
