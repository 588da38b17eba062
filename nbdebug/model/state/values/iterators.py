"""Iterators of the standard library, which are set back to where they were."""

from __future__ import annotations

import contextvars
import ctypes
import decimal
import io
import itertools
import queue
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nbdebug.model.state.values.kept import MISSING, Done, Kept

# Those whose place can be read and set.
PLACED_TYPES: tuple[type, ...] = (
    type(iter([])), type(iter(())), type(iter(range(0))), type(iter(range(2**70))),
    type(reversed([])), type(iter("")), type(iter("\u0394")),
)  # fmt: skip
RESTORED_TYPES = (*PLACED_TYPES, enumerate, itertools.count)
# Repeats the same value without end, unless it was given a number of times.
UNMOVED_TYPES = (itertools.repeat,)
# What these hold can be read by one thread only, or not set.
STUCK_TYPES = (
    contextvars.ContextVar, threading.local, queue.SimpleQueue, np.random.SeedSequence,
)  # fmt: skip
# Give what only the code of a thread itself can read and set.
STUCK_FUNCTIONS = (decimal.getcontext, decimal.setcontext)
_INDEX_AT = object.__basicsize__


class KeptIterator(Kept):
    """Place of an iterator over a list or a range, of `enumerate` or of `itertools.count`.

    Args:
        keep: copies what `enumerate` counts.
    """

    def __init__(self, value: Any, keep: Callable[[Any], Kept]) -> None:
        self._held = value
        self._inner: Kept | None = None
        _, arguments, *state = value.__reduce__()
        self._arguments = arguments
        # An iterator that is used up has no place.
        self._state: Any = state[0] if state else None
        if isinstance(value, enumerate):
            self._inner, self._state = keep(arguments[0]), arguments[1]
        elif isinstance(value, itertools.count):
            self._state = arguments
        self.kind = type(value)

    @classmethod
    def of(cls, kind: str, state: Any) -> KeptIterator:
        """Create the copy that a file holds.

        Raises:
            KeyError: no such iterator has a place in a file.
        """
        found = {one.__name__: one for one in (*PLACED_TYPES, itertools.count)}[kind]
        kept = cls(itertools.count() if found is itertools.count else iter(()), lambda part: part)
        kept._held, kept._state, kept.kind = None, state, found
        return kept

    @property
    def place(self) -> Any:
        """Number of the next element."""
        return self._state

    def restored(self, current: Any, done: Done) -> Any:
        if id(self) in done:
            return done[id(self)]
        return done.setdefault(id(self), self._restored(current, done))

    def _restored(self, current: Any, done: Done) -> Any:
        held = current if self._held is None else self._held
        if isinstance(held, enumerate):
            assert self._inner is not None
            self._inner.restored(MISSING, done)
            set_index(held, self._state)
            return held
        if isinstance(held, itertools.count):
            return held if _set_count(held, self._state) else itertools.count(*self._state)
        if self._state is None:
            return held
        if not held.__reduce__()[2:]:
            # It was used up since, and does not begin again.
            held = iter(self._arguments[0])
        held.__setstate__(self._state)
        return held


def arguments_of(value: Any) -> tuple[Any, ...]:
    """Arguments that an iterator was made of, as far as it is not used up."""
    found: tuple[Any, ...] = value.__reduce__()[1]
    return found


def is_of_generator(value: Any) -> bool:
    """True for an `enumerate` of a generator, which the loop itself may be driven by."""
    if not isinstance(value, enumerate):
        return False
    inner = arguments_of(value)[0]
    return isinstance(inner, types.GeneratorType) or is_of_generator(inner)


def index_of(counted: enumerate[Any]) -> int:
    """Number that `enumerate` gives next."""
    return int(arguments_of(counted)[1])


def set_index(counted: enumerate[Any], index: int) -> bool:
    """Set the number that `enumerate` gives next; False where this Python keeps it elsewhere.

    CPython has no call for it: the number is the first field of the object. It is written only
    where that field holds the number that `enumerate` reports.
    """
    if index_of(counted) == index:
        return True
    if sys.implementation.name != "cpython":
        return False
    field = ctypes.c_ssize_t.from_address(id(counted) + _INDEX_AT)
    if field.value != index_of(counted):
        return False
    field.value = index
    return index_of(counted) == index


def _set_count(counted: itertools.count[Any], state: tuple[Any, ...]) -> bool:
    """Set the number that `itertools.count` gives next, as `set_index` does."""
    if arguments_of(counted) == state:
        return True
    numbers = len(state) == 1 and type(state[0]) is int and abs(state[0]) < sys.maxsize
    if not numbers or sys.implementation.name != "cpython":
        return False
    field = ctypes.c_ssize_t.from_address(id(counted) + _INDEX_AT)
    if (field.value,) != arguments_of(counted):
        return False
    field.value = state[0]
    return arguments_of(counted) == state


def can_set_index() -> bool:
    """Tell if the number of an `enumerate` can be set in this Python."""
    return set_index(enumerate(()), 3)


def moves_on(value: Any) -> bool:
    """True for what moves and cannot be set back, such as a generator."""
    if isinstance(value, STUCK_TYPES) or any(value is one for one in STUCK_FUNCTIONS):
        return True
    if not isinstance(value, Iterator) or isinstance(value, (*RESTORED_TYPES, *UNMOVED_TYPES)):
        return False
    if isinstance(value, types.GeneratorType):
        return value.gi_frame is not None and not value.gi_running
    if isinstance(value, io.IOBase):
        # What is written to a file stays there, and is read by nobody.
        return not value.closed and not value.writable()
    return True
