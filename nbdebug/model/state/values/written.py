"""Tensors and arrays that code writes into, told from data that it only reads."""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.weak import WeakIdKeyDictionary

from nbdebug.model.state.copying import SIMPLE_TYPES

Array = np.ndarray[Any, Any]
Wanted = Callable[[Any], bool]
# Above this size tensors without gradient and arrays are data, which training only reads.
MAX_DATA_BYTES = 2**24
# Before the first step nobody knows what it writes into: a look copies so many bytes to be safe,
# and the first checkpoint, which stays, so many.
LOOK_BYTES, CHECKPOINT_BYTES = 2**28, 2**26
# An array has no version: its checksum is compared, of so many bytes, at the first questions and
# then at each that is a power of two.
FIRST_COMPARISONS, MAX_COMPARED_BYTES = 8, 2**28
# Of a container of many tensors so many bytes; and so many containers are remembered.
MAX_PARTS_BYTES, MAX_CONTAINERS = 2**24, 1000


class WrittenData:
    """Knows large tensors by the version at which it met them, and arrays by a checksum.

    Small ones count where a container holds many of them.
    """

    def __init__(self) -> None:
        self._first = WeakIdKeyDictionary()
        self._arrays: dict[int, _Met] = {}
        self._containers: dict[int, _MetParts] = {}

    def holds(self, data: Any) -> bool:
        """True for a tensor or an array that was written into since it was met.

        An array is compared ever less often. Of a container its parts count.
        """
        if not isinstance(data, torch.Tensor | np.ndarray):
            return self._holds_parts(data)
        if isinstance(data, np.ndarray):
            return self._holds_array(data)
        if data.is_inference():
            return False
        return bool(self._first.setdefault(data, data._version) != data._version)

    def _holds_array(self, array: Array) -> bool:
        if not _is_compared(array):
            return False
        met = self._arrays.get(id(array))
        if met is None or met.array() is not array:
            self._arrays = {
                key: one for key, one in self._arrays.items() if one.array() is not None
            }
            self._arrays[id(array)] = _Met(weakref.ref(array), _checksum(array))
            return False
        met.questions += 1
        if not met.written and _is_due(met.questions):
            met.written = _checksum(array) != met.checksum
        return met.written

    def _holds_parts(self, container: Any) -> bool:
        met = self._containers.pop(id(container), None) or _MetParts()
        # The one that was asked for last is the last one to be forgotten.
        self._containers[id(container)] = met
        if len(self._containers) > MAX_CONTAINERS:
            del self._containers[next(iter(self._containers))]
        return met.holds(container)

    def wanted(self, unknown: int = 0) -> Wanted:
        """Answer once of each tensor, array or container of these if it is copied.

        Args:
            unknown: bytes of those to copy of which nobody knows yet if code writes into them.
        """
        answers: dict[int, bool] = {}
        room = unknown

        def wanted(data: Any) -> bool:
            nonlocal room
            found = answers.get(id(data))
            if found is None:
                found = self.holds(data)
                if not found and room and (size := _bytes_of(data)) <= room:
                    found = True
                    room -= size
                answers[id(data)] = found
            return found

        return wanted


@dataclass
class _Met:
    array: weakref.ref[Array]
    checksum: int
    questions: int = 0
    written: bool = False


@dataclass
class _MetParts:
    """Tensors and arrays of a container, by their versions, and at first by checksums."""

    versions: dict[int, int] = field(default_factory=dict)
    checksums: dict[int, int] = field(default_factory=dict)
    questions: int = 0
    written: bool = False

    def holds(self, container: Any) -> bool:
        """True if one of the parts was written into since it was met."""
        if not self.written:
            parts = data_parts(container)
            before, self.versions = self.versions, {id(part): _version(part) for part in parts}
            self.written = _differ(before, self.versions)
            self.questions += 1
            if _is_due(self.questions) and not self.written:
                self._compare(parts)
        return self.written

    def _compare(self, parts: list[torch.Tensor | Array]) -> None:
        """Compare checksums too, since what is written by way of `.data` has no version."""
        before, self.checksums = self.checksums, {}
        if sum(part.nbytes for part in parts) <= MAX_PARTS_BYTES:
            self.checksums = {id(part): _checksum_of(part) for part in parts}
            self.written = _differ(before, self.checksums)


def _is_due(questions: int) -> bool:
    return questions <= FIRST_COMPARISONS or questions & (questions - 1) == 0


def _differ(before: dict[int, int], now: dict[int, int]) -> bool:
    """True if a value of both is another one now; those that came since count from now on."""
    return any(before.get(key, value) != value for key, value in now.items())


def data_parts(container: Any) -> list[torch.Tensor | Array]:
    """Tensors and arrays in a list, dict or other container, and in the batches that it holds."""
    found: list[torch.Tensor | Array] = []
    for part in container.values() if isinstance(container, dict) else container:
        if isinstance(part, torch.Tensor | np.ndarray):
            found.append(part)
        elif is_batch(part):
            found += [one for one in part if isinstance(one, torch.Tensor | np.ndarray)]
    return found


def is_batch(value: Any) -> bool:
    """True for a tuple of tensors without gradient, arrays and numbers, as inputs and labels."""
    return type(value) is tuple and all(
        type(one) in SIMPLE_TYPES
        or (isinstance(one, torch.Tensor | np.ndarray) and not getattr(one, "requires_grad", False))
        for one in value
    )


def _version(part: torch.Tensor | Array) -> int:
    return 0 if isinstance(part, np.ndarray) or part.is_inference() else part._version


def _checksum_of(part: torch.Tensor | Array) -> int:
    """Checksum of an array or a tensor; 0 for what is not compared."""
    if isinstance(part, torch.Tensor):
        try:
            part = part.detach().numpy()
        except (TypeError, RuntimeError):
            # On another device, or of a type that NumPy does not have.
            return 0
    return _checksum(part) if _is_compared(part) else 0


def _bytes_of(data: Any) -> int:
    if isinstance(data, torch.Tensor | np.ndarray):
        return data.nbytes
    return sum(part.nbytes for part in data_parts(data))


def _is_compared(array: Array) -> bool:
    if not array.flags.writeable or isinstance(array, np.memmap) or array.dtype.hasobject:
        return False
    return array.nbytes <= MAX_COMPARED_BYTES and array.flags.forc


def _checksum(array: Array) -> int:
    return zlib.crc32(array.reshape(-1, order="A").view(np.uint8).data)


def is_large(value: Any) -> bool:
    """True for a tensor or an array that is data, unless code writes into it."""
    if isinstance(value, np.ndarray):
        return value.nbytes > MAX_DATA_BYTES
    return (
        isinstance(value, torch.Tensor)
        and value.nbytes > MAX_DATA_BYTES
        and not (value.requires_grad or value.grad_fn is not None)
    )


def none_of_them(data: Any) -> bool:
    """Take large tensors and arrays, and many of them, as data."""
    return False
