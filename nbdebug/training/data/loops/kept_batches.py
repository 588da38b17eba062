"""Batches that a loop keeps, such as those of a list, put back after steps that were tried."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.values.kept_data import may_be_written
from nbdebug.training.data.loops.batch_parts import Content, parts_of

# Tensors are compared up to a size.
MAX_BYTES, MAX_COMPARED_BYTES = 2**28, 2**24


def makes_anew(loader: Any) -> bool:
    """True for a DataLoader that puts samples together, so that nobody keeps its batches."""
    return isinstance(loader, DataLoader) and loader.batch_sampler is not None


class KeptBatches:
    """Copies of what steps on trial were given, of which a step may write into some."""

    def __init__(self) -> None:
        self._copies: dict[int, tuple[torch.Tensor, int, torch.Tensor]] = {}
        self._others: dict[int, tuple[Any, Content]] = {}
        self._room = MAX_BYTES

    def __bool__(self) -> bool:
        return bool(self._copies or self._others)

    def see(self, batch: Any, data: bool = True) -> None:
        """Copy the parts of a batch that are met for the first time.

        Args:
            data: False for containers and objects without the tensors and arrays in them.
        """
        tensors, others = parts_of(batch)
        for one in filter(may_be_written, tensors if data else ()):
            if id(one) not in self._copies and one.nbytes <= self._room:
                self._room -= one.nbytes
                self._copies[id(one)] = one, one._version, one.detach().clone()
        for other in others:
            if id(other) in self._others or (isinstance(other, np.ndarray) and not data):
                continue
            content = Content(other)
            if content.nbytes <= self._room:
                self._room -= content.nbytes
                self._others[id(other)] = other, content

    def copy_of(self, tensor: torch.Tensor | None) -> tuple[int, torch.Tensor] | None:
        """Number of writes and content of a tensor when it was met; None without a copy."""
        found = self._copies.get(id(tensor))
        return None if found is None else found[1:]

    def content_of(self, part: Any) -> Content | None:
        """Content of a container, an array or an object when it was met; None without a copy."""
        found = self._others.get(id(part))
        return None if found is None else found[1]

    def restore(self) -> bool:
        """Write back what was written into; True if anything was."""
        wrote = False
        # Of two parts of one tensor the one that was met first is older.
        for tensor, version, copy in reversed(self._copies.values()):
            if is_written(tensor, version, copy):
                wrote = True
                with torch.no_grad():
                    tensor.copy_(copy)
        for other, content in self._others.values():
            if not content.is_in(other):
                wrote = True
                content.write(other)
        self.clear()
        return wrote

    def clear(self) -> None:
        """Leave all as it is."""
        self._copies.clear()
        self._others.clear()
        self._room = MAX_BYTES


def is_written(tensor: torch.Tensor, version: int, copy: torch.Tensor) -> bool:
    """True if a tensor was written into since its copy was made, if need be by comparison."""
    if tensor.shape != copy.shape:
        return False
    if tensor._version != version:
        return True
    # A write by way of `.data` has no number.
    small = copy.nbytes <= MAX_COMPARED_BYTES
    return small and not bitwise_equal(tensor.detach().cpu(), copy.cpu())
