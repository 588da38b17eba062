"""Copies of Python values that a training may move, written back into the same objects."""

from __future__ import annotations

import collections
import enum
import functools
import numbers
import types
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from nbdebug.core.attributes import attribute
from nbdebug.model.module.sharded import is_freed
from nbdebug.model.state.copying import SIMPLE_TYPES, Copy, is_plain
from nbdebug.model.state.values.kept import (
    MISSING,
    AsIs,
    Constant,
    Kept,
    KeptArray,
    KeptContainer,
    KeptGenerator,
    KeptObject,
    KeptTensor,
    KeptTuple,
)
from nbdebug.model.state.values.kept_data import KeptFrame, is_frame
from nbdebug.model.state.values.kept_optimizer import KeptOptimizer
from nbdebug.model.state.values.kept_records import KeptElements
from nbdebug.model.state.values.places import GENERATOR_TYPES, slots

# Immutable, or without a state of their own.
CONSTANT_TYPES: tuple[Any, ...] = (
    *SIMPLE_TYPES, numbers.Number, type, enum.Enum, range, slice, frozenset, np.generic,
    torch.dtype, torch.device, torch.layout, torch.memory_format, torch.finfo, torch.iinfo,
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType,
    types.MethodWrapperType,
    types.WrapperDescriptorType, types.CodeType, types.NotImplementedType, types.EllipsisType,
    functools.partial, property, weakref.ref, np.dtype, np.ufunc, torch.jit.ScriptFunction,
    torch._ops.OpOverload, torch._ops.OpOverloadPacket,
)  # fmt: skip
CONTAINER_TYPES = (list, dict, set, collections.deque, bytearray)
# Packages whose objects are services, displays or data, which a forward does not train.
PASSED_PACKAGES = frozenset({
    "IPython", "PIL", "asyncio", "bokeh", "comm", "concurrent", "contextvars", "decimal",
    "datetime", "fractions", "importlib", "inspect", "ipykernel", "ipywidgets", "logging",
    "matplotlib", "mlflow", "multiprocessing", "nbdebug", "pandas", "pathlib", "re", "tensorboard",
    "threading", "traitlets", "types", "typing", "uuid", "wandb",
})  # fmt: skip
PASSED_MODULES = (
    "torch.utils", "torch._dynamo", "torch._inductor", "torch.fx", "torch.cuda",
    # Of trainers, which a module of theirs holds.
    "lightning.pytorch", "pytorch_lightning",
)  # fmt: skip
# An array of more objects is data.
MAX_OBJECTS = 20_000
K = TypeVar("K", bound=Kept)
MAX_VALUES, MAX_TENSOR_BYTES = 200_000, 2**30


