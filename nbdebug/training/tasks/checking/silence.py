"""Warnings that are not shown while a thread does something nobody asked the user's code to do."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator

from nbdebug.core.contexts import contextmanager


class _OfThreads:
    """Pattern of messages that matches everything that some threads warn of, and nothing else.

    `warnings.catch_warnings` puts back the filters of all threads, in an order that may leave
    those of another one behind.
    """

    def __init__(self, threads: Iterable[int | None]) -> None:
        self._threads = set(threads)

    def match(self, text: str) -> bool:
        """True for a warning of a thread within `silenced`."""
        return threading.get_ident() in self._threads

    def clear(self) -> None:
        """End the silence, also where others have kept the pattern."""
        self._threads.clear()


@contextmanager
def silenced(*others: int | None) -> Iterator[None]:
    """Context in which user warnings of this thread, and of others, are not shown.

    Args:
        others: identifiers of threads that work for this one; None for no thread.
    """
    pattern = _OfThreads((threading.get_ident(), *others))
    entry = ("ignore", pattern, UserWarning, None, 0)
    filters: list[object] = warnings.filters  # type: ignore[assignment]
    filters.insert(0, entry)
    warnings._filters_mutated()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        pattern.clear()
        if entry in filters:
            filters.remove(entry)
        warnings._filters_mutated()  # type: ignore[attr-defined]
