"""Large tensors that code writes into, told from data that it only reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

Wanted = Callable[[torch.Tensor], bool]
# Above this size tensors without gradient are data, which training only reads.
MAX_DATA_BYTES = 2**24
# Before the first step nobody knows what it writes into: a look copies so many bytes to be safe,
# and the first checkpoint, which stays, so many.
LOOK_BYTES, CHECKPOINT_BYTES = 2**28, 2**26


class WrittenTensors:
    """Knows large tensors by the version at which it met them."""

    def __init__(self) -> None:
        self._first = WeakIdKeyDictionary()

    def holds(self, tensor: torch.Tensor) -> bool:
        """True for a tensor that was written into since it was met."""
        if tensor.is_inference():
            return False
        return bool(self._first.setdefault(tensor, tensor._version) != tensor._version)

    def or_unknown(self, room: int) -> Wanted:
        """Take other tensors too, in all up to some bytes."""
        taken = set[int]()

        def wanted(tensor: torch.Tensor) -> bool:
            nonlocal room
            if id(tensor) in taken or self.holds(tensor):
                return True
            if tensor.nbytes > room:
                return False
            taken.add(id(tensor))
            room -= tensor.nbytes
            return True

        return wanted


def is_large(value: Any) -> bool:
    """True for a tensor that is data, unless code writes into it."""
    return (
        isinstance(value, torch.Tensor)
        and value.nbytes > MAX_DATA_BYTES
        and not (value.requires_grad or value.grad_fn is not None)
    )


def none_of_them(tensor: torch.Tensor) -> bool:
    """Take large tensors as data."""
    return False
