"""Batches that were drawn, kept for a while so that they can come again."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from nbdebug.core.errors import DataError
from nbdebug.model.forward import leaves
from nbdebug.training.batch import Batch
from nbdebug.training.stream_sampler import StreamSampler
from nbdebug.training.worker_sampler import WorkerSampler

BYTES = 256 * 2**20


class RecordedPosition(NamedTuple):
    """Number of the next batch, and where the sampler behind stands (None: a stream)."""

    number: int
    inner: Any


class RecordedSampler:
    """Gives the batches of another sampler and keeps the last ones.

    A stream cannot be read again, so it can be gone back in as far as batches are kept.
    Loader workers can, which takes them a moment, so they are asked for older ones.

    Args:
        limit: most bytes to keep; the batches after the last one served are always kept.
    """

    def __init__(self, sampler: StreamSampler | WorkerSampler, limit: float = BYTES) -> None:
        self.inner, self.limit = sampler, limit
        self._forget()

    def _forget(self, number: int = 0) -> None:
        # Batches from `_first` on; those from `_number` on are still to come (again).
        self._kept: deque[tuple[Batch, int, Any]] = deque()
        self._first = self._number = number
        self._bytes = 0

    def next(self) -> Batch:
        place = self._number - self._first
        if place == len(self._kept):
            where = self._inner_position()
            batch = self.inner.next()
            size = bytes_in(batch.data)
            self._kept.append((batch, size, where))
            self._bytes += size
        self._number += 1
        batch = self._kept[place][0]
        while self._bytes > self.limit and self._first < self._number:
            self._bytes -= self._kept.popleft()[1]
            self._first += 1
        return batch

    def position(self) -> RecordedPosition:
        place = self._number - self._first
        where = self._kept[place][2] if place < len(self._kept) else self._inner_position()
        return RecordedPosition(self._number, where)

    def go_to(self, position: RecordedPosition) -> None:
        """Stand there again; what is kept comes again in the sizes it was drawn with.

        Raises:
            DataError: these batches of a stream are no longer kept.
        """
        if self._first <= position.number <= self._first + len(self._kept):
            self._number = position.number
            return
        if isinstance(self.inner, StreamSampler):
            raise DataError(
                f"The data is a stream that cannot be read again, and of its batches only the "
                f"last {len(self._kept):,} are kept ({self.limit / 2**20:.0f} MB): those from "
                f"batch {self._first:,} on can come again, batch {position.number:,} cannot."
            )
        self.inner.go_to(position.inner)
        self._forget(position.number)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Whatever is drawn inside can come again afterwards."""
        limit, self.limit = self.limit, math.inf
        try:
            yield
        finally:
            self.limit = limit

    def reset(self) -> None:
        self._forget()
        self.inner.reset()

    def close(self) -> None:
        self._kept.clear()
        self._first, self._bytes = self._number, 0
        self.inner.close()

    def _inner_position(self) -> Any:
        return self.inner.position() if isinstance(self.inner, WorkerSampler) else None


def bytes_in(data: Any) -> int:
    """Bytes of all tensors in nested containers; 1 kB for what is none."""
    return sum(
        leaf.numel() * leaf.element_size() if isinstance(leaf, torch.Tensor) else 1024
        for leaf in leaves(data)
    )
