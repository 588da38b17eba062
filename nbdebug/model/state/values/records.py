"""Plain values that a loop of the user's own moves: numbers, containers, iterators, objects."""

from __future__ import annotations

import argparse
import array
import collections
import enum
import io
import logging
import numbers
import os
import queue
import sys
import types
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset, WeightedRandomSampler

from nbdebug.model.source_code import is_of_library
from nbdebug.model.state.copying import SIMPLE_TYPES, Copy, is_plain
from nbdebug.model.state.other_threads import is_shared
from nbdebug.model.state.values.copier import (
    CONSTANT_TYPES,
    CONTAINER_TYPES,
    PASSED_PACKAGES,
    ValueCopier,
    is_service,
)
from nbdebug.model.state.values.iterators import (
    RESTORED_TYPES,
    STUCK_TYPES,
    KeptIterator,
    is_of_generator,
    moves_on,
)
from nbdebug.model.state.values.kept import (
    AsIs,
    Constant,
    Kept,
    KeptTensor,
)
from nbdebug.model.state.values.kept_data import KeptContent, KeptMany, is_frame
from nbdebug.model.state.values.kept_records import (
    KeptBuffer,
    KeptEnvironment,
    KeptNumbers,
    KeptOwn,
    Loose,
)
from nbdebug.model.state.values.places import ABSENT, GENERATOR_TYPES
from nbdebug.model.state.values.reached import (
    DATA_TYPES,
    MAX_PARTS,
    TRAINED_TYPES,
    Bind,
    Reached,
    is_carried,
)
from nbdebug.model.state.values.written import Wanted, data_parts, is_batch, is_large, none_of_them

# A container with more parts that are no numbers holds data: its parts are not copied.
MAX_COPIED_PARTS, MAX_SMALL = 1000, 20_000
BUFFER_TYPES = (io.StringIO, io.BytesIO)
# Bound by imports and definitions, and no state.
NAMES = (type, types.ModuleType, types.CodeType)
# May be held: they reach no watch.
IMMUTABLE: tuple[Any, ...] = (
    *SIMPLE_TYPES, enum.Enum, numbers.Number, range, slice, frozenset, np.generic, np.dtype,
    torch.dtype, torch.device, types.FunctionType, types.BuiltinFunctionType,
)  # fmt: skip
# Classes of the standard library whose objects are the user's own.
NAMESPACES = (
    types.SimpleNamespace, argparse.Namespace, collections.UserDict, collections.UserList,
    collections.ChainMap, weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet,
    TensorDataset, Subset, WeightedRandomSampler,
)  # fmt: skip
# Packages whose objects are copied too: those of trainers and displays look after themselves.
COPIED_OF_TORCH = ("torch.distributions", "torch.quasirandom")
LEFT_PACKAGES = PASSED_PACKAGES | {
    "accelerate", "datasets", "fastai", "ignite", "jax", "keras", "lightning", "plotly",
    "pytorch_lightning", "ray", "rich", "skorch", "tensorflow", "tokenizers", "tqdm",
    "transformers",
}  # fmt: skip


class Records:
    """Collects the records among the values that a search meets.

    Args:
        large: tells which large arrays are no data, such as those that code writes into.

    Attributes:
        found: records, and what binds them; moving: place and type of iterators that move on.
        shared: place and type of queues that other threads use, which are left alone.
        spaces: functions' attributes and classes, which may get more names.
        caches: functions with a cache that may hold something else the next time.
    """

    def __init__(self, large: Wanted = none_of_them) -> None:
        self._large = large
        self.found: list[Reached] = []
        self.moving: dict[str, str] = {}
        self.shared: dict[str, str] = {}
        self.spaces: list[Any] = []
        self.caches: list[Any] = []
        self._taken = set[int]()

    def see(self, place: str, value: Any, bind: Bind | None, holder: Any) -> None:
        """Take a value if it is a record; what a record holds belongs to it."""
        if id(holder) in self._taken:
            self._remember(value)
        elif _is_record(value, bind is not None, self._large):
            self._remember(value)
            self.found.append(Reached(place, value, bind))
        if isinstance(value, STUCK_TYPES) or (moves_on(value) and not is_own_object(value)):
            function = isinstance(value, types.BuiltinFunctionType)
            self.moving[place] = "context of its thread" if function else type(value).__name__

    def leaves(self, place: str, value: Any) -> bool:
        """True for a queue that another thread goes on moving."""
        if found := isinstance(value, queue.Queue) and is_shared(value):
            self.shared[place] = f"{type(value).__name__} of several threads"
        return found

    def _remember(self, value: Any) -> None:
        if isinstance(value, (*CONTAINER_TYPES, tuple, frozenset)) or is_own_object(value):
            self._taken.add(id(value))


def _is_record(value: Any, bound: bool, large: Wanted) -> bool:
    """True for a value that code moves in place, or by binding it to another one."""
    if is_of_generator(value):
        return False
    if value is os.environ:
        return True
    if value is ABSENT or (isinstance(value, CONSTANT_TYPES) and not isinstance(value, NAMES)):
        return bound
    if isinstance(value, tuple):
        # One of tensors is carried from step to step as such.
        return bound and not is_carried(value)
    if isinstance(value, np.ndarray):
        return not is_large(value) or large(value)
    if is_frame(value):
        return True
    if isinstance(value, (*CONTAINER_TYPES, *RESTORED_TYPES, *BUFFER_TYPES, array.array)):
        return True
    return is_own_object(value)


