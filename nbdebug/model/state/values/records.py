"""Plain values that a loop of the user's own moves: numbers, containers, iterators, objects."""

from __future__ import annotations

import argparse
import collections
import io
import types
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset, WeightedRandomSampler

from nbdebug.model.source_code import is_of_library
from nbdebug.model.state.copying import SIMPLE_TYPES, Copy
from nbdebug.model.state.reachable import (
    DATA_TYPES,
    MAX_DATA_BYTES,
    MAX_PARTS,
    TRAINED_TYPES,
    Bind,
    Reached,
)
from nbdebug.model.state.values.copier import (
    CONSTANT_TYPES,
    CONTAINER_TYPES,
    ValueCopier,
    is_service,
)
from nbdebug.model.state.values.iterators import (
    RESTORED_TYPES,
    KeptIterator,
    is_of_generator,
    moves_on,
)
from nbdebug.model.state.values.kept import (
    AsIs,
    Done,
    Kept,
    KeptContainer,
    KeptObject,
    write_attributes,
)

# A container with more parts that are no numbers holds data: its parts are not copied.
MAX_COPIED_PARTS = 1000
BUFFER_TYPES = (io.StringIO, io.BytesIO)
# Classes of the standard library whose objects are the user's own.
NAMESPACES = (
    types.SimpleNamespace, argparse.Namespace, collections.UserDict, collections.UserList,
    TensorDataset, Subset, WeightedRandomSampler,
)  # fmt: skip


class Records:
    """Collects the records among the values that a search meets.

    Attributes:
        found: records, and what binds them; moving: place and type of iterators that move on.
    """

    def __init__(self) -> None:
        self.found: list[Reached] = []
        self.moving: dict[str, str] = {}
        self._taken = set[int]()

    def see(self, place: str, value: Any, bind: Bind | None, holder: Any) -> None:
        """Take a value if it is a record; what a record holds belongs to it."""
        if id(holder) in self._taken:
            self._remember(value)
        elif _is_record(value, bind is not None):
            self._remember(value)
            self.found.append(Reached(place, value, bind))
        if moves_on(value) and not _is_object(value):
            self.moving[place] = type(value).__name__

    def _remember(self, value: Any) -> None:
        if isinstance(value, (*CONTAINER_TYPES, tuple)) or _is_object(value):
            self._taken.add(id(value))


def _is_record(value: Any, bound: bool) -> bool:
    """True for a value that code moves in place, or by binding it to another one."""
    kind = type(value)
    if is_of_generator(value):
        return False
    if kind in SIMPLE_TYPES or isinstance(value, np.generic):
        return bound
    if isinstance(value, tuple):
        # One of tensors is carried from step to step as such.
        return bound and not any(isinstance(part, torch.Tensor) for part in value)
    if isinstance(value, np.ndarray):
        return value.nbytes <= MAX_DATA_BYTES
    if isinstance(value, (*CONTAINER_TYPES, *RESTORED_TYPES, *BUFFER_TYPES)):
        return True
    return _is_object(value)


def _is_object(value: Any) -> bool:
    """True for an object of a class of the user's own, without files, threads and locks."""
    if isinstance(value, NAMESPACES):
        return True
    if isinstance(value, (*CONSTANT_TYPES, *TRAINED_TYPES, DataLoader, *CONTAINER_TYPES)):
        return False
    return not isinstance(value, type) and not is_of_library(type(value)) and not is_service(value)


class KeptBuffer(Kept):
    """Contents and place of a file in memory."""

    def __init__(self, value: io.StringIO | io.BytesIO) -> None:
        self._held: Any = value
        self._state = None if value.closed else (value.getvalue(), value.tell())

    def restored(self, current: Any, done: Done) -> Any:
        held = self._held
        if self._state is not None and not held.closed:
            held.seek(0)
            held.truncate()
            held.write(self._state[0])
            held.seek(self._state[1])
        return held


class Loose(AsIs):
    """A value that is left as it is, and not kept alive."""

    def __init__(self, value: Any) -> None:
        self._ref = _weakly(value)

    @property
    def value(self) -> Any:
        return self._ref()

    def restored(self, current: Any, done: Done) -> Any:
        value = self._ref()
        return current if value is None else value