class ValueCopier:
    """Copies values deeply; an object that is met twice is copied once.

    Numbers, strings, tensors, arrays, random number generators, containers and objects with
    attributes are copied. Functions, modules and the objects of some packages (loggers, widgets)
    are left as they are.

    Args:
        skip: ids of objects that are copied elsewhere.
        copy: copies a tensor.

    Attributes:
        uncopied: place and type of each value that may have a state and cannot be copied, such
            as a generator or an open file.
        tensors: copies of all tensors.
    """

    def __init__(self, skip: Iterable[int] = (), copy: Copy = lambda t: t.detach().clone()) -> None:
        self._skip, self._copy = frozenset(skip), copy
        self._known: dict[int, Kept] = {}
        self.uncopied: dict[str, str] = {}
        self.tensors: list[torch.Tensor] = []

    @property
    def count(self) -> int:
        """Number of values with a state that were copied."""
        return len(self._known)

    def unchanged(self, ids: Iterable[int]) -> dict[int, Any]:
        """Objects that are not to be written to, in the form that `Kept.restored` takes."""
        known = [self._known[one] for one in ids if one in self._known]
        return {id(kept): kept.held for kept in known if isinstance(kept, KeptObject)}

    def keep(self, value: Any, place: str = "") -> Kept:
        """Copy a value; `place` names it in `uncopied`."""
        if is_plain(value):
            return Constant(value)
        if id(value) in self._skip:
            return AsIs(value)
        found = self._known.get(id(value))
        if found is None:
            found = self._fresh(value, place)
        return found

    def _fresh(self, value: Any, place: str) -> Kept:
        if isinstance(value, torch.Tensor):
            if is_freed(value):
                return AsIs(value)
            if value.nbytes > MAX_TENSOR_BYTES:
                return self._left(value, place)
            return self._remember(value, self._tensor(value))
        if type(value) in CONTAINER_TYPES:
            return self._container(value, place)
        if is_frame(value):
            return self._remember(value, KeptFrame(value, self.keep))
        if isinstance(value, CONSTANT_TYPES) or _passed(value):
            return AsIs(value)
        if isinstance(value, np.ndarray):
            return self._array(value, place)
        if isinstance(value, torch.optim.Optimizer):
            return self._optimizer(value, place)
        if isinstance(value, GENERATOR_TYPES):
            return self._remember(value, KeptGenerator(value))
        if len(self._known) >= MAX_VALUES:
            return self._left(value, place)
        if isinstance(value, tuple):
            several = self._remember(value, KeptTuple(value))
            several.parts = self._parts(enumerate(value), place)
            return several
        if isinstance(value, CONTAINER_TYPES):
            return self._container(value, place)
        return self._object(value, place)

    def _tensor(self, value: torch.Tensor) -> KeptTensor:
        kept = KeptTensor(value, self._copy)
        self.tensors.append(kept.data)
        return kept

    def _remember(self, value: Any, kept: K) -> K:
        self._known[id(value)] = kept
        return kept

    def _left(self, value: Any, place: str) -> Kept:
        self.uncopied[place] = type(value).__name__
        return self._remember(value, AsIs(value))

    def _array(self, value: np.ndarray[Any, Any], place: str) -> Kept:
        if not value.flags.writeable:
            return AsIs(value)
        if isinstance(value, np.memmap):
            return self._left(value, place)
        if value.dtype.kind == "O" and value.size <= MAX_OBJECTS:
            return self._remember(value, KeptElements(value, self.keep))
        return self._remember(value, KeptArray(value))

    def _optimizer(self, value: torch.optim.Optimizer, place: str) -> Kept:
        kept = self._remember(value, KeptOptimizer(value, self._copy))
        self.tensors += kept.tensors
        for group in value.param_groups:
            # The parameters may belong to no module.
            kept.parameters += [self.keep(p, f"{place}.param_groups") for p in group["params"]]
        return kept

    def _container(self, value: Any, place: str) -> Kept:
        kept: KeptContainer = self._remember(value, KeptContainer(value))
        if isinstance(value, dict):
            kept.keys, values = list(value), list(value.values())
        elif isinstance(value, list | collections.deque):
            values = list(value)
        else:
            kept.keys, values = list(value), []
        kept.simple = SIMPLE_TYPES.issuperset(map(type, values))
        named = zip(kept.keys or range(len(values)), values, strict=False)
        kept.values = values if kept.simple else self._parts(named, place)
        kept.held_keys = [self.keep(key, place) for key in kept.keys if not is_constant(key)]
        kept.attributes = self._attributes(value, place)
        return kept

    def _parts(self, values: Iterable[tuple[Any, Any]], place: str) -> list[Kept]:
        return [self.keep(part, f"{place}[{name!r}]") for name, part in values]

    def _object(self, value: Any, place: str) -> Kept:
        if not _has_attributes(value):
            return self._left(value, place)
        kept: KeptObject = self._remember(value, KeptObject(value))
        before = set(self.uncopied)
        kept.parts = self._attributes(value, place)
        if is_service(value):
            # Half a copy of a queue or a writer would break it.
            for name in set(self.uncopied) - before:
                del self.uncopied[name]
            return self._left(value, place)
        return kept

    def _attributes(self, value: Any, place: str) -> dict[str, Kept]:
        return {name: self.keep(part, f"{place}.{name}") for name, part in attributes_of(value)}


def is_constant(value: Any) -> bool:
    """True for a value without parts that may change in place."""
    if type(value) is tuple:
        return SIMPLE_TYPES.issuperset(map(type, value))
    return type(value) not in CONTAINER_TYPES and isinstance(value, CONSTANT_TYPES)


def attributes_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Attributes of an object, in its `__dict__` and its slots."""
    yield from attribute(value, "__dict__", {}).items()
    for name in slots(type(value)):
        part = attribute(value, name, MISSING)
        if part is not MISSING:
            yield name, part


def _has_attributes(value: Any) -> bool:
    return hasattr(value, "__dict__") or any("__slots__" in k.__dict__ for k in type(value).__mro__)


def _passed(value: Any) -> bool:
    if isinstance(value, Dataset | DataLoader | Sampler):
        return True
    module = type(value).__module__ or ""
    return module.partition(".")[0] in PASSED_PACKAGES or module.startswith(PASSED_MODULES)


def is_service(value: Any) -> bool:
    """True for an object that holds a lock, a thread, a file or a socket."""
    return any(
        type(part).__module__ in ("_thread", "threading", "_io", "socket", "_queue", "subprocess")
        for _, part in attributes_of(value)
    )
