"""Parts of a batch that code may write into: its tensors, and the containers that hold them."""

from __future__ import annotations

import operator
import sys
from collections import OrderedDict, deque
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, Sampler

from nbdebug.model.state.copying import SIMPLE_TYPES
from nbdebug.model.state.values.copier import CONTAINER_TYPES, attributes_of
from nbdebug.model.state.values.records import is_own_object

# A batch with more parts is not walked to its end.
MAX_PARTS = 20_000
# References of a part that nobody else holds: that of its `Held`, and that of the question.
UNSHARED = 2


class Parts(NamedTuple):
    """Parts of a batch, each once.

    Attributes:
        others: lists, dicts, sets, deques, bytearrays, arrays and objects of the user's classes.
    """

    tensors: list[torch.Tensor]
    others: list[Any]


def parts_of(batch: Any) -> Parts:
    """Tensors of a batch, however nested, and what else in it code may write into."""
    found, seen, waiting = Parts([], []), set[int](), [batch]
    while waiting and len(seen) < MAX_PARTS:
        value = waiting.pop()
        if type(value) in SIMPLE_TYPES or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            found.tensors.append(value)
        elif isinstance(value, np.ndarray):
            if value.flags.writeable and not isinstance(value, np.memmap):
                found.others.append(value)
        elif isinstance(value, tuple | frozenset):
            waiting += reversed(list(value))
        elif isinstance(value, CONTAINER_TYPES) or _is_of_batch(value):
            found.others.append(value)
            waiting += reversed(_inside(value))
    return found


def _is_of_batch(value: Any) -> bool:
    """True for an object of the user's that holds data, and not what gives it or learns from it."""
    return is_own_object(value) and not isinstance(value, Dataset | Sampler | nn.Module)


def _inside(value: Any) -> list[Any]:
    """Values in a container or an object that may have parts of their own."""
    held: list[Any] = [part for _, part in attributes_of(value)]
    if isinstance(value, dict):
        held += value.values()
    elif not isinstance(value, bytearray) and isinstance(value, CONTAINER_TYPES):
        held += value
    return [] if SIMPLE_TYPES.issuperset(map(type, held)) else held


class Held:
    """Holds a part as long as somebody else does."""

    def __init__(self, part: Any) -> None:
        self.part = part

    def get(self) -> Any:
        """The part; None once it was let go."""
        return self.part

    def let_go(self) -> bool:
        """Let go of a part that nobody else holds; True if it is gone."""
        if self.part is not None and sys.getrefcount(self.part) <= UNSHARED:
            self.part = None
        return self.part is None


class Content:
    """Content of a container, an array or an object, without that of its parts."""

    def __init__(self, part: Any) -> None:
        self._data: Any = None
        self._keys: list[Any] = []
        if isinstance(part, np.ndarray | bytearray):
            self._data = part.copy()
        elif isinstance(part, dict):
            self._keys, self._data = list(part), list(part.values())
        elif isinstance(part, CONTAINER_TYPES):
            self._data = list(part)
        self._attributes = {} if isinstance(part, np.ndarray) else dict(attributes_of(part))

    @property
    def nbytes(self) -> int:
        """Number of bytes of an array."""
        return self._data.nbytes if isinstance(self._data, np.ndarray) else 0

    @property
    def holding(self) -> int:
        """Number of bytes of the tensors and arrays that are kept alive with this."""
        held = [*(self._data if isinstance(self._data, list) else ()), *self._attributes.values()]
        return sum(one.nbytes for one in held if isinstance(one, torch.Tensor | np.ndarray))

    def is_in(self, part: Any) -> bool:
        """True if a part holds this."""
        if isinstance(part, np.ndarray):
            return _is_equal(self._data, part)
        now = Content(part)
        if isinstance(self._data, bytearray):
            return bool(self._data == now._data)
        if isinstance(part, set) and len(self._data) == len(part):
            return part.issuperset(self._data)
        same = _same(self._keys, now._keys) and _same(self._data or [], now._data or [])
        names, values = self._attributes, now._attributes
        return same and list(names) == list(values) and _same([*names.values()], [*values.values()])

    def write(self, part: Any) -> None:
        """Write this into the part."""
        if isinstance(part, np.ndarray):
            part[...] = self._data
        elif isinstance(part, bytearray):
            part[:] = self._data
        elif isinstance(part, dict):
            base: Any = OrderedDict if isinstance(part, OrderedDict) else dict
            base.clear(part)
            for key, value in zip(self._keys, self._data, strict=True):
                base.__setitem__(part, key, value)
        elif isinstance(part, set):
            set.clear(part)
            set.update(part, self._data)
        elif isinstance(part, list | deque):
            kind: Any = list if isinstance(part, list) else deque
            kind.clear(part)
            kind.extend(part, self._data)
        if not isinstance(part, np.ndarray):
            self._write_attributes(part)

    def _write_attributes(self, part: Any) -> None:
        now = dict(attributes_of(part))
        for name, value in self._attributes.items():
            if name not in now or now[name] is not value:
                object.__setattr__(part, name, value)
        for name in now.keys() - self._attributes.keys():
            with suppress(AttributeError, TypeError):
                object.__delattr__(part, name)


def _same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(map(operator.is_, one, other))


def _is_equal(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.hasobject:
        return _same(one.ravel().tolist(), other.ravel().tolist())
    return one.tobytes() == other.tobytes()
