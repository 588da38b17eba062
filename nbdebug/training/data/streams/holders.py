"""Objects that code writes into: what they hold, and how it is written back."""

from __future__ import annotations

import array
import copy
from collections import OrderedDict, deque
from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from nbdebug.core.attributes import attribute
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.copying import SIMPLE_TYPES, cloned
from nbdebug.model.state.values.copier import ValueCopier
from nbdebug.model.state.values.iterators import RESTORED_TYPES
from nbdebug.model.state.values.kept import Kept
from nbdebug.model.state.values.places import ABSENT, GENERATOR_TYPES, put, slots, value_at
from nbdebug.model.state.values.plain import PlainWriter
from nbdebug.model.state.values.reached import Bind, Reached
from nbdebug.model.state.values.records import is_own_object
from nbdebug.training.data.batch import bytes_in

# The one of which the methods are right comes first.
CONTAINERS = (list, deque, OrderedDict, dict, set)
NUMBERS = (torch.Tensor, np.ndarray, bytearray, array.array)
# Parts that are looked at, items of one container, and bytes.
MAX_HOLDERS, MAX_ITEMS, MAX_BYTES = 2_000, 10_000, 1 << 20


class Holder(Protocol):
    """Something that code writes into.

    Attributes:
        moved: names of what reading has written to it so far.
    """

    moved: set[str]

    def read(self) -> dict[str, Any]:
        """Return what it holds now, by name."""

    def write(self, values: dict[str, Any]) -> None:
        """Write some of it back."""


class _Attributes:
    """Attributes of an object of the user's."""

    def __init__(self, held: Any) -> None:
        self._inside = attribute(held, "__dict__", None)
        self._held, self._slots, self.moved = held, list(slots(type(held))), set[str]()

    def read(self) -> dict[str, Any]:
        found = {name: attribute(self._held, name, ABSENT) for name in self._slots}
        return {name: _kept(value) for name, value in (found | (self._inside or {})).items()}

    def write(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if name not in self._slots:
                put(self._inside or {}, name, _kept(value))
            elif value is not ABSENT:
                object.__setattr__(self._held, name, _kept(value))


class _Content:
    """Items of a container, as one list."""

    def __init__(self, held: Any) -> None:
        self._held, self.moved = held, set[str]()
        # Not what a class of the user's makes of these.
        self._kind: Any = next(kind for kind in CONTAINERS if isinstance(held, kind))

    def read(self) -> dict[str, Any]:
        is_dict = isinstance(self._held, dict)
        return {"": list(self._kind.items(self._held) if is_dict else self._held)}

    def write(self, values: dict[str, Any]) -> None:
        self._kind.clear(self._held)
        add = self._kind.update if hasattr(self._kind, "update") else self._kind.extend
        add(self._held, values[""])


class _Numbers:
    """Numbers of a tensor, an array or bytes, which code writes in place."""

    def __init__(self, held: Any) -> None:
        self._held, self.moved = held, set[str]()

    def read(self) -> dict[str, Any]:
        held = self._held
        return {"": held.detach().clone() if isinstance(held, torch.Tensor) else copy.copy(held)}

    def write(self, values: dict[str, Any]) -> None:
        if isinstance(self._held, torch.Tensor):
            self._held.detach().copy_(values[""])
        elif isinstance(self._held, np.ndarray):
            self._held[...] = values[""]
        else:
            self._held[:] = values[""]


class _Variable:
    """A global variable, or one of the function around."""

    def __init__(self, bind: Bind) -> None:
        self._bind, self.moved = bind, set[str]()

    def read(self) -> dict[str, Any]:
        return {"": _kept(value_at(self._bind, ABSENT))}

    def write(self, values: dict[str, Any]) -> None:
        self._bind(_kept(values[""]))


class _Generator:
    """A random number generator."""

    def __init__(self, held: Any) -> None:
        self._held, self.moved = held, set[str]()

    def read(self) -> dict[str, Any]:
        return {"": ValueCopier((), cloned).keep(self._held, "")}

    def write(self, values: dict[str, Any]) -> None:
        values[""].restored(self._held, {})


def _kept(value: Any) -> Any:
    """The value, or a copy of an iterator such as `itertools.count`, which moves in place."""
    return copy.copy(value) if isinstance(value, RESTORED_TYPES) else value


def is_same(one: Any, other: Any) -> bool:
    """True if two values that a holder gave are equal."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, Kept):
        return bitwise_equal(*(PlainWriter().plain(kept) for kept in (one, other)))
    if isinstance(one, RESTORED_TYPES):
        return bool(one.__reduce__() == other.__reduce__())
    if isinstance(one, NUMBERS):
        return bitwise_equal(one, other)
    return type(one) in SIMPLE_TYPES and bool(one == other)


def _is_small(value: Any) -> bool:
    """True for numbers of a size that may be copied with each item, and that nobody trains."""
    if isinstance(value, torch.Tensor):
        return not value.requires_grad and value.is_leaf and bytes_in(value) <= MAX_BYTES
    return memoryview(value).nbytes <= MAX_BYTES


def _holder(value: Any) -> Holder | None:
    """Holder of what code may write into of a value; None without any."""
    if isinstance(value, GENERATOR_TYPES):
        return _Generator(value)
    if isinstance(value, NUMBERS):
        return _Numbers(value) if _is_small(value) else None
    if isinstance(value, CONTAINERS):
        return _Content(value) if len(value) <= MAX_ITEMS else None
    return _Attributes(value) if is_own_object(value) else None


def _parts(value: Any) -> Iterable[Any]:
    """Values inside of a value that may be written into."""
    if isinstance(value, CONTAINERS):
        return list(value.values() if isinstance(value, dict) else value)
    if not is_own_object(value):
        return ()
    found = [attribute(value, name, None) for name in slots(type(value))]
    return [*found, *attribute(value, "__dict__", {}).values()]


def holders(found: Iterable[Reached]) -> dict[Any, Holder]:
    """Holders of what code may write into, by identity."""
    holders: dict[Any, Holder] = {}
    waiting: deque[Any] = deque()
    for one in found:
        if (key := _key(one.bind)) is not None and one.bind is not None:
            holders[key] = _Variable(one.bind)
        waiting.append(one.value)
    while waiting and len(holders) < MAX_HOLDERS:
        value = waiting.popleft()
        holder = None if id(value) in holders else _holder(value)
        if holder is not None:
            holders[id(value)] = holder
            waiting += _parts(value)
    return holders


def _key(bind: Bind | None) -> Any:
    if not isinstance(bind, partial) or not bind.args:
        return None
    return id(bind.args[0]), *(one for one in bind.args[1:2] if isinstance(one, str))