class KeptOwn(KeptObject):
    """An object of the user's and its attributes; not kept alive, since it may reach the watch."""

    def __init__(self, value: Any) -> None:
        super().__init__(None, type(value).__qualname__)
        self._kind, self._ref = type(value), _weakly(value)

    def restored(self, current: Any, done: Done) -> Any:
        if id(self) in done:
            return done[id(self)]
        held = self._ref()
        if held is None:
            try:
                held = object.__new__(self._kind)
            except TypeError:
                return current
        done[id(self)] = held
        write_attributes(held, self.parts, done)
        return held


def _weakly(value: Any) -> Any:
    try:
        if isinstance(value, types.MethodType):
            return weakref.WeakMethod(value)
        return weakref.ref(value)
    except TypeError:
        return lambda: value


class RecordCopier(ValueCopier):
    """Copies what a loop reaches, and its records; an object that is both is copied once.

    Objects of libraries are left as they are, large data too, and nothing is kept alive that may
    reach whoever watches the loop.

    Args:
        trained: False leaves out networks, optimizers and what else trains.
    """

    def __init__(self, skip: Iterable[int], copy: Copy, trained: bool = True) -> None:
        super().__init__(skip, copy)
        self._trained, self._in_records = trained, False

    def keep_record(self, value: Any, place: str) -> Kept:
        """Copy a record."""
        self._in_records = True
        try:
            return self.keep(value, place)
        finally:
            self._in_records = False

    def keep(self, value: Any, place: str = "") -> Kept:
        kept = super().keep(value, place)
        return Loose(kept.value) if self._in_records and type(kept) is AsIs else kept

    def _fresh(self, value: Any, place: str) -> Kept:
        if not self._in_records:
            return super()._fresh(value, place)
        if isinstance(value, RESTORED_TYPES):
            return self._remember(value, KeptIterator(value, self.keep))
        if isinstance(value, BUFFER_TYPES):
            return self._remember(value, KeptBuffer(value))
        if isinstance(value, (*DATA_TYPES, *NAMESPACES)) and _is_object(value):
            return self._object(value, place)
        if isinstance(value, TRAINED_TYPES) and not self._trained:
            return self._remember(value, Loose(value))
        if isinstance(value, torch.Tensor) and not value.requires_grad:
            large = value.nbytes > MAX_DATA_BYTES
        else:
            large = isinstance(value, np.ndarray) and value.nbytes > MAX_DATA_BYTES
        return self._left(value, place) if large else super()._fresh(value, place)

    def _container(self, value: Any, place: str) -> Kept:
        if self._in_records and _is_large(value):
            return self._shallow(value)
        return super()._container(value, place)

    def _shallow(self, value: Any) -> Kept:
        kept: KeptContainer = self._remember(value, KeptContainer(value))
        kept.keys = list(value) if isinstance(value, dict) else []
        kept.values = list(value.values() if isinstance(value, dict) else value)
        kept.simple = True
        return kept

    def _parts(self, values: Iterable[tuple[Any, Any]], place: str) -> list[Kept]:
        # The container itself holds them.
        found = super()._parts(values, place)
        return [AsIs(kept.value) if type(kept) is Loose else kept for kept in found]

    def _object(self, value: Any, place: str) -> Kept:
        if not self._in_records or isinstance(value, TRAINED_TYPES):
            return super()._object(value, place)
        if not _is_object(value):
            return self._remember(value, Loose(value))
        kept: KeptOwn = self._remember(value, KeptOwn(value))
        kept.parts = self._attributes(value, place)
        return kept


def _is_large(value: Any) -> bool:
    """True for a container of data, whose parts are not copied one by one."""
    if isinstance(value, set | bytearray) or len(value) <= MAX_PARTS:
        return False
    parts = list(value.values() if isinstance(value, dict) else value)
    plain = sum(type(part) in SIMPLE_TYPES for part in parts)
    data = sum(isinstance(part, torch.Tensor | np.ndarray) for part in parts)
    return len(parts) - plain > MAX_COPIED_PARTS or data > MAX_PARTS