def is_own_object(value: Any) -> bool:
    """True for an object of a class of the user's own, without files, threads and locks."""
    if isinstance(value, NAMESPACES):
        return True
    if isinstance(value, (*CONSTANT_TYPES, *TRAINED_TYPES, DataLoader, *CONTAINER_TYPES)):
        return False
    if isinstance(value, type) or not _is_copied(type(value)):
        return False
    return isinstance(value, logging.Handler) or not is_service(value)


def _is_copied(kind: type) -> bool:
    """True for a class of the user's, and for one of a package that keeps all in attributes."""
    if not is_of_library(kind):
        return True
    module = str(kind.__module__)
    package = module.partition(".")[0]
    made = [vars(one)["__new__"] for one in kind.__mro__[:-1] if "__new__" in vars(one)]
    if not kind.__dictoffset__ or not all(isinstance(one, staticmethod) for one in made):
        # Made in C, where a part of it may be kept.
        return False
    if package == "torch":
        return module.startswith(COPIED_OF_TORCH)
    return not (package in LEFT_PACKAGES or package in sys.stdlib_module_names)


class RecordCopier(ValueCopier):
    """Copies what a loop reaches, and its records; an object that is both is copied once.

    Objects of libraries are left as they are, large data too, and nothing is kept alive that may
    reach whoever watches the loop.

    Args:
        trained: False leaves out networks, optimizers and what else trains, but no generators.
        large: tells which large tensors without gradient and arrays are copied.

    Attributes:
        large: places of those that were copied.
    """

    def __init__(
        self, skip: Iterable[int], copy: Copy, trained: bool = True, large: Wanted = none_of_them
    ) -> None:
        super().__init__(skip, copy)
        self._trained, self._wanted, self._in_records = trained, large, False
        self.large = set[str]()

    def keep_record(self, value: Any, place: str) -> Kept:
        """Copy a record."""
        self._in_records = True
        try:
            return self.keep(value, place)
        finally:
            self._in_records = False

    def keep(self, value: Any, place: str = "") -> Kept:
        if value is ABSENT:
            return Constant(value)
        kept = super().keep(value, place)
        if self._in_records and type(kept) is AsIs and not isinstance(value, IMMUTABLE):
            return Loose(kept.value)
        return kept

    def _fresh(self, value: Any, place: str) -> Kept:
        if not self._in_records:
            return super()._fresh(value, place)
        if value is os.environ:
            return self._remember(value, KeptEnvironment())
        if isinstance(value, RESTORED_TYPES):
            return self._remember(value, KeptIterator(value, self.keep))
        if isinstance(value, BUFFER_TYPES):
            return self._remember(value, KeptBuffer(value))
        if isinstance(value, array.array):
            return self._remember(value, KeptNumbers(value))
        if isinstance(value, (*DATA_TYPES, *NAMESPACES)) and is_own_object(value):
            return self._object(value, place)
        if isinstance(value, TRAINED_TYPES) and not (self._trained or _moves_alone(value)):
            return self._remember(value, Loose(value))
        if is_large(value):
            if not self._wanted(value):
                return self._left(value, place)
            self.large.add(place)
        return super()._fresh(value, place)

    def _tensor(self, value: torch.Tensor) -> KeptTensor:
        kept = super()._tensor(value)
        if is_large(value) and not value.is_inference():
            # Found by the version, since comparing its values takes long.
            kept.version = value._version
        return kept

    def _container(self, value: Any, place: str) -> Kept:
        if self._in_records and _is_large(value):
            return self._remember(value, self._large(value, place))
        return super()._container(value, place)

    def _large(self, value: Any, place: str) -> KeptContent:
        if len(data_parts(value)) <= MAX_PARTS or not self._wanted(value):
            return KeptContent(value)
        self.large.add(place)
        kept = KeptMany(value, self._copy)
        self.tensors += kept.tensors
        return kept

    def _parts(self, values: Iterable[tuple[Any, Any]], place: str) -> list[Kept]:
        # The container itself holds them.
        found = super()._parts(values, place)
        return [AsIs(kept.value) if type(kept) is Loose else kept for kept in found]

    def _object(self, value: Any, place: str) -> Kept:
        if not self._in_records or isinstance(value, TRAINED_TYPES):
            return super()._object(value, place)
        if not is_own_object(value):
            return self._remember(value, Loose(value))
        kept: KeptOwn = self._remember(value, KeptOwn(value))
        kept.parts = self._attributes(value, place)
        return kept


def _moves_alone(value: Any) -> bool:
    """True for a random number generator, or a tensor that no optimizer changes."""
    if isinstance(value, GENERATOR_TYPES):
        return True
    return isinstance(value, torch.Tensor) and not value.requires_grad


def _is_large(value: Any) -> bool:
    """True for a container of data, whose parts are not copied one by one."""
    if isinstance(value, set | bytearray) or len(value) <= MAX_PARTS:
        return False
    parts = list(value.values() if isinstance(value, dict) else value)
    plain = sum(type(part) in SIMPLE_TYPES or _is_small(part) for part in parts)
    data = sum(isinstance(part, torch.Tensor | np.ndarray) or is_batch(part) for part in parts)
    return len(parts) - plain > MAX_COPIED_PARTS or data > MAX_PARTS or len(parts) > MAX_SMALL


def _is_small(part: Any) -> bool:
    """True for a list or dict of a few numbers, as in a heap."""
    held = part.values() if isinstance(part, dict) else part
    return isinstance(part, list | dict) and len(part) <= 8 and all(map(is_plain, held))
