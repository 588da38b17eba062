"""Batches that a loop keeps, such as those of a list, put back after steps that were tried."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from nbdebug.model.state.values.kept_data import may_be_written
from nbdebug.training.data.loops.batch_parts import Content, parts_of

MAX_BYTES = 2**28


def makes_anew(loader: Any) -> bool:
    """True for a DataLoader that puts samples together, so that nobody keeps its batches."""
    return isinstance(loader, DataLoader) and loader.batch_sampler is not None


class KeptBatches:
    """Copies of what steps on trial were given, of which a step may write into some."""

    def __init__(self) -> None:
        self._copies: dict[int, tuple[torch.Tensor, int, torch.Tensor]] = {}
        self._others: dict[int, tuple[Any, Content]] = {}
        self._room = MAX_BYTES

    def see(self, batch: Any) -> None:
        """Copy the parts of a batch that are met for the first time."""
        tensors, others = parts_of(batch)
        for one in filter(may_be_written, tensors):
            if id(one) not in self._copies and one.nbytes <= self._room:
                self._room -= one.nbytes
                self._copies[id(one)] = one, one._version, one.detach().clone()
        for other in others:
            content = None if id(other) in self._others else Content(other)
            if content is not None and content.nbytes <= self._room:
                self._room -= content.nbytes
                self._others[id(other)] = other, content

    def restore(self) -> None:
        """Write back what was written into."""
        # Of two parts of one tensor the one that was met first is older.
        for tensor, version, copy in reversed(self._copies.values()):
            if tensor._version != version:
                with torch.no_grad():
                    tensor.copy_(copy)
        for other, content in self._others.values():
            if not content.is_in(other):
                content.write(other)
        self.clear()

    def clear(self) -> None:
        """Leave all as it is."""
        self._copies.clear()
        self._others.clear()
        self._room = MAX_BYTES
