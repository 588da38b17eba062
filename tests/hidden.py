"""Values that nothing puts back, for code that is to fail once."""

from __future__ import annotations

import concurrent.futures
import queue
from typing import Any


class Hidden:
    """An attribute that stays as it is: a queue holds its values, and no search looks into one."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    def __get__(self, instance: Any, owner: type) -> Any:
        held = vars(instance)[self._name]
        value = held.get()
        held.put(value)
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self._name] = held = queue.SimpleQueue[Any]()
        held.put(value)


def count_up(calls: queue.SimpleQueue[None]) -> int:
    """Count one more call, and return the number of those before it.

    The queue itself is the count: no search looks into one, and it is of no class of ours.
    """
    calls.put(None)
    return calls.qsize() - 1


def unreached_list() -> concurrent.futures.Future[list[Any]]:
    """A list that no search finds: the result of an object of a package that is left alone."""
    held = concurrent.futures.Future[list[Any]]()
    held.set_result([])
    return held
