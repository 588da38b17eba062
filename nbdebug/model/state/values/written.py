"""Large tensors and arrays that code writes into, told from data that it only reads."""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.weak import WeakIdKeyDictionary

Array = np.ndarray[Any, Any]
Wanted = Callable[[Any], bool]
# Above this size tensors without gradient and arrays are data, which training only reads.
MAX_DATA_BYTES = 2**24
# Before the first step nobody knows what it writes into: a look copies so many bytes to be safe,
# and the first checkpoint, which stays, so many.
LOOK_BYTES, CHECKPOINT_BYTES = 2**28, 2**26
# An array has no version: its checksum is compared, so often, and of so many bytes.
MAX_COMPARISONS, MAX_COMPARED_BYTES = 8, 2**28


class WrittenData:
    """Knows large tensors by the version at which it met them, and arrays by a checksum."""

    def __init__(self) -> None:
        self._first = WeakIdKeyDictionary()
        self._arrays: dict[int, _Met] = {}

    def holds(self, data: torch.Tensor | Array) -> bool:
        """True for a tensor or an array that was written into since it was met.

        An array is compared at the first few questions only.
        """
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
        if not met.written and met.comparisons < MAX_COMPARISONS:
            met.comparisons += 1
            met.written = _checksum(array) != met.checksum
        return met.written

    def wanted(self, unknown: int = 0) -> Wanted:
        """Answer once of each tensor or array if it is copied.

        Args:
            unknown: bytes of those to copy of which nobody knows yet if code writes into them.
        """
        answers: dict[int, bool] = {}
        room = unknown

        def wanted(data: torch.Tensor | Array) -> bool:
            nonlocal room
            found = answers.get(id(data))
            if found is None:
                found = self.holds(data)
                if not found and data.nbytes <= room:
                    found = True
                    room -= data.nbytes
                answers[id(data)] = found
            return found

        return wanted


@dataclass
class _Met:
    array: weakref.ref[Array]
    checksum: int
    comparisons: int = 0
    written: bool = False


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


def none_of_them(data: torch.Tensor | Array) -> bool:
    """Take large tensors and arrays as data."""
    return False
